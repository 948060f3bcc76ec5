"""Rules about syntax errors and unknown clauses."""

from collections.abc import Iterator

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.explain import explained, follows_invisible_character
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.parse import CLAUSES
from qualtrics_exporter.nql.vocabulary import FUNCTIONS, meant_to_be, nearest
from qualtrics_exporter.nql.walk import nodes
from qualtrics_exporter.resource.reasons import Reason


@rule(Reason.QUERY_INVALID)
def syntax_error(subject: Subject) -> Iterator[Found]:
    """Quotes and brackets that do not close, empty clauses, and missing operands."""
    for broken in subject.parsed.scan.broken:
        yield broken.span, broken.message
    for fault in subject.parsed.faults:
        if fault.certain:
            yield fault.span, explained(subject.parsed, fault)


@rule(Reason.QUERY_NOT_VERIFIED)
def not_understood(subject: Subject) -> Iterator[Found]:
    """Other syntax that the grammar does not accept, and conditions without a comparison."""
    for doubtful in subject.parsed.scan.doubtful:
        yield doubtful.span, doubtful.message
    for fault in subject.parsed.faults:
        # Other rules report parameters in a wrong clause and invisible characters.
        other = subject.source[fault.span.start : fault.span.end].startswith("$")
        if not (fault.certain or other or follows_invisible_character(subject.source, fault.span)):
            yield fault.span, explained(subject.parsed, fault)
    for clause in subject.parsed.query.clauses:
        if isinstance(clause, syntax.Where):
            yield from _not_a_condition(clause.condition)
    for node in nodes(subject.parsed.query):
        if not isinstance(node, syntax.Comparison) or node.operator not in ("in", "!in"):
            continue
        if not isinstance(node.right, syntax.Values | syntax.Parameter):
            yield node.right.span, f"`{node.operator}` needs a list in [ ]"


@rule(Reason.QUERY_NOT_VERIFIED)
def unknown_clause(subject: Subject) -> Iterator[Found]:
    """A clause that begins with an unknown word."""
    for part in subject.parsed.scan.parts[1:]:
        if part.empty or part.broken or part.keyword in CLAUSES:
            continue
        known = ", ".join(CLAUSES)
        if not part.keyword:
            yield part.keyword_span, f"a clause must begin with one of {known}"
            continue
        meant = nearest(part.keyword, CLAUSES, 0.65)
        if part.keyword in _OF_OTHER_LANGUAGES:
            hint = f"write `{_OF_OTHER_LANGUAGES[part.keyword]}`"
        else:
            hint = meant_to_be(part.keyword, meant) or f"the known clauses are {known}"
        yield part.keyword_span, f"{subject.source.shown(part.keyword_span)} is not a known clause; {hint}"


def _not_a_condition(condition: syntax.Expression) -> Iterator[Found]:
    if isinstance(condition, syntax.AllOf | syntax.AnyOf):
        for each in condition.conditions:
            yield from _not_a_condition(each)
    elif isinstance(condition, syntax.Literal):
        yield condition.span, "this is not a comparison: for one of several values, write `field in [a, b]`"
    elif isinstance(condition, syntax.Comparison):
        both = isinstance(condition.left, syntax.Literal) and isinstance(condition.right, syntax.Literal)
        if both or condition.left == condition.right:
            yield condition.span, "this has the same result for everybody: compare a field with a value"
    elif not _is_unknown_function(condition):
        yield condition.span, "this is not a comparison: a condition needs a field, an operator and a value"


def _is_unknown_function(node: syntax.Expression) -> bool:
    """Whether it calls an unknown function, which may return true or false. Another rule reports the function."""
    last = node.members[-1] if isinstance(node, syntax.Path) else None
    return isinstance(last, syntax.Call) and last.name.casefold() not in FUNCTIONS


_OF_OTHER_LANGUAGES = {
    "select": "list",
    "filter": "where",
    "having": "where",
    "order": "sort",
    "group": "summarize … by",
}
