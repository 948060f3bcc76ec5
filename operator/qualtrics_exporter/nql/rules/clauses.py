"""Rules about clauses that need other clauses, and about clauses that select too few or too many people."""

from collections.abc import Iterator
from decimal import Decimal

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.parse import CLAUSES
from qualtrics_exporter.nql.source import quoted
from qualtrics_exporter.nql.vocabulary import USERS
from qualtrics_exporter.resource.reasons import Reason

EVERYBODY = 1_000_000
"""Maximum number of rows of a query (docs/facts/nexthink.md section 1, D): a limit of this many has no effect."""


@rule(Reason.QUERY_INVALID)
def compute_without_events(subject: Subject) -> Iterator[Found]:
    """`compute` needs the events of a `with` or `include`."""
    for part in subject.parsed.scan.parts[1:]:
        if part.keyword in ("with", "include") or part.keyword not in CLAUSES:
            return  # an unknown clause may have events too
        if part.keyword == "compute":
            message = "`compute` needs the events of a `with` or `include` before it"
            yield part.keyword_span, message + _instead(subject.parsed.query.head)
            return


def _instead(head: syntax.Head | syntax.Opaque) -> str:
    """A hint for a query that begins with a table of events, which does not support `with`."""
    if not isinstance(head, syntax.Head) or len(head.table.segments) == 1 or head.table.name in USERS:
        return ""
    return f"; begin with `users | with …` and {quoted('.'.join(head.table.segments))}"


@rule(Reason.QUERY_NOT_VERIFIED)
def include_without_compute(subject: Subject) -> Iterator[Found]:
    """The documentation contradicts itself: it is rejected, or has no effect (docs/facts/nexthink.md section 4)."""
    waiting = None
    for part in subject.parsed.scan.parts[1:]:
        if part.keyword == "include":
            waiting = part
        elif part.keyword not in ("where", "with", "include"):
            if part.keyword in CLAUSES and part.keyword != "compute":
                break
            waiting = None
    if waiting:
        yield waiting.keyword_span, "`include` needs a `compute` after it: without it, Nexthink may reject or ignore it"


@rule(Reason.QUERY_LIMITED)
def limited(subject: Subject) -> Iterator[Found]:
    """A limit silently leaves out people."""
    for clause in subject.parsed.query.clauses:
        if isinstance(clause, syntax.Limit) and clause.count < EVERYBODY and _is_whole(clause.count):
            people = "1 person" if clause.count == 1 else f"{clause.count} people"
            message = f"this returns at most {people}, and the others are never surveyed: remove it"
            yield clause.span, f"{message}, and set spec.maxRecipients to stop runs with too many people"


@rule(Reason.QUERY_INVALID)
def fractional_limit(subject: Subject) -> Iterator[Found]:
    """`limit` counts rows."""
    for clause in subject.parsed.query.clauses:
        if isinstance(clause, syntax.Limit) and not _is_whole(clause.count):
            yield clause.span, "`limit` needs a whole number"


def _is_whole(count: Decimal) -> bool:
    return count == count.to_integral_value()


@rule(Reason.QUERY_WITHOUT_CONDITION)
def no_condition(subject: Subject) -> Iterator[Found]:
    """`users | list ad.email_address` returns every user that Nexthink knows."""
    query = subject.parsed.query
    if not isinstance(query.head, syntax.Head) or query.head.table.name not in USERS or query.head.time:
        return
    listed = [field for clause in query.clauses if isinstance(clause, syntax.List) for field in clause.fields]
    if not listed or not all(_keeps_everybody(clause, listed) for clause in query.clauses):
        return  # an unknown clause may be a condition
    if any(isinstance(clause, syntax.Where) for clause in query.clauses):
        message = "nearly every user meets the conditions of this query"
        yield query.head.table.span, f"{message}: add `with`, or a `where` that selects users"
    else:
        yield query.head.table.span, "this query has no condition and returns every user: add `with` or `where`"


def _keeps_everybody(clause: syntax.Clause, listed: list[syntax.Path]) -> bool:
    if isinstance(clause, syntax.Limit):
        return clause.count >= EVERYBODY
    if isinstance(clause, syntax.Where):
        return _holds_for_everybody(clause.condition, listed)
    return isinstance(clause, syntax.Include | syntax.Compute | syntax.List | syntax.Sort)


def _holds_for_everybody(condition: syntax.Expression, listed: list[syntax.Path]) -> bool:
    """Whether a user fails the condition only by having no value: `!= null` for the address, or `== "*"`."""
    if isinstance(condition, syntax.AllOf):
        return all(_holds_for_everybody(part, listed) for part in condition.conditions)
    if isinstance(condition, syntax.AnyOf):
        return any(_holds_for_everybody(part, listed) for part in condition.conditions)
    if not isinstance(condition, syntax.Comparison) or not isinstance(condition.left, syntax.Path):
        return False
    values = condition.right.items if isinstance(condition.right, syntax.Values) else (condition.right,)
    literals = [value for value in values if isinstance(value, syntax.Literal)]
    texts = [literal.text for literal in literals if literal.kind == "text"]
    address = any(_same_field(condition.left, field) for field in listed)
    if condition.operator == "contains":
        return "" in texts or (address and "@" in texts)
    if condition.operator in ("=", "==", "in"):
        patterns = [text.strip("*") for text in texts if "*" in text]
        return "" in patterns or (address and "@" in patterns)
    if condition.operator in ("!=", "!in") and len(literals) == len(values):
        nothing = all(literal.kind == "null" or (literal.kind == "text" and not literal.text) for literal in literals)
        return nothing and address
    return False


def _same_field(one: syntax.Path, other: syntax.Path) -> bool:
    fields = [path.names[1:] if path.names[0] in ("user", "users") else path.names for path in (one, other)]
    return fields[0] == fields[1]


@rule(Reason.QUERY_NOT_VERIFIED)
def period_of_summarize(subject: Subject) -> Iterator[Found]:
    """One period, of whole days, hours or quarters of an hour (docs/facts/nexthink.md section 4, D)."""
    for clause in subject.parsed.query.clauses:
        if not isinstance(clause, syntax.Summarize):
            continue
        periods = [item for item in clause.by if isinstance(item, syntax.Duration)]
        for period in periods[1:]:
            yield period.span, "`by` accepts only one period: remove this one"
        for period in periods:
            step = {"d": 1, "h": 1, "min": 15}.get(period.unit)
            if step is None or period.amount % step or not period.amount:
                yield period.span, "a period must be in whole days or hours, or in multiples of 15 min"
