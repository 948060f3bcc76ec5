"""`redact` masks addresses and secrets, and keeps the rest of a text."""

import json
import re
import sys
import time
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qualtrics_exporter.telemetry.redact import (
    _AUTHORIZATION,
    _END,
    _JWT,
    _PARAMETER,
    LONGEST,
    MASK,
    _folded,
    _redact,
    redact,
)
from tests.support.work import work

MASKED = [
    ("an address", "no mail to jane.doe@example.com, sorry", "jane"),
    ("an address at the end of a sentence", "refused: jane.doe@example.com.", "jane"),
    ("an address with a tag", "jane+survey@mail.example.co.uk", "jane"),
    ("an address with an apostrophe", "o'brien@example.com", "o'b"),
    ("an address in quotes", "input='jane@example.com'", "jane"),
    ("an address in angle brackets", "Jane <jane@example.com>", "jane@"),
    ("an address with letters of other scripts", "jürgen.müller@müller.example", "ller"),
    ("a quoted local part", '"jane doe"@example.com', "jane"),
    ("an address in JSON", '{"email": "jane@example.com"}', "jane"),
    ("an address in a URL's path", "https://api.example.com/contacts/jane@example.com/x", "jane"),
    ("an address that is percent-encoded", "/contacts/jane.doe%40example.com", "jane"),
    ("an address that is escaped", "jane\\u0040example.com", "jane"),
    ("an address after an equals sign", "to=jane@example.com", "jane"),
    ("an address at an IP address", "jane@[10.0.0.1]", "jane"),
    ("an address at an IPv6 address", "jane@[IPv6:2001:db8::1]", "jane"),
    ("an address at a name without a dot", "jane@localhost", "jane"),
    ("an address with a full-width sign", "jane\uff20example.com", "jane"),
    ("an address with a small sign", "jane\ufe6bexample.com", "jane"),
    ("an address that is percent-encoded twice", "/contacts/jane.doe%2540example.com", "jane"),
    ("an address that is percent-encoded five times", "jane%2525252540example.com", "jane"),
    ("an address with a full-width sign that is percent-encoded", "jane%EF%BC%A0example.com", "jane"),
    ("an address as old browsers encode it", "jane%u0040example.com", "jane"),
    ("an address in HTML", "<p>jane&#64;example.com</p>", "jane"),
    ("an address in HTML, in hexadecimal", "jane&#X0040;example.com", "jane"),
    ("an address in HTML, by name", "jane&commat;example.com", "jane"),
    ("an address in HTML that is escaped twice", "jane&amp;amp;#64;example.com", "jane"),
    ("an address in HTML that is percent-encoded", "jane%26%2364%3Bexample.com", "jane"),
    ("an address whose letters are encoded", "j%61ne%40example.com", "j%61"),
    ("an address whose letters are encoded in HTML", "&#106;ane&#64;example.com", "&#106"),
    ("an address that is escaped twice", "jane\\\\u0040example.com", "jane"),
    ("an address that is escaped as a byte", "jane\\x40example.com", "jane"),
    ("an address with an escaped letter", "j\\u00fcrgen@example.com", "j"),
    ("an address with a slash", "jane/doe@example.com", "jane"),
    ("a quoted local part with an escaped quote", '"jane \\"x\\" doe"@example.com', "jane"),
    ("a quoted local part with all that needs quotes", '"jane, <a@b> (c): doe"@example.com', "jane"),
    ("a quoted local part in JSON", '{"email": "\\"jane doe\\"@example.com"}', "jane"),
    ("a quoted local part in HTML", "&quot;jane doe&quot;&#64;example.com", "jane"),
    ("a quoted local part that is percent-encoded", "%22jane,doe%22%40example.com", "jane"),
    ("a quoted local part with an @ sign", '"jane is@home now"@example.com', "jane"),
    ("several addresses", "a.b@example.com,c.d@example.com;e.f@example.com", "d@"),
    ("a bearer token", "Authorization: Bearer abc123.def-456_ghi", "abc123"),
    ("a bearer token in lower case", "authorization: bearer abc123def456", "abc123"),
    ("a short bearer token", "Bearer tok-12", "tok-12"),
    ("basic credentials", "Authorization: Basic Y2xpZW50OnNlY3JldA==", "Y2xp"),
    ("a JWT", "token is eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl here", "c2ln"),
    ("a JWT without a signature", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.", "eyJzd"),
    ("a pre-signed URL", "GET https://s3.example.com/e/1.csv?X-Amz-Signature=0f3a&X-Amz-Expires=60 200", "0f3a"),
    ("a URL's fragment", "https://example.com/#access_token=0f3a", "0f3a"),
    ("a user in a URL", "proxy http://jane:hunter2@proxy.example.com:3128 failed", "hunter2"),
    ("a user in a URL whose password has an at sign", "http://jane:hun@ter2@proxy.example.com", "ter2"),
    ("a user without a dot in the host", "redis://jane:hunter2@localhost", "hunter2"),
    ("a parameter without its URL", "/oauth2/token?client_secret=hunter2&grant_type=x", "hunter2"),
    ("a secret in JSON", '{"clientSecret": "hunter2", "client_secret": "hunter2"}', "hunter2"),
    ("a secret in a repr", "{'password': 'hunter2', 'access_token': 'hunter2'}", "hunter2"),
    ("a secret in a header", "x-api-token: hunter2", "hunter2"),
    ("an assignment", "clientSecret=hunter2", "hunter2"),
]

UNCHANGED = [
    "Secret dex/qualtrics has no key clientSecret, or an empty one. Add the key to the Secret.",
    "Qualtrics refused the credentials of Secret dex/qualtrics (HTTP 401, AUTH_6, request 3b241101-e2bb-4255-8caf).",
    "https://yul1.qualtrics.com/API/v3/distributions failed (HTTP 503)",
    "every 4 hours at :20, Europe/Zurich",
    "Correct spec.qualtrics.messageId and libraryId.",
    "Basic authentication and bearer authentication are things",
    "the token of Secret dex/nexthink is good for 15 minutes more",
    "run 9f3c2a of dex/teams-rollout: Schedule, attempt 1, from Claimed",
    "user.ad.email_address is listed; 3 > 2; a || b; #teams_rollout; $days",
    "100 requests @ 5/s, 40% done, R&D; C:\\temp\\40; %20; &lt;p&gt;",
    'the key "@type" is not known',
    "the file of https://example.com/a%20b cannot be read",
]


@pytest.mark.parametrize(("text", "secret"), [case[1:] for case in MASKED], ids=[case[0] for case in MASKED])
def test_redact_masks_addresses_and_secrets(text: str, secret: str) -> None:
    assert secret not in redact(text)


@pytest.mark.parametrize("text", UNCHANGED)
def test_redact_does_not_change_text_without_addresses_and_secrets(text: str) -> None:
    assert redact(text) == text


def test_redact_masks_the_query_of_a_url_and_keeps_its_host_and_path() -> None:
    assert redact("GET https://s3.example.com/e/1.csv?X-Amz-Signature=0f3a 200") == (
        "GET https://s3.example.com/e/1.csv?*** 200"
    )


def percent_encoded(text: str, depth: int) -> str:
    for _ in range(depth):
        text = quote(text, safe="")
    return text


# Only local parts contain these letters, so each of them in the result is a leak.
SECRET_LETTERS = "jzJZ789ü"
PUBLIC_LETTERS = "abcxyABC015"
AT_SIGNS = st.one_of(
    st.sampled_from("@\uff20\ufe6b"),
    st.builds(percent_encoded, st.sampled_from("@\uff20\ufe6b"), st.integers(1, 12)),
    st.sampled_from(["&#64;", "&#064;", "&#x40;", "&#X0040;", "&commat;", "&#65312;", "&#xFE6B;", "&amp;#64;"]),
    st.sampled_from(["\\u0040", "\\\\u0040", "\\x40", "\\uff20", "\\uFE6B", "\\U00000040", "\\u{40}", "%u0040"]),
    st.builds(percent_encoded, st.sampled_from(["&#64;", "\\u0040", "&amp;#x40;"]), st.integers(1, 3)),
)


def locals_of(letters: str) -> st.SearchStrategy[str]:
    """Local parts of these letters. At least one letter is secret, because punctuation alone identifies nobody."""
    text = st.text(st.sampled_from(letters), max_size=6)
    return st.builds("{}{}{}".format, text, st.sampled_from(SECRET_LETTERS), text)


UNQUOTED = st.builds(
    lambda text, encode: encode(text),
    locals_of(SECRET_LETTERS + "!#$%&'*+-/=?^_`{|}~."),
    st.sampled_from([str, lambda text: percent_encoded(text, 2), escape, lambda text: json.dumps(text)[1:-1]]),
)
QUOTED = locals_of(SECRET_LETTERS + " !#@,:;<>()[]/.").flatmap(
    lambda text: st.sampled_from(
        [
            f'"{text}"',
            f'"{text}\\"{text}\\\\"',
            json.dumps(f'"{text}"')[1:-1],
            escape(f'"{text}"'),
            percent_encoded(f'"{text}"', 1),
        ]
    )
)
DOMAINS = st.sampled_from(
    ["example.com", "a.b-c.example.", "xn--bcher-kva.ch", "[10.0.0.1]", "[IPv6:2001:db5::1]", "a"]
)
ADDRESSES = st.builds("{}{}{}".format, st.one_of(UNQUOTED, QUOTED), AT_SIGNS, DOMAINS)
CONTEXTS = st.text(st.sampled_from(PUBLIC_LETTERS + " \"'<>(),;:=/?&%{}[]\n\tab@#\\."), max_size=12)


@settings(max_examples=2000)
@given(st.lists(st.tuples(CONTEXTS, ADDRESSES), min_size=1, max_size=3), CONTEXTS)
@example([("://", "j+z@example.com")], "@")
@example([('"a"@', "j@a")], "")
def test_redact_masks_every_letter_of_a_local_part_in_any_context_and_encoding(
    parts: list[tuple[str, str]], after: str
) -> None:
    redacted = redact("".join(before + address for before, address in parts) + after)
    assert not set(redacted) & set(SECRET_LETTERS)


PIECES = st.sampled_from(
    [
        *[
            "@",
            "\uff20",
            "%40",
            "%25",
            "%22",
            "&#64;",
            "&amp;",
            "&quot;",
            "\\u0040",
            "\\",
            '"',
            "'",
            " ",
            "\n",
            ",",
            ":",
        ],
        *["jane", "a", "1", "://", "token=", "Bearer ", "eyJhbGciOi.x", "***", "?", "<", ">", "[", "/", "."],
    ]
)


@settings(max_examples=1000)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=20).map("".join)))
def test_redact_accepts_any_text_and_does_not_change_its_own_output(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


NAMES = [
    *["Signature", "X-Amz-Sig", "token", "clientSecret", "PASSWORD", "passwd", "assertion", "credential", "apikey"],
    *[
        "api-key",
        "API_Key",
        "accessKeyId",
        "to\u212aen",
        "\u017fecret",
        "ap\u0131key",
        "\u017f\u0130g",
        "bearer",
        "Ba\u017fic",
    ],
    *["BEARER", "eyJabcd.ef", "eyjabcd.ef", "pass", "key", "é"],
]
PARAMETERS = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["=", ":", " = ", "': '", " ", "-"]),
    st.sampled_from(["hunter2", "abc.def-12", "eyJabcd.ef", " ", "é"]),
)


