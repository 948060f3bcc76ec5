"""Splits a query at its pipes, before it is parsed.

Each part is parsed separately, so that a broken or unknown clause does not hide errors in the others. The split needs
quotes, brackets and comments. Mistakes in these are certain errors, and found here. This takes two passes over the
text: the first one checks whether all brackets match.
"""

import re
from dataclasses import dataclass, field

from qualtrics_exporter.nql.source import NOWHERE, Source, Span

MAX_DEPTH = 40
"""Maximum number of nested brackets, which limits the depth of the tree."""

_LEXEME = re.compile(
    r"""
      (?P<comment>/\*.*?\*/) | (?P<open_comment>/\*) | (?P<slashes>//)
    | (?P<text>"[^"]*"|'[^']*') | (?P<open_text>["'])
    | (?P<opening>[(\[]) | (?P<closing>[)\]]) | (?P<pipe>\|)
    | (?P<parameter>\$+\w*) | (?P<word>[^\W\d]\w*)
    | (?P<blank>[\s\x00-\x1f\x7f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+) | (?P<other>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_ESCAPED_TEXTS = re.compile(
    r"""(?:[^"'/]|/(?!\*)|/\*(?:[^*]|\*(?!/))*\*/|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*""", re.DOTALL
)
"""A text in which all quotes close if a backslash escapes the next character."""
_CLOSES = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Broken:
    """A mistake in quotes, brackets, comments or pipes, with its message."""

    span: Span
    message: str


@dataclass(slots=True)
class Part:
    """The text between two pipes. The first part is the head. `span` excludes white space and comments around it."""

    pipe: Span
    span: Span
    keyword: str = ""
    keyword_span: Span = NOWHERE
    broken: bool = False
    depth: int = 0
    nested: Span | None = None
    """The bracket around a pipe in this part: possibly a nested query."""

    @property
    def empty(self) -> bool:
        return self.span.start == self.span.end


@dataclass(frozen=True, slots=True)
class Used:
    """A `$name`. `part` is the number of its part."""

    name: str
    span: Span
    part: int
    quoted: bool = False


@dataclass(slots=True)
class Scan:
    """The parts of a query, and the facts that do not need the grammar."""

    parts: list[Part] = field(default_factory=list)
    comments: list[tuple[Span, bool]] = field(default_factory=list)
    """Each with whether it is in an accepted place: at the start, at the end, or before a pipe."""
    parameters: list[Used] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    doubtful: list[Broken] = field(default_factory=list)
    """Possible mistakes."""
    complete: bool = True
    """False if an unclosed quote or comment hides the rest of the text."""


def scan(text: Source) -> Scan:
    """Split a query. Raises nothing. The result has at least one part."""
    return _Scanner(text).done()


def _inner_pipes(text: Source) -> frozenset[int]:
    """The pipes in brackets, if all brackets match: then they may be new syntax rather than mistakes."""
    open_brackets: list[str] = []
    found = []
    for lexeme in _LEXEME.finditer(text):
        kind = lexeme.lastgroup
        if kind == "opening":
            open_brackets.append(lexeme[0])
        elif kind == "closing" and (not open_brackets or open_brackets.pop() != _CLOSES[lexeme[0]]):
            return frozenset()
        elif kind == "pipe" and open_brackets:
            found.append(lexeme.start())
    return frozenset() if open_brackets else frozenset(found)


class _Scanner:
    def __init__(self, text: Source) -> None:
        self._text = text
        self._scan = Scan()
        self._part = Part(Span(0, 0), Span(0, 0))
        self._brackets: list[tuple[str, Span]] = []
        self._pending: list[Span] = []  # comments: the next lexeme decides whether their place is accepted
        self._after_double_pipe = False
        self._long_text: Span | None = None  # the first text over several lines: suspect if a quote is unclosed

    def done(self) -> Scan:
        inner = _inner_pipes(self._text)
        for found in _LEXEME.finditer(self._text):
            kind, span = str(found.lastgroup), Span(*found.span())
            if kind == "blank":
                continue
            if kind == "comment":
                self._comment(span)
            elif kind == "pipe" and span.start in inner:
                self._part.nested = self._part.nested or self._brackets[0][1]
            elif kind == "pipe":
                self._end_of_part(span.start)
                self._part = Part(span, Span(span.end, span.end))
            else:
                if kind in ("open_comment", "slashes"):
                    self._bad_comment(kind, span)
                else:
                    self._lexeme(kind, found[0], span)
                if kind in ("open_comment", "open_text"):
                    self._scan.complete = False
                    self._part.span = Span(self._part.span.start, len(self._text.rstrip()))
                    break
        self._end_of_part(len(self._text), last=True)
        return self._scan

    def _lexeme(self, kind: str, lexeme: str, span: Span) -> None:
        part = self._part
        if part.empty:
            part.span = span
            part.keyword, part.keyword_span = (lexeme.casefold(), span) if kind == "word" else ("", span)
        part.span = Span(part.span.start, span.end)
        self._settle(well_placed=False)
        if kind == "opening":
            self._brackets.append((lexeme, span))
            part.depth = max(part.depth, len(self._brackets))
        elif kind == "closing":
            self._close(lexeme, span)
        elif kind == "open_text":
            self._open_text(span)
        elif kind == "parameter":
            self._parameter(lexeme, span)
        elif kind == "text":
            self._in_text(lexeme, span)

    def _comment(self, span: Span) -> None:
        if self._part.empty and not self._scan.parts:
            self._scan.comments.append((span, True))
        else:
            self._pending.append(span)

    def _settle(self, *, well_placed: bool) -> None:
        self._scan.comments += [(span, well_placed) for span in self._pending]
        self._pending.clear()

    def _bad_comment(self, kind: str, span: Span) -> None:
        self._part.broken = True
        if kind == "slashes" and self._text[: span.start].endswith(":"):
            self._wrong(span, "// is not NQL: put a URL in quotes")
        elif kind == "slashes":
            self._wrong(span, "// does not begin a comment in NQL: write /* … */ before a pipe")
        else:
            self._wrong(span, "this comment is not closed: end it with */")

    def _open_text(self, span: Span) -> None:
        # Everything up to the next quote was read as a text, so a missing quote shows only at the end of the query.
        # Most likely it is missing in a text over several lines.
        if _ESCAPED_TEXTS.fullmatch(self._text):
            message = "this quote is closed only if \\ escapes another one, which is not documented for NQL"
            self._scan.doubtful.append(Broken(Span(span.start, span.start + 1), message))
        else:
            span = self._long_text or span
            self._wrong(Span(span.start, span.start + 1), "this quote is not closed")
        for part in (*self._scan.parts, self._part):
            part.broken = part.broken or part.span.end > span.start

    def _in_text(self, lexeme: str, span: Span) -> None:
        if "\n" in lexeme and self._long_text is None:
            self._long_text = span
        for found in re.finditer(r"\$([^\W\d]\w*)", lexeme):
            place = Span(span.start + found.start(), span.start + found.end())
            self._scan.parameters.append(Used(found[1], place, len(self._scan.parts), quoted=True))

    def _parameter(self, lexeme: str, span: Span) -> None:
        name = lexeme.lstrip("$")
        if lexeme.startswith("$$"):
            self._wrong(span, "begin a parameter with a single $")
        elif not name or name[0].isdigit():
            self._wrong(span, "write a parameter as $ and a name, for example $days")
        else:
            self._scan.parameters.append(Used(name, span, len(self._scan.parts)))
            return
        self._part.broken = True

    def _close(self, lexeme: str, span: Span) -> None:
        if self._brackets and self._brackets[-1][0] == _CLOSES[lexeme]:
            self._brackets.pop()
            return
        self._part.broken = True
        if not self._brackets:
            self._wrong(span, f"this {lexeme} does not close a bracket")
        else:
            opened, at = self._brackets.pop()
            line, column = self._text.position(at.start)
            self._wrong(span, f"this {lexeme} does not match the {opened} at line {line}, column {column}")

    def _end_of_part(self, end: int, *, last: bool = False) -> None:
        self._settle(well_placed=True)
        if self._brackets:
            opened, span = self._brackets[-1]
            if self._scan.complete:  # else the rest of the text may close it
                self._wrong(span, f"this {opened} is not closed")
            self._part.broken = True
            self._brackets.clear()
        self._scan.parts.append(self._part)
        if self._after_double_pipe:
            self._part.broken = True  # most likely the second half of a condition
            self._after_double_pipe = False
        if self._part.empty and not self._part.broken:
            self._empty(end, last=last)

    def _empty(self, end: int, *, last: bool) -> None:
        parts = self._scan.parts
        if len(parts) == 1:
            self._wrong(Span(0, min(end, 1)), "the query is empty" if last else "a table is missing before the first |")
            return
        if parts[-2].empty:
            return  # one message for several pipes
        pipe = self._part.pipe
        if not last and end == pipe.end:
            self._wrong(Span(pipe.start, end + 1), "|| is not NQL: write `or`, or one | and a clause")
            self._after_double_pipe = True
        else:
            self._wrong(pipe, "a clause is missing after this |")

    def _wrong(self, span: Span, message: str) -> None:
        self._scan.broken.append(Broken(span, message))
