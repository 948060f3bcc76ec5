"""Which texts are e-mail addresses, and which addresses belong to the same person."""

import re
import unicodedata

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import assume, example, given
from hypothesis import strategies as st

from qualtrics_exporter.export import addresses
from qualtrics_exporter.export.addresses import identity, trimmed
from qualtrics_exporter.export.recipients import Recipients
from tests.export.address_strategies import NEAR_ADDRESSES, PLAIN_ADDRESSES

UNUSUAL_DOMAINS = st.from_regex(
    r"a@[a-z0-9.-]{1,16}(\.(com|test|local|lan|arpa|onion|c|c1|xn--p1ai|example))?", fullmatch=True
)
LETTERS = st.text(st.characters(categories=["Ll", "Lu", "Lt", "Lo", "Mn"]), min_size=1, max_size=6)


def people(*rows: str) -> list[str]:
    """The people who are mailed."""
    found = Recipients()
    found.extend(rows)
    return list(found)


def is_library_address(text: str) -> bool:
    try:
        validate_email(text, check_deliverability=False)
    except (EmailNotValidError, UnicodeError):
        return False
    return True


@pytest.mark.parametrize(
    "spellings",
    [
        ["Ana.Smith@example.com", "ana.smith@EXAMPLE.com", "ANA.SMITH@EXAMPLE.COM"],
        ["J\u00fcrg@example.com", "j\u00dcrg@example.com", "Ju\u0308rg@example.com"],
        ["ana@b\u00fccher.example", "ana@xn--bcher-kva.example", "ana@BU\u0308CHER.example"],
        ["ana@xn--bcher-kva.example", "ANA@XN--BCHER-KVA.EXAMPLE", "ana@B\u00dcCHER.example"],
        ["ana@fa\u00df.de", "ana@xn--fa-hia.de", "ana@FA\u1e9e.DE"],
        ["ana@example.com", "ana@\uff45xample.com", "ana@example\u3002com"],
        ["kim@example.com", "\u212aim@example.com", "KIM@EXAMPLE.COM"],
        ["wei\u00df@example.com", "WEI\u1e9e@example.com", "Wei\u00df@EXAMPLE.COM"],
        ["\u01f0@example.com", "J\u030c@example.com", "j\u030c@example.com"],
        [
            "\u03bf\u03b4\u03cc\u03c2@example.com",
            "\u039f\u0394\u038c\u03a3@example.com",
            "\u03bf\u03b4\u03cc\u03c3@example.com",
        ],
    ],
)
def test_spellings_of_one_address_are_one_person_and_the_first_is_mailed(spellings: list[str]) -> None:
    assert people(*spellings) == [spellings[0]]


@pytest.mark.parametrize(
    "different",
    [
        ["wei\u00df@example.com", "weiss@example.com", "WEISS\u00df@example.com"],
        ["anna@stra\u00dfe.example", "anna@strasse.example"],
        ["anna@fa\u00df.de", "anna@fass.de"],
        ["\ufb01nn@example.com", "finn@example.com"],
        ["\ufb05@example.com", "st@example.com"],
        ["\u0149@example.com", "\u02bcn@example.com"],
        ["\u1fb3@example.com", "\u03b1\u03b9@example.com"],
        ["\uff41na@example.com", "ana@example.com"],
        ["d\u0131lara@example.com", "dilara@example.com", "d\u0130lara@example.com"],
        ["rene@example.com", "ren\u00e9@example.com"],
        ["\u0430na@example.com", "ana@example.com"],
        ["o.neil@example.com", "oneil@example.com", "o+neil@example.com"],
    ],
)
def test_addresses_that_only_look_alike_are_different_people(different: list[str]) -> None:
    assert people(*different) == different


