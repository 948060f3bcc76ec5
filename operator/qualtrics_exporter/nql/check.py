"""The way in: what is wrong with a query, and where."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import islice

from qualtrics_exporter.nql.findings import Finding, Subject
from qualtrics_exporter.nql.rules import RULES
from qualtrics_exporter.nql.source import NOWHERE, Span
from qualtrics_exporter.resource.reasons import Kind, Reason
from qualtrics_exporter.resource.spec import LONGEST_QUERY

MOST_FINDINGS = 50
"""Of one query: who has more has one mistake that looks like many."""


def check(
    text: str,
    parameters: Mapping[str, str] | None = None,
    interval: timedelta | None = None,
    cycle: timedelta | None = None,
) -> list[Finding]:
    """What is to be said of a query, in the order of its text; an empty list when all is well.

    `parameters` are the values that it is given, `interval` is the time between two slots of its schedule, and `cycle`
    is the time in which each person is asked at most once, if that is longer. Raises nothing, and takes less than a
    second whatever the text is: should there be an error in the check itself, then it cannot verify the query, and says
    so.
    """
    try:
        found = list(islice(_all(text, parameters, interval, cycle), MOST_FINDINGS))
    except Exception as error:  # noqa: BLE001
        told = (
            f"the check itself met an error ({type(error).__name__}), please report it; nothing is known of the query"
        )
        found = [Finding("unchecked", Reason.QUERY_NOT_VERIFIED, NOWHERE, told)]
    return sorted(found, key=lambda finding: finding.span)


def _all(
    text: str, parameters: Mapping[str, str] | None, interval: timedelta | None, cycle: timedelta | None
) -> Iterator[Finding]:
    if len(text) > LONGEST_QUERY:
        told = f"the query has {len(text)} characters, and Nexthink takes {LONGEST_QUERY}: shorten it"
        yield Finding("too-long", Reason.QUERY_INVALID, Span(LONGEST_QUERY, LONGEST_QUERY), told)
        return
    subject = Subject.of(text, parameters, interval, cycle)
    for rule in sorted(RULES, key=lambda rule: rule.reason.kind is not Kind.PERMANENT):
        yield from rule(subject)  # errors first: whatever is cut off, they are not
