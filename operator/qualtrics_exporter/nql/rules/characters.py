"""What is in a text without being seen."""

import re
from collections.abc import Iterator

from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.source import INVISIBLE, Span
from qualtrics_exporter.resource.reasons import Reason

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")


@rule(Reason.QUERY_INVALID)
def control_character(subject: Subject) -> Iterator[Found]:
    """NUL and its like have no place in a query, not even in quotes."""
    for found in _CONTROL.finditer(subject.source):
        yield Span(*found.span()), f"a control character ({_code(found[0])}) stands here: remove it"


@rule(Reason.QUERY_NOT_VERIFIED)
def invisible_character(subject: Subject) -> Iterator[Found]:
    """Signs that people do not see, or that make a line read in another order than it runs."""
    for found in INVISIBLE.finditer(subject.source):
        what = f"a character that cannot be seen ({_code(found[0])}): what runs may differ from what is read"
        yield Span(*found.span()), f"{what}; remove it, or write a plain space"


@rule(Reason.QUERY_NOT_VERIFIED)
def misplaced_comment(subject: Subject) -> Iterator[Found]:
    """Nexthink takes comments at the start, at the end and before a pipe (docs/facts/nexthink.md section 4, D)."""
    for span, well_placed in subject.parsed.scan.comments:
        if not well_placed:
            yield span, "Nexthink takes a comment at the start, at the end and before a |: move it there"


def _code(text: str) -> str:
    return f"U+{ord(text[0]):04X}"