@given(LETTERS, LETTERS)
@example("\u1e9e", "ss")
@example("\u0390", "\u03b9\u0308\u0301")
def test_no_letter_is_equal_to_several_letters(one: str, other: str) -> None:
    """Two local parts can only be the same if they have the same number of letters, without accents."""
    first, second = identity(f"{one}@example.com"), identity(f"{other}@example.com")
    assume(first and second)
    letters = [[c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)] for text in (one, other)]

    assert (first != second) or len(letters[0]) == len(letters[1])


@given(LETTERS)
def test_identity_ignores_letter_case_and_the_encoding_of_accents(local: str) -> None:
    expected = identity(f"{local}@example.com")
    assume(expected)
    for form in ("NFC", "NFD"):
        assert identity(f"{unicodedata.normalize(form, local)}@example.com") == expected
    lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in local)
    assert identity(f"{lower}@example.com") == expected


@pytest.mark.parametrize(
    "text",
    [
        "j\ufffdrg.m\ufffdller@example.com",
        *(f"ana{sign}ben@example.com" for sign in "\u3164\u115f\u034f\ufe0f\u2800"),
        "ana@contoso\ufe0f.com",
        "j?rg.m?ller@example.com",
        "j\u00bfrg@example.com",
        "j\u00ef\u00bf\u00bdrg@example.com",  # U+FFFD as UTF-8, read as ISO-8859-1
        "j***@example.com",
        "ana\x1a@example.com",
        "ana@example.com\x1f",
        "ana@example.com\x85",
        "\x0cana@example.com",
        "a\x7fna@example.com",
        "a\u00adna@example.com",
        "ana\u200e@example.com",
        "\ufeffana@example.com",
        "ana\ue000@example.com",
        "ana\u0378@example.com",  # unassigned
        "ana\ufffe@example.com",
        "ana\ud800@example.com",
        "ana@ex\ufffdmple.com",
        "ana@example.com" + " " * 500 + "ben@example.com",
    ],
)
def test_text_with_damaged_or_invisible_characters_is_not_an_address(text: str) -> None:
    assert not identity(trimmed(text))


@pytest.mark.parametrize(
    "text",
    [
        "john_contoso.com#EXT#@tenant.onmicrosoft.com",
        "john_contoso.com#ext#@tenant.onmicrosoft.com",
        "john_contoso.com%23EXT%23@tenant.onmicrosoft.com",
        "john_contoso.com_EXT_@tenant.onmicrosoft.com",
        "j\u00f6hn_contoso.com_ext_@tenant.onmicrosoft.com",
        "john_contoso.com_ext_@tenant.onmicrosoft.us",
        "john_contoso.com_ext_@tenant.partner.onmschina.cn",
        "live.com%23john@outlook.com",
        "ana%40example.com@contoso.com",
        "ana@contoso.c",
        "j+APY-rg@example.com",
        "j+AOkA6Q-rg@example.com",
        "j=F6rg@example.com",
        "j\u00f6hn_contoso.com#EXT#@tenant.onmicrosoft.com",
        "live.com#john@outlook.com",
        "google.com#john@gmail.com",
        "AzureAD\\john@example.com",
        "SMTP:john@example.com",
        "none@none.com",
        "None@NONE.none",
        "na@na.com",
        "no-email@no-email.example",
        "test@test.com",
        "unknown@unknown.example.com",
        *("-", "none", "n/a", "n/a@n/a", "n/a@n/a.com", "unknown@example", "test@test", "@", "a@b"),
        *(f"ana@corp.{domain}" for domain in ("local", "internal", "lan", "corp", "home", "intranet", "private")),
        *(f"ana@corp.{domain}" for domain in ("mail", "alt", "localhost", "invalid", "test", "onion", "home.arpa")),
        "\u00e4na@corp.internal",
    ],
)
def test_text_that_only_looks_like_an_address_is_not_accepted(text: str) -> None:
    assert not identity(trimmed(text))


