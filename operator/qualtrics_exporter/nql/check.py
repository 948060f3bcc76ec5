"""The way in: what is wrong with a query, and where."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import chain, islice

from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import LONGEST_QUERY

from .findings import Finding, Subject
from .rules import RULES
from .source import Span

MOST_FINDINGS = 50
"""Of one query: who has more has one mistake that looks like many."""


def check(text: str, parameters: Mapping[str, str] | None = None, interval: timedelta | None = None) -> list[Finding]:
    """What is to be said of a query, in the order of its text; an empty list when all is well.

    `parameters` are the values that it is given, `interval` is the time between two slots of its schedule. Raises
    nothing, and takes less than a second whatever the text is.
    """
    if len(text) > LONGEST_QUERY:
        return list(_too_long(text))
    subject = Subject.of(text, parameters, interval)
    found = islice(chain.from_iterable(each(subject) for each in RULES), MOST_FINDINGS)
    return sorted(found, key=lambda finding: finding.span)


def _too_long(text: str) -> list[Finding]:
    span = Span(LONGEST_QUERY, LONGEST_QUERY)
    told = f"the query has {len(text)} characters, and Nexthink takes {LONGEST_QUERY}: shorten it"
    return [Finding("too-long", Reason.QUERY_INVALID, span, told)]
