"""Masks addresses and secrets. Every log line and every message to users goes through `redact`.

It masks text that looks like an e-mail address, a token, or the query or user of a URL. It is a safety net: messages
should not contain such text in the first place. If in doubt, it masks. It takes linear time, because the matches of a
pattern do not overlap and every loop has a limit. It takes up to 2 ms per kilobyte in the event loop, so it keeps only
the ends of a text that is longer than `LONGEST`.

It recognizes an address with every encoding of the @ sign that software writes: full-width and small, percent-encoded
to any depth, as a character reference of HTML, as an escape sequence, and nested combinations. It does not recognize
Base64, quoted-printable and words such as "alice at example.com".
"""

import re
import string
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

MASK = "***"

_URL_USER = re.compile(
    r"(?<=://)[^\s/\"'<>]+[:,](?=\*\*\*)"
)  # what follows looked like an address: a password @ a host
_UNBROKEN = re.compile(r"(?<![^\s\"'<>])[^\s\"'<>]+")  # as far as a URL may reach
_PARAMETER = re.compile(
    r"(?<![\w-])([\w-]*?(?:signature|sig|token|secret|password|passwd|assertion|credential|api[-_]?key|accesskeyid))"
    r"([\"']?\s?[=:]\s?[\"']?)[^\s\"'&,;<>]+",
    re.IGNORECASE,
)
_PARAMETER_NAMES = ("sig", "token", "secret", "passw", "assertion", "credential", "api", "accesskeyid")
"""Every name of a parameter contains one of these."""
_WORD = r"(?-i:[a-z]+)(?![\w~+/=:-]|\.\w)"  # "basic authentication" is not a credential
_AUTHORIZATION = re.compile(rf"\b(bearer|basic)(\s+)(?!{_WORD})[\w.~+/=:*-]{{6,}}", re.IGNORECASE)
_CASES = str.maketrans("\u0130\u0131\u017f\u212a", "iisk")
"""Letters outside ASCII that a pattern without case matches as ASCII letters."""
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{4,}(?:\.[\w-]*){1,4}")

# Addresses. If the text between two of these delimiters contains an address, it is masked as a whole: an unquoted local
# part cannot have a delimiter. A double quote is not a delimiter, because a quoted local part ends with it.
_RUN = re.compile(r"[^\s<>,:]+")
_SIGN = re.compile(r"[@\uff20\ufe6b%&\\]")
"""Every encoding of an @ sign contains one of these."""
_MARK = re.compile(rf'{_SIGN.pattern}|"')
_QUOTE = re.compile(r'(?<!\\)"')
_AT_SIGNS = str.maketrans("\uff20\ufe6b", "@@")
_PERCENT = re.compile(r"%(?:25)+")
_AMPERSAND = re.compile(r"&(?:amp;)+", re.IGNORECASE)
_NAMED = {"amp": "&", "bsol": "\\", "commat": "@", "num": "#", "percnt": "%", "quot": '"', "semi": ";"}
_REFERENCE = re.compile(rf"&(?:#0*([0-9]{{1,7}})|#x0*([0-9a-f]{{1,6}})|({'|'.join(_NAMED)}));?", re.IGNORECASE)
_HEX = "[0-9A-Fa-f]"
_ESCAPE = re.compile(
    rf"(?<!\\)\\++(?:u({_HEX}{{4}})|u\{{0*({_HEX}{{1,6}})\}}|U00({_HEX}{{6}})|x({_HEX}{{2}}))|%[uU]({_HEX}{{4}})"
)
_LAYERS = 8
"""The number of different nested encodings that are decoded. An encoding can be repeated any number of times."""
_PASSES = 4
"""A mask can turn the text next to it into a match. Two passes are enough for real texts."""

LONGEST = 8192
"""Maximum length of a text that is kept completely."""
_END = 3 * LONGEST // 8
"""The length of each end of a longer text that is kept: less than a half, because masks can be longer than texts."""
_CUT = 1024
"""The number of characters before the cut that are dropped, because a cut address or secret is not recognized."""


def redact(text: str) -> str:
    """The text without addresses, tokens and query strings. It can be applied repeatedly.

    Of a text of more than `LONGEST` characters, only the beginning and the last lines are kept.
    """
    if len(text) <= LONGEST:
        return _redact(text)
    last_lines = text.find("\n", len(text) - _END)
    end = _redact(text[last_lines:]) if last_lines >= 0 else ""
    return f"{_redact(text[:_END])[:-_CUT]} … {end}"


