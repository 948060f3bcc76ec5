"""Parses a text to a syntax tree. There is a tree for every text: a part with a syntax error is `Opaque` and a fault.

A fault is *certain* only if no version of NQL could accept the text: an empty clause, or a missing operand. Anything
else may be NQL that is newer than this grammar (docs/facts/nexthink.md section 4).
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path as File
from typing import Any

from lark import Lark, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.utils import TextSlice

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.scan import MAX_DEPTH, Part, Scan, scan
from qualtrics_exporter.nql.source import Source, Span
from qualtrics_exporter.nql.tree import TREE

CLAUSES = ("with", "include", "where", "compute", "summarize", "list", "sort", "limit")


@dataclass(frozen=True, slots=True)
class Fault:
    """A part that the grammar does not accept."""

    part: Part
    span: Span
    certain: bool
    at_end: bool = False
    error: UnexpectedInput | None = None  # None: the part was not parsed

    @property
    def expected(self) -> frozenset[str]:
        """The terminals that the grammar accepts there. Slow: use it only for faults that are reported."""
        parser = getattr(self.error, "interactive_parser", None)
        return frozenset(parser.accepts()) if parser else frozenset()


@dataclass(frozen=True, slots=True)
class Parsed:
    """The result of `parse`."""

    source: Source
    scan: Scan
    query: syntax.Query
    faults: tuple[Fault, ...]


def parse(text: str) -> Parsed:
    """Parse a query in linear time. Raises nothing."""
    source = Source(text)
    scanned = scan(source)
    faults: list[Fault] = []
    parts = [_part(source, part, number == 0, faults) for number, part in enumerate(scanned.parts)]
    query = syntax.Query(parts[0], tuple(parts[1:]), span=Span(0, len(source)))
    return Parsed(source, scanned, query, tuple(faults))


def _part(source: Source, part: Part, first: bool, faults: list[Fault]) -> Any:
    rule = "head" if first else f"{part.keyword}_clause"
    if part.broken or part.empty or not (first or part.keyword in CLAUSES):
        return _opaque(source, part)
    if part.nested or part.depth > MAX_DEPTH:
        faults.append(Fault(part, part.nested or part.span, certain=False))
        return _opaque(source, part)
    try:
        return TREE.transform(_grammar().parse(TextSlice(source, *part.span), rule))
    except UnexpectedInput as error:
        faults.append(_fault(source, part, error))
        return _opaque(source, part)


def _opaque(source: Source, part: Part) -> syntax.Opaque:
    return syntax.Opaque(part.keyword, " ".join(source[part.span.start : part.span.end].split()), span=part.span)


OPERANDS = frozenset({"NAME", "ID", "STRING", "NUMBER", "DURATION", "DATE", "WORDED_DATE", "PARAMETER", "LPAR", "LSQB"})
_NEVER_OPERANDS = frozenset({"OPERATOR", "_EQUALS", "_AND", "_OR", "COMMA", "DOT", "RPAR", "RSQB"})
"""Terminals that are never an operand. `in` and `contains` can be words of an enumeration, and `*` can be a wildcard.
"""


def _fault(source: Source, part: Part, error: UnexpectedInput) -> Fault:
    if isinstance(error, UnexpectedToken):
        operand = bool(OPERANDS & error.expected)
        token = error.token
        if token.type == "$END":
            return Fault(part, Span(part.span.end, part.span.end), operand, True, error)
        span = Span(token.start_pos or 0, token.end_pos or 0)
        certain = operand and token.type in _NEVER_OPERANDS
    else:
        assert isinstance(error, UnexpectedCharacters)  # noqa: S101  the third kind, UnexpectedEOF, is another parser's
        at = error.pos_in_stream or 0
        span = Span(at, at + 1)
        certain = bool(OPERANDS & (error.allowed or set())) and source[at : at + 1] in (",", ")", "]")
    return Fault(part, _error_span(source, part, span), certain and _is_missing(source, part, span), False, error)


def _is_missing(source: Source, part: Part, span: Span) -> bool:
    """Whether an operand is missing before the place. False for possible new syntax: `<>`, `<x>`, `[1,]`, `.5`."""
    before, after = source[part.span.start : span.start], source[span.end : span.end + 1]
    found = source[span.start : span.end]
    if before[-1:] in tuple("=<>!*/^+-") or found in ("<", ">") or (found == "." and (after.isdigit() or after == "*")):
        return False
    if found == "]" and before.rstrip()[-1:] in ("[", ","):
        return False
    return found != "=" or before.strip().casefold() != part.keyword or part.keyword == "where"


def _error_span(source: Source, part: Part, span: Span) -> Span:
    """The place to report. After a word such as `not`, which the parser reads as a field, that word is the mistake."""
    stray = _STRAY.search(source, part.keyword_span.end, span.start)
    if stray and (stray[1].casefold() != "by" or part.keyword == "sort"):
        return Span(stray.start(1), stray.end(1))
    return span


_STRAY = re.compile(r"\b(not|distinct|by)\s+\Z", re.IGNORECASE)


@cache
def _grammar() -> Lark:
    """The grammar. It is built on first use, which takes a tenth of a second."""
    rules = ["head", *(f"{keyword}_clause" for keyword in CLAUSES)]
    return Lark(
        File(__file__).with_name("grammar.lark").read_text("utf-8"),
        parser="lalr",
        start=rules,
        propagate_positions=True,
        maybe_placeholders=True,
        g_regex_flags=re.ASCII,
    )
