"""What a check of a query finds, and what finds it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from qualtrics_exporter.nql.parse import Parsed, parse
from qualtrics_exporter.nql.source import Source, Span
from qualtrics_exporter.resource.reasons import Kind, Reason

Found = tuple[Span, str]
"""Where, and a sentence without a full stop. It may be shown to anybody: no literal of the query stands in it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a query that its author should know. `rule` is the name of its page in docs/nql/."""

    rule: str
    reason: Reason
    span: Span
    message: str

    @property
    def certain(self) -> bool:
        """Whether the query cannot be right. Else it is a doubt."""
        return self.reason.kind is Kind.PERMANENT

    def stops(self, query_check: object) -> bool:
        """Whether it keeps its exporter from running; `query_check` is what spec.nexthink.queryCheck says."""
        return self.certain and query_check != "Warn"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the rules look at: a query, and what its exporter says about it.

    `parameters` are the values that it gives; `interval` is the time between two slots, None without a schedule, and
    `cycle` is the time in which each person is asked at most once, if that is longer.
    """

    parsed: Parsed
    parameters: Mapping[str, str] = field(default_factory=dict)
    interval: timedelta | None = None
    cycle: timedelta | None = None

    @classmethod
    def of(
        cls,
        text: str,
        parameters: Mapping[str, str] | None = None,
        interval: timedelta | None = None,
        cycle: timedelta | None = None,
    ) -> "Subject":
        """Read a query."""
        return cls(parse(text), parameters or {}, interval, cycle)

    @property
    def source(self) -> Source:
        """Its text."""
        return self.parsed.source


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it looks for, and the reason that it gives."""

    name: str
    reason: Reason
    find: Callable[[Subject], Iterator[Found]]

    def __call__(self, subject: Subject) -> Iterator[Finding]:
        """What this rule has to say, in no certain order."""
        for span, message in self.find(subject):
            yield Finding(self.name, self.reason, span, message)


def rule(reason: Reason) -> Callable[[Callable[[Subject], Iterator[Found]]], Rule]:
    """Make a rule of a function; it is called as the function is."""
    return lambda find: Rule(find.__name__.replace("_", "-"), reason, find)