def _redact(text: str) -> str:
    for _ in range(_PASSES):
        before, text = text, _redact_once(text)
        if text == before:
            break
    return text


def _redact_once(text: str) -> str:
    # Addresses come first: the other rules split texts, and a part of an address is not recognized.
    if _SIGN.search(text):
        text = _without_addresses(text)
    if "://" in text:
        text = _URL_USER.sub(f"{MASK}:", text)
        text = _UNBROKEN.sub(_without_query, text)
    if "eyJ" in text:
        text = _JWT.sub(MASK, text)
    # These patterns are slow, and few texts match. The search for a word takes a hundredth of their time.
    folded = _folded(text)
    if "bearer" in folded or "basic" in folded:
        text = _AUTHORIZATION.sub(rf"\1\2{MASK}", text)
    if ("=" in text or ":" in text) and any(name in folded for name in _PARAMETER_NAMES):
        text = _PARAMETER.sub(rf"\1\2{MASK}", text)
    return text


def _folded(text: str) -> str:
    """The text in lower case, in the same way as the patterns ignore case."""
    return (text if text.isascii() else text.translate(_CASES)).lower()


def _without_query(unbroken: re.Match[str]) -> str:
    before, mark, url = unbroken[0].partition("://")
    end = min((at for at in (url.find("?"), url.find("#")) if mark and at >= 0), default=-1)
    return unbroken[0] if end < 0 else f"{before}://{url[:end]}?{MASK}"


def _without_addresses(text: str) -> str:
    pieces: list[str] = []
    openings: list[int] = []  # the pieces of this line with a quote at which a quoted local part can begin
    line = end = 0
    quotes = False  # in this line; an escaped quote counts too, because the whole line can be escaped
    for run in _RUN.finditer(text):
        between = text[end : run.start()]
        end = run.end()
        pieces.append(between)
        if "\n" in between:
            openings, line, quotes = [], len(pieces), False
        found = _look(run[0]) if _MARK.search(run[0]) else _NOTHING
        begin = None
        if found.continues and quotes:
            begin = openings.pop() if openings else line
            del pieces[begin:]
        if found.opens:
            openings.append(len(pieces))
        quotes = quotes or found.quotes
        masked = found.address or begin is not None
        pieces.append(MASK + "." * (len(run[0]) - len(run[0].rstrip("."))) if masked else run[0])
    return "".join(pieces) + text[end:]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a run contains, with any of its encodings decoded."""

    address: bool = False
    """It has an @ sign, and more than punctuation before it."""
    quotes: bool = False
    opens: bool = False
    """It has a quote that is not escaped."""
    continues: bool = False
    """It has the end of a quoted local part that began in an earlier run."""


_NOTHING = _Found()


def _look(run: str) -> _Found:
    address = quotes = opens = continues = False
    for reading in _readings(run):
        local, sign, _ = reading.rpartition("@")
        address = address or bool(sign and local.strip(string.punctuation))
        quotes = quotes or '"' in reading
        opens = opens or bool(_QUOTE.search(reading))
        before, closing, _ = reading.partition('"@')
        continues = continues or bool(closing and not _QUOTE.search(before))
    return _Found(address, quotes, opens, continues)


def _readings(run: str) -> Iterator[str]:
    """The run as it is, and after each step of decoding."""
    for _ in range(_LAYERS):
        run = run.translate(_AT_SIGNS)
        yield run
        decoded = unquote(_PERCENT.sub("%", run)) if "%" in run else run
        decoded = _REFERENCE.sub(_character, _AMPERSAND.sub("&", decoded)) if "&" in decoded else decoded
        decoded = _ESCAPE.sub(_character, decoded)
        if decoded == run:
            return
        run = decoded


def _character(encoded: re.Match[str]) -> str:
    if encoded.re is _ESCAPE:
        number = int(next(filter(None, encoded.groups())), 16)
    elif encoded[3]:
        return _NAMED[encoded[3].lower()]
    else:
        number = int(encoded[1]) if encoded[1] else int(encoded[2], 16)
    return chr(number) if number <= sys.maxunicode else encoded[0]
