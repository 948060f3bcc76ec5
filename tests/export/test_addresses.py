"""What is an e-mail address, and which two texts are one person."""

import re
import unicodedata

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import assume, example, given
from hypothesis import strategies as st

from qualtrics_exporter.export import addresses
from qualtrics_exporter.export.addresses import identity, trimmed
from qualtrics_exporter.export.recipients import Recipients

LOCALS = st.from_regex(r"[a-z0-9+_'-]{1,12}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True)
DOMAINS = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,3})?\.(example\.)?(com|org|net)", fullmatch=True)
PLAIN = st.builds("{}@{}".format, LOCALS, DOMAINS)
NEARLY = st.text(st.sampled_from("aZ09.@-_+' xné\u0130ß\u212a\uff41\u0301\n\t,;<>\"()[]:\\"), max_size=30)
DOMAIN_LIKE = st.from_regex(
    r"a@[a-z0-9.-]{1,16}(\.(com|test|local|lan|arpa|onion|c|c1|xn--p1ai|example))?", fullmatch=True
)
LETTERS = st.text(st.characters(categories=["Ll", "Lu", "Lt", "Lo", "Mn"]), min_size=1, max_size=6)


def people(*rows: str) -> list[str]:
    """Who is mailed."""
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
def test_what_only_looks_alike_are_different_people(different: list[str]) -> None:
    assert people(*different) == different


@given(LETTERS, LETTERS)
@example("\u1e9e", "ss")
@example("\u0390", "\u03b9\u0308\u0301")
def test_no_letter_counts_as_several(one: str, other: str) -> None:
    """Two local parts are the same only if they have as many letters, accents apart."""
    first, second = identity(f"{one}@example.com"), identity(f"{other}@example.com")
    assume(first and second)
    letters = [[c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)] for text in (one, other)]

    assert (first != second) or len(letters[0]) == len(letters[1])


@given(LETTERS)
def test_letter_case_and_the_form_of_accents_make_no_difference(local: str) -> None:
    found = identity(f"{local}@example.com")
    assume(found)
    for form in ("NFC", "NFD"):
        assert identity(f"{unicodedata.normalize(form, local)}@example.com") == found
    lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in local)
    assert identity(f"{lower}@example.com") == found


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
def test_a_text_with_characters_that_nobody_wrote_is_not_an_address(text: str) -> None:
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
def test_what_only_looks_like_an_address_is_not_one(text: str) -> None:
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
def test_an_unusual_address_is_one(text: str) -> None:
    assert identity(trimmed(text))


LONG = re.compile("[^@]{65}")
"""A local part that RFC 5321 does not allow. The library does."""
PRIVATE = re.compile(r"[.](alt|corp|home|internal|intranet|lan|mail|private)$", re.IGNORECASE)


@given(PLAIN | NEARLY | DOMAIN_LIKE | st.text(max_size=20))
@example("a@ab--c.com")
@example("a@b.c")
@example("a" * 65 + "@example.com")
@example("a" * 243 + "@example.com")
@example("." * 200 + "@example.com")
@example("a@" + ".".join(["b" * 60] * 4) + ".com")
@example("a@" + ".".join(["b" * 62] * 4) + ".com")
@example("a@b.lan")
def test_nothing_is_an_address_that_the_library_refuses(text: str) -> None:
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


@given(PLAIN)
def test_nearly_all_addresses_are_plain(address: str) -> None:
    assume(is_library_address(address) and not LONG.match(address))

    assert addresses._PLAIN.match(address) or address.partition("@")[0] in addresses._PLACEHOLDER_WORDS


@given(PLAIN)
def test_the_short_way_and_the_long_way_find_the_same(address: str) -> None:
    short = identity(address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "_PLAIN", re.compile("(?!)"))
        assert identity(address) == short


@pytest.mark.parametrize("domain", ["\u00fc" * 64 + ".com", "a." + "\u00fc" * 100 + ".com", "b" * 64 + ".com"])
def test_a_label_that_is_too_long_is_refused_before_it_is_encoded(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_full_width_signs_do_not_hide_a_guest_or_a_placeholder(address: str) -> None:
    assert identity(address) is None


@pytest.mark.parametrize(
    ("local", "valid"), [("a" * 64, True), ("a" * 65, False), ("\u00fc" * 32, True), ("\u00fc" * 32 + "a", False)]
)
def test_a_local_part_has_64_bytes_at_most(local: str, valid: bool) -> None:
    assert (identity(f"{local}@example.com") is not None) is valid
    assert (identity(f"{local}@b\u00fccher.example") is not None) is valid
