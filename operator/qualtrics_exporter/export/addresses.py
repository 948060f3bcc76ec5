"""What an e-mail address is, and when two addresses are the same.

All addresses pass through `identity`: those of small results, of exports and of tests. `plain_identities` returns the
same for many addresses at once, as long as they are plain.

Two addresses are the same if their local parts differ only by letter case, without expansion, or by how an accent is
encoded, and if their domains are the same in DNS. If in doubt, they are two people. In detail:

- Local parts are compared by Unicode's simple case folding of their canonical decomposition (NFD). It maps one letter
  to one letter, so ß is not ss and the ligature ﬁ is not fi. It does not map compatibility characters, so a full-width
  ａ is not a, and it has no Turkish rules, so ı is not i. The Kelvin sign is k, and ς is σ.
- Domains are compared in their ASCII form by IDNA 2008, with the mapping of UTS #46 for letter case and width. So
  faß.de is not fass.de, and bücher.example is xn--bcher-kva.example.
"""

import re
import unicodedata
from collections.abc import Sequence

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

LONGEST_ADDRESS = 254
LONGEST_LOCAL_PART = 64
"""Bytes before the @: RFC 5321 section 4.5.3.1.1, in UTF-8 by RFC 6531 section 3.3."""
_SHORTEST_TOP_LEVEL = 2
LONGEST_LABEL = 63
"""Of a domain: RFC 5321 and RFC 1035 section 2.3.4."""

_SPACES = " \t\r\n\u00a0\u202f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""Spaces that may surround an address. `str.strip` would also remove control characters."""

_NO_PUBLIC_DOMAINS = ("alt", "corp", "home", "internal", "intranet", "lan", "mail", "private")
"""Top-level domains that are not in DNS (docs/facts/nexthink.md section 6), besides those of the library."""
_NOT_IN_DNS = "|".join((*SPECIAL_USE_DOMAIN_NAMES, *_NO_PUBLIC_DOMAINS))
_PRIVATE_DOMAIN = re.compile(rf"\.(?:{'|'.join(_NO_PUBLIC_DOMAINS)})\Z")

_PLACEHOLDER_WORDS = (
    *("dummy", "empty", "example", "invalid", "na", "nil", "no-email", "no-mail", "noemail", "nomail", "none"),
    *("not-available", "notavailable", "null", "placeholder", "test", "undefined", "unknown"),
)
_PLACEHOLDER = rf"({'|'.join(_PLACEHOLDER_WORDS)})@\1\."
_IS_PLACEHOLDER = re.compile(_PLACEHOLDER)
"""The same word before and after the @, as in none@none.com. A word on only one side can be in a real address."""

_CLEANED_GUEST = r"[^@]*_ext_@[^@]+\.(?:onmicrosoft\.(?:com|us|de)|partner\.onmschina\.cn)\Z"
_SIGN_IN_NAME = re.compile(
    rf"[^@]*(?:#|%23)ext(?:#|%23)|(?:live\.com|google\.com|facebook\.com|mail)(?:#|%23)|[^@]*%40|{_CLEANED_GUEST}"
)
"""Names with which guests sign in to Entra ID. They look like addresses, and no mailbox has them."""

_LOSSY = frozenset("?*\u00bf\ufffc\ufffd")
"""Characters that programs write instead of letters that they cannot encode, or must not show. Two people can get the
same text. RFC 5322 allows ? and * in a local part, but Entra ID does not."""
_NOT_TEXT = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"))
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10))))
)
"""Invisible letters and marks that Unicode does not list as formatting characters."""

_ENCODED = re.compile(
    r"\+A[M-X](?:[AEIMQUYcgkosw048]|[A-Za-z0-9+/]{3}[AQgw])-"  # one or two letters from U+00C0 to U+017F
    r"|=[89A-F][0-9A-F]"
)
"""A letter with an accent in UTF-7, as in j+APY-rg@, or in quoted-printable, as in j=F6rg@. With plus-addressing, the
former is the mailbox of another person."""

# The library takes about 26 µs for an address, which is half a minute for a million, and blocks everything else. Nearly
# all addresses match the plain pattern below, in a tenth of the time. A property test verifies that the library accepts
# everything that the pattern does. Other alphabets, punycode and rare characters go to the library.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PLAIN = re.compile(
    r"(?=.{6,254}\Z)(?=[^@]{1,64}@)"
    rf"(?!{_PLACEHOLDER})(?!{_CLEANED_GUEST})"
    r"[a-z0-9_+'-]++(?:\.[a-z0-9_+'-]++)*+"
    rf"@(?:(?!..--){_LABEL}\.)+(?!(?:{_NOT_IN_DNS})\Z)[a-z]{{2,24}}\Z"
)

