"""The one place through which every line of log and every message to users goes: nobody's address leaves the pipe.

It masks what has the shape of an address, a token, a URL's query or its user. It is a net under the real rule, which is
not to put such things into a message in the first place; so it rather masks a harmless word than lets an address pass.
Every pattern starts at a place that no other start can overlap, so that a long line costs linear time.
"""

import re

MASK = "***"

_LOCAL = (
    r"[\w.!#$%&'*+=?^`{|}~-]"  # what a local part may hold, / left out: it is in every path and in nobody's address
)
_URL_USER = re.compile(r"(?<=://)[^\s/@\"'<>]+(?:@(?=[^\s/@\"'<>]))")
_URL_QUERY = re.compile(r"(?<![\w+.-])([a-z][a-z0-9+.-]{0,20}://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)
_PARAMETER = re.compile(
    r"\b(x-amz-[a-z-]+|awsaccesskeyid|signature|sig|access_token|refresh_token|id_token|token|client_secret|secret"
    r"|password|passwd|assertion|api[-_]?key)(\"?'?\s?[=:]\s?\"?'?)[^\s\"'&,;<>]+",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(r"\b(bearer|basic)(\s+)(?![a-z]+\b)[\w.~+/=:-]{6,}", re.IGNORECASE)
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{4,}(?:\.[\w-]*){1,4}")
_QUOTED_ADDRESS = re.compile(r"\"[^\"\s@]{1,64}(?: [^\"\s@]{1,64}){0,4}\"@\w[\w.-]*")
_ADDRESS = re.compile(rf"(?<!{_LOCAL[:-1]}]){_LOCAL}+(?:@|%40|\\u0040)\w[\w-]*(?:\.[\w-]+)+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without addresses, tokens and query strings. Safe to apply twice."""
    text = _URL_USER.sub(f"{MASK}@", text)
    text = _URL_QUERY.sub(rf"\1?{MASK}", text)
    text = _JWT.sub(MASK, text)
    text = _AUTHORIZATION.sub(rf"\1\2{MASK}", text)
    text = _PARAMETER.sub(rf"\1\2{MASK}", text)
    text = _QUOTED_ADDRESS.sub(MASK, text)
    return _ADDRESS.sub(MASK, text)
