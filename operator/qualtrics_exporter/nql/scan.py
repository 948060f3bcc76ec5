"""A query cut at its pipes, before anything is understood.

What stands between two pipes is read by itself, so that one clause that is broken, or newer than this program, hides no
other. Quotes, brackets and comments have to be known for the cut; what is wrong with those is wrong for certain, and
found here. Two passes over the text, whatever is in it: the first one sees whether all brackets fit.
"""

import re
from dataclasses import dataclass, field

from qualtrics_exporter.nql.source import NOWHERE, Source, Span

DEEPEST = 40
"""Brackets inside each other. Nobody writes so many, and what walks over the tree may rely on it."""

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
"""A text whose quotes all close, if a backslash escapes what follows it."""
_CLOSES = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Broken:
    """A place where quotes, brackets, comments or pipes are wrong, and a sentence about it."""

    span: Span
    message: str


@dataclass(slots=True)
class Part:
    """What stands between two pipes; the first one is the head. `span` is without white space and comments around."""

    pipe: Span
    span: Span
    keyword: str = ""
    keyword_span: Span = NOWHERE
    broken: bool = False
    depth: int = 0
    nested: Span | None = None
    """The bracket that a pipe stands in: a query in a query, if there ever is such a thing."""

    @property
    def empty(self) -> bool:
        """Whether nothing stands there."""
        return self.span.start == self.span.end


@dataclass(frozen=True, slots=True)
class Used:
    """A `$name`; `part` is the number of the part that it stands in."""

    name: str
    span: Span
    part: int
    quoted: bool = False


@dataclass(slots=True)
class Scan:
    """The parts of a query, and what is known of it without its grammar."""

    parts: list[Part] = field(default_factory=list)
    comments: list[tuple[Span, bool]] = field(default_factory=list)
    """Each with whether it stands where Nexthink takes one: at the start, at the end, before a pipe."""
    parameters: list[Used] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    doubtful: list[Broken] = field(default_factory=list)
    """Not broken for certain: what follows cannot be read here."""
    complete: bool = True
    """False when the rest of the text could not be told from a quote or a comment that is never closed."""


def scan(text: Source) -> Scan:
    """Cut a query. Raises nothing: whatever the text is, there is at least one part."""
    return _Scanner(text).done()


def _inner_pipes(text: Source) -> frozenset[int]:
    """Pipes in brackets, if all brackets of the text fit: then nothing is broken, it is only not known."""
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
        self._pending: list[Span] = []  # comments: what comes next tells whether they are well placed
        self._after_double_pipe = False
        self._long_text: Span | None = None  # a text over several lines: suspect if quotes turn out odd

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
            self._wrong(span, "// has no meaning in NQL: an address of the web is a text, in quotes")
        elif kind == "slashes":
            self._wrong(span, "// begins no comment in NQL: write /* … */, before a pipe")
        else:
            self._wrong(span, "this comment is never closed: end it with */")

    def _open_text(self, span: Span) -> None:
        # Everything up to the next quote was taken for a text, so a missing quote shows at the end of the query. A text
        # over several lines is where it most likely went wrong.
        if _ESCAPED_TEXTS.fullmatch(self._text):
            told = "this quote is closed only if \\ escapes another one, which is not documented for NQL"
            self._scan.doubtful.append(Broken(Span(span.start, span.start + 1), told))
        else:
            span = self._long_text or span
            self._wrong(Span(span.start, span.start + 1), "this quote is never closed")
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
            self._wrong(span, "a parameter begins with one $")
        elif not name or name[0].isdigit():
            self._wrong(span, "a parameter is $ and a name, for example $days")
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
            self._wrong(span, f"this {lexeme} closes nothing")
        else:
            opened, at = self._brackets.pop()
            line, column = self._text.position(at.start)
            self._wrong(span, f"this {lexeme} does not fit the {opened} at line {line}, column {column}")

    def _end_of_part(self, end: int, *, last: bool = False) -> None:
        self._settle(well_placed=True)
        if self._brackets:
            opened, span = self._brackets[-1]
            if self._scan.complete:  # else what closes it may be in the rest
                self._wrong(span, f"this {opened} is never closed")
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
            return  # one sentence for a row of pipes
        pipe = self._part.pipe
        if not last and end == pipe.end:
            self._wrong(Span(pipe.start, end + 1), "|| is not NQL: write `or`, or one | and a clause")
            self._after_double_pipe = True
        else:
            self._wrong(pipe, "a clause is missing after this |")

    def _wrong(self, span: Span, message: str) -> None:
        self._scan.broken.append(Broken(span, message))
