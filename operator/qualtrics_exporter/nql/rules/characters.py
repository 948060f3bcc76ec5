"""Rules about control characters, invisible characters and comments."""

import re
from collections.abc import Iterator

from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.source import INVISIBLE, Span
from qualtrics_exporter.resource.reasons import Reason

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+")


@rule(Reason.QUERY_INVALID)
def control_character(subject: Subject) -> Iterator[Found]:
    """Control characters such as NUL are invalid everywhere, even in quotes."""
    for found in _CONTROL.finditer(subject.source):
        yield Span(*found.span()), f"there is a control character ({_code(found[0])}) here: remove it"


@rule(Reason.QUERY_NOT_VERIFIED)
def invisible_character(subject: Subject) -> Iterator[Found]:
    """Characters that are invisible, or that change the order in which a line is displayed."""
    for found in INVISIBLE.finditer(subject.source):
        message = f"there is an invisible character ({_code(found[0])}) here, so the query may not be what you see"
        yield Span(*found.span()), f"{message}: remove it, or write a normal space"


@rule(Reason.QUERY_NOT_VERIFIED)
def misplaced_comment(subject: Subject) -> Iterator[Found]:
    """Nexthink accepts comments at the start, at the end and before a pipe (docs/facts/nexthink.md section 4, D)."""
    for span, well_placed in subject.parsed.scan.comments:
        if not well_placed:
            yield span, "Nexthink accepts comments only at the start, at the end and before a |: move it there"


def _code(text: str) -> str:
    return f"U+{ord(text[0]):04X}"
