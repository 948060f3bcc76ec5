"""A text and positions in it. Offsets count characters from 0. Lines and columns, for people, count from 1."""

import re
from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple

_SHOWN = 40
INVISIBLE = re.compile(
    "[\x80-\x9f\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2069\u3000\ufeff\ufff9-\ufffb]+"
)
"""Characters that are invisible, or that change the order in which a line is displayed."""
AT_SIGN = re.compile(r"[@\uff20\ufe6b]|%(?:25)*(?:40|EF%)|&(?:#|amp|commat)|\\[ux]|%u|=40", re.IGNORECASE)
"""An @ sign, or the beginning of an encoded one. Shown text is cut, so `redact` could not recognize it afterwards."""


class Span(NamedTuple):
    """From `start` up to, but without, `end`. An empty span is between two characters."""

    start: int
    end: int


NOWHERE = Span(0, 0)


class Position(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class Source(str):
    """A text that knows its lines."""

    # No __slots__, because it caches the lines.

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(found.end() for found in re.finditer(r"\r\n|\n|\r", self))]

    def position(self, offset: int) -> Position:
        line = bisect_right(self._starts, offset)
        return Position(line, offset - self._starts[line - 1] + 1)

    def line_span(self, offset: int) -> Span:
        """The line of an offset, without its line break."""
        number = bisect_right(self._starts, offset)
        start = self._starts[number - 1]
        end = self._starts[number] if number < len(self._starts) else len(self)
        while end > start and self[end - 1] in "\r\n":
            end -= 1
        return Span(start, end)

    def shown(self, span: Span) -> str:
        """The text of the span for messages: short, on one line, and without text that could be an address."""
        # An address without quotes has several tokens, so the surrounding text decides.
        before = re.split(r"\s", self[: span.start])[-1]
        after = re.split(r"\s", self[span.end :], maxsplit=1)[0]
        if AT_SIGN.search(before + self[span.start : span.end] + after):
            return "something with an @"
        return quoted(self[span.start : span.end])


def quoted(text: str) -> str:
    """A part of a query in quotes for messages: on one line, and cut if it is long."""
    plain = " ".join(text.strip("\"'").split())
    plain = "".join(sign if sign.isprintable() else "?" for sign in plain)
    return f"'{plain[:_SHOWN]}…'" if len(plain) > _SHOWN else f"'{plain}'"
