"""The entry point: all findings about a query."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import islice

from qualtrics_exporter.nql.findings import Finding, Subject
from qualtrics_exporter.nql.parse import parse
from qualtrics_exporter.nql.rules import RULES
from qualtrics_exporter.nql.source import NOWHERE, Span
from qualtrics_exporter.resource.reasons import Kind, Reason
from qualtrics_exporter.resource.spec import LONGEST_QUERY

MAX_FINDINGS = 50
"""Of one query. More findings usually come from a single mistake."""


def check(
    text: str,
    parameters: Mapping[str, str] | None = None,
    interval: timedelta | None = None,
    cycle: timedelta | None = None,
) -> list[Finding]:
    """The findings about a query, in the order of its text.

    `parameters` are the values of its parameters, `interval` is the time between two slots of its schedule, and `cycle`
    is the time in which each person is surveyed at most once, if that is longer. Takes less than a second for any text.
    Raises nothing: an internal error of the check becomes a finding.
    """
    try:
        found = list(islice(_all(text, parameters, interval, cycle), MAX_FINDINGS))
    except Exception as error:  # noqa: BLE001
        message = f"internal error of the check ({type(error).__name__}): please report it; the query is not checked"
        found = [Finding("unchecked", Reason.QUERY_NOT_VERIFIED, NOWHERE, message)]
    return sorted(found, key=lambda finding: finding.span)


def _all(
    text: str, parameters: Mapping[str, str] | None, interval: timedelta | None, cycle: timedelta | None
) -> Iterator[Finding]:
    if len(text) > LONGEST_QUERY:
        message = f"the query has {len(text)} characters, and Nexthink accepts at most {LONGEST_QUERY}: shorten it"
        yield Finding("too-long", Reason.QUERY_INVALID, Span(LONGEST_QUERY, LONGEST_QUERY), message)
        return
    subject = Subject(parse(text), parameters or {}, interval, cycle)
    for rule in sorted(RULES, key=lambda rule: rule.reason.kind is not Kind.PERMANENT):
        yield from rule(subject)  # errors first, so that the limit never cuts them off
