"""The one place through which every line of log and every message to users goes: nobody's address leaves the pipe.

It masks what has the shape of an address, a token, a URL's query or its user. It is a net under the real rule, which is
not to put such things into a message in the first place; so it rather masks a harmless word than lets an address pass.
Every pattern starts at a place that no other start can overlap, so that a long line costs linear time.
"""

import re

MASK = "***"

# What a local part may hold. "/" is left out: it is in every path and in nobody's address.
_LOCAL = r"[\w.!#$%&'*+=?^`{|}~-]"
_URL_USER = re.compile(r"(?<=://)[^\s/\"'<>]+@(?=[^\s/@\"'<>])")
_UNBROKEN = re.compile(r"(?<![^\s\"'<>])[^\s\"'<>]+")  # as far as a URL may reach
_PARAMETER = re.compile(
    r"(?<![\w-])([\w-]*?(?:signature|sig|token|secret|password|passwd|assertion|credential|api[-_]?key|accesskeyid))"
    r"([\"']?\s?[=:]\s?[\"']?)[^\s\"'&,;<>]+",
    re.IGNORECASE,
)
_WORD = r"(?-i:[a-z]+)(?![\w~+/=:-]|\.\w)"  # "basic authentication" is no credential
_AUTHORIZATION = re.compile(rf"\b(bearer|basic)(\s+)(?!{_WORD})[\w.~+/=:-]{{6,}}", re.IGNORECASE)
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{4,}(?:\.[\w-]*){1,4}")
_QUOTED_ADDRESS = re.compile(r"\"[^\"\s@]{1,64}(?: [^\"\s@]{1,64}){0,4}\"@\w[\w.-]*")
_ADDRESS = re.compile(rf"(?<!{_LOCAL}){_LOCAL}+(?:@|%40|\\u0040)\w[\w-]*(?:\.[\w-]+)+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without addresses, tokens and query strings. Safe to apply twice."""
    if "://" in text:
        text = _URL_USER.sub(f"{MASK}@", text)
        text = _UNBROKEN.sub(_without_query, text)
    text = _JWT.sub(MASK, text)
    text = _AUTHORIZATION.sub(rf"\1\2{MASK}", text)
    text = _PARAMETER.sub(rf"\1\2{MASK}", text)
    text = _QUOTED_ADDRESS.sub(MASK, text)
    return _ADDRESS.sub(MASK, text)


def _without_query(unbroken: re.Match[str]) -> str:
    before, mark, url = unbroken[0].partition("://")
    end = min((at for at in (url.find("?"), url.find("#")) if mark and at >= 0), default=-1)
    return unbroken[0] if end < 0 else f"{before}://{url[:end]}?{MASK}"