@settings(max_examples=500)
@given(st.lists(PARAMETERS.map("".join), min_size=1, max_size=2).map(" ".join))
def test_patterns_that_redact_skips_would_match_nothing(text: str) -> None:
    redacted = redact(text)
    for pattern, masked in ((_JWT, MASK), (_AUTHORIZATION, rf"\1\2{MASK}"), (_PARAMETER, rf"\1\2{MASK}")):
        assert pattern.sub(masked, redacted) == redacted


def test_every_letter_that_matches_an_ascii_pattern_is_folded_to_ascii() -> None:
    pattern = re.compile("[a-z]", re.IGNORECASE)
    matched = [letter for letter in map(chr, range(sys.maxunicode + 1)) if pattern.fullmatch(letter)]
    assert len(matched) == 26 * 2 + 4
    for letter in matched:
        assert re.fullmatch(_folded(letter), letter, re.IGNORECASE)
        assert _folded(letter).isascii()


PIECES_THAT_REPEAT = [
    *["a", "a.", "eyJ", "bearer ", "http://", "token=", '"a ', "@", "a@", "://a@", "x:", "%40", "%25", "a %25", "&#"],
    *["&amp;", "&#0", "\\", "\\u", "\\u{0", '"@', 'a"@ ', '\\"', '\\"@ ', '" a"@ ', "%2", "a@b ", "\n", "%26%23"],
]


