"""Whether two NQL texts mean the same.

Nexthink runs the saved query, not the one in Git, and tells afterwards what it ran. The two are compared word by word:
white space, comments, the kind of quotes and letter case outside them do not matter, and a `$parameter` may be filled
in bare or quoted, or not at all. Nothing is understood here, so that this cannot be wrong about a grammar that grows:
what looks different is reported as different.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_WORD = re.compile(
    r"""(?P<skip>\s+|/\*.*?(?:\*/|\Z))|(?P<quoted>"[^"]*(?:"|\Z)|'[^']*(?:'|\Z))|\$?[^\W\d]\w*|\d+|.""", re.DOTALL
)
_NAME = re.compile(r"\$([^\W\d]\w*)")
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class _Word:
    """A word, a number, a quoted text or one sign; `same` is what it is compared by, a pair for what is quoted."""

    same: str | tuple[str]
    start: int
    end: int


def difference(query: str, executed: str, parameters: Mapping[str, str]) -> str | None:
    """What first differs between the query as written and the one that ran; None when they mean the same.

    The answer is for a status: short, and what could be an e-mail address is masked.
    """
    ours, theirs = _words(query), _words(executed)
    theirs_at = 0
    for word in ours:
        length = _fits(word, theirs, theirs_at, parameters)
        if length is None:
            break
        theirs_at += length
    else:
        word = None
    if word is None and theirs_at == len(theirs):
        return None
    end = ours[-1].end if ours else 0
    line, column = _position(query, word.start if word else end)
    mine = _shown(query, word)
    other = _shown(executed, theirs[theirs_at] if theirs_at < len(theirs) else None)
    return f"line {line}, column {column}: the spec has {mine}, Nexthink runs {other}"


def _words(text: str) -> list[_Word]:
    return [_Word(_same(match), *match.span()) for match in _WORD.finditer(text) if not match["skip"]]


def _same(match: re.Match[str]) -> str | tuple[str]:
    quoted = match["quoted"]
    return match[0].casefold() if quoted is None else (_unquoted(quoted),)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[-1] == text[0] else text[1:]


def _fits(word: _Word, theirs: list[_Word], at: int, parameters: Mapping[str, str]) -> int | None:
    """How many of their words, from there on, say what this word of ours says; None when they say something else."""
    there = theirs[at].same if at < len(theirs) else None
    if there == word.same:
        return 1
    if isinstance(word.same, tuple):
        return 1 if there == (_filled(word.same[0], parameters),) else None
    name = next((name for name in parameters if f"${name}".casefold() == word.same), None)
    if name is None:
        return None
    if there == (parameters[name],):
        return 1
    bare = [part.same for part in _words(parameters[name])]
    return len(bare) if [part.same for part in theirs[at : at + len(bare)]] == bare else None


def _filled(text: str, parameters: Mapping[str, str]) -> str:
    return _NAME.sub(lambda match: parameters.get(match[1], match[0]), text)


def _position(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def _shown(text: str, word: _Word | None) -> str:
    if word is None:
        return "nothing more"
    # An address without quotes is several words: what stands around this one decides.
    before, after = re.split(r"\s", text[: word.start])[-1], re.split(r"\s", text[word.end :], maxsplit=1)[0]
    if "@" in before + text[word.start : word.end] + after:
        return "something with an @"
    plain = " ".join(text[word.start : word.end].strip("\"'").split())
    plain = "".join(sign if sign.isprintable() else "?" for sign in plain)
    return f"'{plain[:_SHOWN]}…'" if len(plain) > _SHOWN else f"'{plain}'"