@pytest.mark.parametrize(
    "text",
    [
        "john@tenant.onmicrosoft.com",
        "john_ext_@example.com",
        "ana+APY@example.com",
        "ana+news-2026@example.com",
        "ana+All-staff@example.com",
        "bounce=ana=example.com@example.com",
        "john_ext_sales@tenant.onmicrosoft.com",
        "noreply@example.com",
        "john#2@example.com",
        "ext@example.com",
        "na@example.com",
        "unknown@example.com",
        "test@example.com",
        "test.user@test.com",
        "none@null.com",
        "nonet@none.com",
        "ana@internal.example",
        "ana@lan.com",
        "o'neil&sons/x=y@example.com",
        "ana@mailbox.xn--p1ai",
        "\u7528\u6237@example.com",
        "\u00a0 ana@example.com \r\n",
    ],
)
def test_unusual_but_valid_address_is_accepted(text: str) -> None:
    assert identity(trimmed(text))


LONG = re.compile("[^@]{65}")
"""A local part that the library accepts, but not RFC 5321."""
PRIVATE = re.compile(r"[.](alt|corp|home|internal|intranet|lan|mail|private)$", re.IGNORECASE)


@given(PLAIN_ADDRESSES | NEAR_ADDRESSES | UNUSUAL_DOMAINS | st.text(max_size=20))
@example("a@ab--c.com")
@example("a@b.c")
@example("a" * 65 + "@example.com")
@example("a" * 243 + "@example.com")
@example("." * 200 + "@example.com")
@example("a@" + ".".join(["b" * 60] * 4) + ".com")
@example("a@" + ".".join(["b" * 62] * 4) + ".com")
@example("a@b.lan")
def test_verdict_on_an_address_matches_the_library_apart_from_known_exceptions(text: str) -> None:
    address = addresses.trimmed(text)
    if identity(trimmed(text)):
        assert is_library_address(address)
    elif (
        address.isascii()
        and not set(address) & set("?*#%=+")
        and not PRIVATE.search(address)
        and not LONG.match(address)
        and len(address.rpartition(".")[2]) > 1
    ):
        assert not is_library_address(address) or address.partition("@")[0].lower() in addresses._PLACEHOLDER_WORDS


@given(PLAIN_ADDRESSES)
def test_common_addresses_match_the_fast_pattern(address: str) -> None:
    assume(is_library_address(address) and not LONG.match(address))

    assert addresses._PLAIN.match(address) or address.partition("@")[0] in addresses._PLACEHOLDER_WORDS


@given(PLAIN_ADDRESSES)
def test_fast_pattern_and_full_validation_give_the_same_identity(address: str) -> None:
    fast = identity(address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "_PLAIN", re.compile("(?!)"))
        assert identity(address) == fast


@pytest.mark.parametrize("domain", ["\u00fc" * 64 + ".com", "a." + "\u00fc" * 100 + ".com", "b" * 64 + ".com"])
def test_domain_label_that_is_too_long_is_rejected_before_the_validation(
    domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "validate_email", None)

    assert not identity(trimmed(f"ana@{domain}"))


@pytest.mark.parametrize(
    "address",
    [
        "john_contoso.com\uff03EXT\uff03@tenant.onmicrosoft.com",
        "john_contoso.com\uff03\uff25\uff38\uff34\uff03@tenant.onmicrosoft.com",
        "j\u00f6rg_contoso.com\uff03ext#@tenant.onmicrosoft.com",
        "live.com\uff03ana@example.com",
        "\uff4e\uff4f\uff4e\uff45@none.com",
    ],
)
def test_full_width_characters_do_not_hide_a_guest_name_or_a_placeholder(address: str) -> None:
    assert identity(address) is None


@pytest.mark.parametrize(
    ("local", "valid"), [("a" * 64, True), ("a" * 65, False), ("\u00fc" * 32, True), ("\u00fc" * 32 + "a", False)]
)
def test_local_part_has_at_most_64_bytes(local: str, valid: bool) -> None:
    assert (identity(f"{local}@example.com") is not None) is valid
    assert (identity(f"{local}@b\u00fccher.example") is not None) is valid