_NO_ADDRESS = re.compile(
    r"@|[^@]*+(?:\Z|@[^@.]*+\Z|@[^@]*+@)"
    r"|[a-z0-9_!#$%&'+/=^`{|}~@.-]*+."  # any other character
    rf"|{_SIGN_IN_NAME.pattern}|{_PLACEHOLDER}|.*\.(?:{_NOT_IN_DNS})\Z",
    re.DOTALL,
)
"""ASCII texts in lower case that the full check rejects, as a test verifies. That check takes long, and a result can
have many such texts: names, notes, placeholders."""

_PLAIN_LINE = re.compile(
    rf"^(?![^@\n]{{65}})(?!{_PLACEHOLDER})[a-z0-9_'-]++(?:\.[a-z0-9_'-]++)*+(?<!_ext_)@"
    rf"(?![^\n]{{64}})(?:[a-z0-9]++(?:-[a-z0-9]++)*+\.)++(?!(?:{_NOT_IN_DNS})$)[a-z]{{2,24}}+$",
    re.MULTILINE,
)
"""A line whose identity is the line in lower case: `_PLAIN` matches it, and `_ENCODED` does not, in any letter case. It
matches fewer addresses, for speed: without a plus sign, and with domains of 63 characters at most without `--`."""

_DOT = re.compile("[.\u3002\uff0e\uff61]")


def trimmed(text: str) -> str:
    """The text without the spaces and line ends around it."""
    return text.strip(_SPACES)


def identity(address: str) -> str | None:
    """The normal form of an address, which all its spellings share; None if the text is not an address."""
    if len(address) > LONGEST_ADDRESS:
        return None
    if _ENCODED.search(address):
        return None
    if address.isascii():
        lower = address.lower()
        if _PLAIN.match(lower):
            return lower
        if _NO_ADDRESS.match(lower):
            return None
    return _examined(address)


def plain_identities(texts: Sequence[str]) -> list[str | None]:
    """For each text, its identity if the text is a plain address, "" if it is empty, and None if it needs more work."""
    whole = "\n".join(texts)
    if whole.count("\n") >= len(texts):
        return [None] * len(texts)  # a text has several lines
    if not whole.isascii():
        # The Kelvin sign is an ASCII letter in lower case. "?" is not in a plain address.
        whole = "\n".join([text if text.isascii() else "?" for text in texts])
    lower = whole.lower()
    found: list[str | None] = [*lower.split("\n")]
    for number, rest in enumerate(_PLAIN_LINE.sub("", lower).split("\n")):
        if rest:
            found[number] = None
    return found


def _examined(address: str) -> str | None:
    """The result of `identity`, from the full check."""
    if not _is_text(address) or any(len(label) > LONGEST_LABEL for label in _DOT.split(address.rpartition("@")[2])):
        return None  # first, because encoding a long label takes milliseconds
    try:
        valid = validate_email(address, check_deliverability=False)
    except (EmailNotValidError, UnicodeError):
        return None
    if len(valid.local_part.encode()) > LONGEST_LOCAL_PART:
        return None
    local, domain = _folded(valid.local_part), valid.ascii_domain.lower()
    # Some input methods write full-width signs: \uff03EXT\uff03 is the same mark of a guest.
    plain = unicodedata.normalize("NFKC", local).lower()
    whole = f"{plain}@{domain}"
    if len(domain.rpartition(".")[2]) < _SHORTEST_TOP_LEVEL:
        return None
    if _SIGN_IN_NAME.match(whole) or _PRIVATE_DOMAIN.search(domain) or _IS_PLACEHOLDER.match(whole):
        return None
    return f"{local}@{domain}"


def _is_text(address: str) -> bool:
    """Whether no character is a control, unassigned, invisible or replacement character."""
    return not any(sign in _LOSSY or sign in _INVISIBLE or unicodedata.category(sign) in _NOT_TEXT for sign in address)


def _folded(local: str) -> str:
    folded = "".join(map(_simple_fold, unicodedata.normalize("NFD", local)))
    return unicodedata.normalize("NFD", folded)


def _simple_fold(sign: str) -> str:
    """Unicode's simple case folding, one character to one, which Python does not have."""
    if unicodedata.combining(sign):
        return sign  # otherwise the iota below a letter would become a separate letter
    full, lower = sign.casefold(), sign.lower()
    return full if len(full) == 1 else lower if len(lower) == 1 else sign