@pytest.mark.parametrize("piece", PIECES_THAT_REPEAT)
def test_the_cost_of_redact_grows_linearly_with_the_length_of_the_text(piece: str) -> None:
    short, long = (min(cpu_seconds(piece * length) for _ in range(3)) for length in (2_500, 20_000))
    assert long < 8 * 4 * short, "a quadratic cost would be 64 times as much"


def cpu_seconds(text: str) -> float:
    """The processor time of this thread for the text. It does not depend on other processes."""
    start = time.thread_time()
    _redact(text)
    return time.thread_time() - start


@pytest.mark.parametrize("unit", ["jane@example.com ", "a@b ", '"a "@x ', "x", " ", "https://a/?b c ", "\\\\u0040 a"])
def test_the_work_of_redact_is_limited_for_long_texts(unit: str) -> None:
    """`redact` runs in the event loop, between two heartbeats."""
    longest, much_longer = (work(redact, (unit * 400_000)[:size]) for size in (LONGEST, 400_000))
    assert much_longer[1] <= longest[1] + 100
    assert len(much_longer[0]) < LONGEST


def test_redact_shortens_a_long_text_to_its_beginning_and_its_last_lines() -> None:
    lines = "".join(f"line {number} for jane.doe@example.com\n" for number in range(20_000))
    redacted = redact(f"it failed\n{lines}ValueError: jane@example.com")
    assert redacted.startswith("it failed\nline 0 for ***\n")
    assert redacted.endswith("line 19999 for ***\nValueError: ***")
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "secret",
    [
        "QZQZ.ZQ@example.com",
        '"QZQZ, <ZQ>: QQ"@example.com',
        "&#106;QZQZ%252525252540example.com",
        "token=" + "QZQZZQ" * 100,
        "Bearer " + "QZQZZQ9" * 100,
        "https://QZQZ:ZQ" + "Z" * 900 + "@example.com/",
        "https://example.com/?" + "QZQZ&ZQ" * 100,
    ],
    ids=["an address", "a quoted address", "an encoded address", "a token", "a bearer token", "a URL", "a query"],
)
@pytest.mark.parametrize("filler", ["x ", "x", "x\n"], ids=["words", "letters", "lines"])
def test_redact_shows_no_part_of_a_secret_that_it_cuts_in_two(secret: str, filler: str) -> None:
    padding = filler * 20_000
    step = max(3, len(secret) // 20)
    for before in (
        boundary - offset for boundary in (_END, 40_000 - _END) for offset in range(-2, len(secret) + 2, step)
    ):
        redacted = redact(f"{padding[:before]} {secret} {padding[before:40_000]}")
        assert not {"Q", "Z"} & set(redacted), before
