"""Nobody's address and no key gets through, and what people need to read does."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qualtrics_exporter.telemetry.redact import redact

GOES = [
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

STAYS = [
    "Secret dex/qualtrics has no key clientSecret, or an empty one. Add the key to the Secret.",
    "Qualtrics refused the credentials of Secret dex/qualtrics (HTTP 401, AUTH_6, request 3b241101-e2bb-4255-8caf).",
    "https://yul1.qualtrics.com/API/v3/distributions failed (HTTP 503)",
    "every 4 hours at :20, Europe/Zurich",
    "Correct spec.qualtrics.messageId and libraryId.",
    "Basic authentication and bearer authentication are things",
    "the token of Secret dex/nexthink is good for 15 minutes more",
    "run 9f3c2a of dex/teams-rollout: Schedule, attempt 1, from Claimed",
    "user.ad.email_address is listed; 3 > 2; a || b; #teams_rollout; $days",
]


@pytest.mark.parametrize(("text", "secret"), [case[1:] for case in GOES], ids=[case[0] for case in GOES])
def test_it_masks(text: str, secret: str) -> None:
    assert secret not in redact(text)


@pytest.mark.parametrize("text", STAYS)
def test_it_leaves_what_people_need(text: str) -> None:
    assert redact(text) == text


def test_a_url_without_its_query_still_says_where_it_led() -> None:
    assert redact("GET https://s3.example.com/e/1.csv?X-Amz-Signature=0f3a 200") == (
        "GET https://s3.example.com/e/1.csv?*** 200"
    )


LETTERS = st.sampled_from("abcxyzABC0189._+-'äé")
LOCAL = st.text(LETTERS, min_size=1, max_size=20).map(lambda text: "j" + text + "q")
AROUND = st.text(st.sampled_from(" \"'<>(),;:=/?&%{}[]\n\tab@"), max_size=10)


@given(AROUND, LOCAL, AROUND)
@example("://", "j+q", "@")
def test_no_address_gets_through_whatever_stands_around_it(before: str, local: str, after: str) -> None:
    redacted = redact(f"{before}{local}@example.com{after}")
    assert f"{local}@" not in redacted
    assert redact(redacted).count("example.com") <= redacted.count("example.com")


@given(st.text(max_size=200))
def test_it_can_be_applied_twice_and_to_anything(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "piece", ["a", "a.", "eyJ", "bearer ", "http://", "token=", '"a ', "@", "a@", "://a@", "x:", "%40"]
)
def test_a_long_line_costs_linear_time(piece: str) -> None:
    started = time.perf_counter()
    redact(piece * 100_000)
    assert time.perf_counter() - started < 5
