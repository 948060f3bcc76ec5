"""A finding about a query, a rule that produces findings, and the subject that rules check."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from qualtrics_exporter.nql.parse import Parsed
from qualtrics_exporter.nql.source import Source, Span
from qualtrics_exporter.resource.reasons import Kind, Reason

Found = tuple[Span, str]
"""The place, and a sentence without a full stop. The sentence does not quote literals of the query."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a query that its author should know. `rule` is the name of a page in docs/nql/."""

    rule: str
    reason: Reason
    span: Span
    message: str

    @property
    def certain(self) -> bool:
        """Whether the query is certainly wrong. Otherwise the finding is a warning."""
        return self.reason.kind is Kind.PERMANENT

    def stops(self, query_check: object) -> bool:
        """Whether it stops the exporter. `query_check` is the value of spec.nexthink.queryCheck."""
        return self.certain and query_check != "Warn"


@dataclass(frozen=True, slots=True)
class Subject:
    """The input of the rules: a query, and facts from its exporter.

    `parameters` are the values of its parameters. `interval` is the time between two slots, None without a schedule.
    `cycle` is the time in which each person is surveyed at most once, if that is longer.
    """

    parsed: Parsed
    parameters: Mapping[str, str] = field(default_factory=dict)
    interval: timedelta | None = None
    cycle: timedelta | None = None

    @property
    def source(self) -> Source:
        return self.parsed.source


@dataclass(frozen=True, slots=True)
class QueryRule:
    """One rule of queries: its name, the reason of its findings, and the function that finds them."""

    name: str
    reason: Reason
    find: Callable[[Subject], Iterator[Found]]

    def __call__(self, subject: Subject) -> Iterator[Finding]:
        """The findings of this rule, in any order."""
        for span, message in self.find(subject):
            yield Finding(self.name, self.reason, span, message)


def rule(reason: Reason) -> Callable[[Callable[[Subject], Iterator[Found]]], QueryRule]:
    """Make a rule of a function. Its name is the name of the function."""
    return lambda find: QueryRule(find.__name__.replace("_", "-"), reason, find)
