"""Whether two NQL texts mean the same, and where they first differ.

Nexthink runs the saved query, not the one in Git, and reports afterwards what it ran. Both are parsed to trees and
compared part by part. White space, comments, superfluous parentheses, the kind of quotes and letter case outside quotes
do not matter, nor does a `$parameter` that was replaced by its value. It is unknown how Nexthink inserts a value
(docs/facts/nexthink.md), and a text without quotes can be invalid NQL. So parts with different trees are also compared
word by word, and are different only if both comparisons agree. Parts that the grammar does not know are compared word
by word only.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import zip_longest

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.limits import LONGEST, TOO_LONG
from qualtrics_exporter.nql.parse import parse
from qualtrics_exporter.nql.source import NOWHERE, Source, Span
from qualtrics_exporter.nql.syntax import Node

_WORD = re.compile(
    r"""(?P<skip>\s+|/\*.*?(?:\*/|\Z))|(?P<quoted>"[^"]*(?:"|\Z)|'[^']*(?:'|\Z))|\$?[^\W\d]\w*|\d+|.""", re.DOTALL
)
_NAME = re.compile(r"\$([^\W\d]\w*)")

Places = tuple[Span | None, Span | None]
"""The places of a difference, ours and theirs. None for a text that ends before."""


def difference(query: str, executed: str, parameters: Mapping[str, str]) -> str | None:
    """The first difference between the query in the spec and the one that ran. None if they mean the same.

    The message is shown in the status. It quotes a short part of both queries, and masks text that could be an e-mail
    address. Other texts of the query, such as the name of a department, are shown, because the spec has them too.
    """
    if len(executed) > LONGEST:
        return TOO_LONG
    ours = parse(query)
    theirs = ours if executed == query else parse(executed)
    places = _Comparison(ours.source, theirs.source, parameters).of_parts(ours.query, theirs.query)
    if places is None:
        return None
    mine, other = places
    at = ours.source.position(mine.start if mine else len(query.rstrip()))
    return f"{at}: the spec has {_shown(ours.source, mine)}, Nexthink runs {_shown(theirs.source, other)}"


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Compares two texts. Every method returns None if they mean the same."""

    ours: Source
    theirs: Source
    parameters: Mapping[str, str]

    def of_parts(self, ours: syntax.Query, theirs: syntax.Query) -> Places | None:
        for mine, other in zip_longest((ours.head, *ours.clauses), (theirs.head, *theirs.clauses)):
            if mine is None or other is None:
                return _place(mine), _place(other)
            known = not isinstance(mine, syntax.Opaque) and not isinstance(other, syntax.Opaque)
            by_tree = self.of_nodes(mine, other) if known else None
            if known and by_tree is None:
                continue
            if by_words := self.of_words(mine.span, other.span):
                return by_tree or by_words
        return None

    def of_nodes(self, mine: Node, other: Node) -> Places | None:
        """The smallest nodes that differ."""
        if isinstance(mine, syntax.Parameter) and self.fills(mine, other):
            return None
        if type(mine) is not type(other):
            return mine.span, other.span
        for field in fields(mine):
            if field.name == "span":
                continue
            places = self.of_values(mine, getattr(mine, field.name), other, getattr(other, field.name))
            if places:
                return places
        return None

    def of_values(self, mine: Node, ours: object, other: Node, theirs: object) -> Places | None:
        if isinstance(ours, Node) and isinstance(theirs, Node):
            return self.of_nodes(ours, theirs)
        if isinstance(ours, tuple) and isinstance(theirs, tuple) and len(ours) == len(theirs):
            found = (self.of_values(mine, a, other, b) for a, b in zip(ours, theirs, strict=True))
            return next((places for places in found if places), None)
        exact = isinstance(mine, syntax.Literal) and mine.kind == "text"
        if ours == theirs or (exact and _filled(str(ours), self.parameters) == theirs):
            return None
        if not exact and isinstance(ours, str) and isinstance(theirs, str) and ours.casefold() == theirs.casefold():
            return None
        return mine.span, other.span

    def fills(self, mine: syntax.Parameter, other: Node) -> bool:
        """Whether theirs is the value of our parameter as a text in quotes. Values without quotes are compared as
        words.
        """
        value = self.parameters.get(mine.name)
        return value is not None and isinstance(other, syntax.Literal) and (other.kind, other.text) == ("text", value)

    def of_words(self, mine: Span, other: Span) -> Places | None:
        ours, theirs = list(_words(self.ours, mine)), list(_words(self.theirs, other))
        at = 0
        for word in ours:
            length = _fits(word, theirs, at, self.parameters)
            if length is None:
                return word.span, theirs[at].span if at < len(theirs) else None
            at += length
        return (None, theirs[at].span) if at < len(theirs) else None


def _place(part: Node | None) -> Span | None:
    return part.span if part else None


def _shown(text: Source, span: Span | None) -> str:
    return text.shown(span) if span else "nothing more"


@dataclass(frozen=True, slots=True)
class _Word:
    """A word, a number, a quoted text or a character. `same` is compared; it is a tuple for a quoted text."""

    same: str | tuple[str]
    span: Span = NOWHERE


def _words(text: str, span: Span | None = None) -> Iterator[_Word]:
    for match in _WORD.finditer(text, *(span or ())):
        if not match["skip"]:
            quoted = match["quoted"]
            same = match[0].casefold() if quoted is None else (_unquoted(quoted),)
            yield _Word(same, Span(*match.span()))


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[-1] == text[0] else text[1:]


def _fits(word: _Word, theirs: list[_Word], at: int, parameters: Mapping[str, str]) -> int | None:
    """How many of their words, from there on, mean the same as this word of ours. None if they differ."""
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
    values = {name.casefold(): value for name, value in parameters.items()}
    return _NAME.sub(lambda match: values.get(match[1].casefold(), match[0]), text)
