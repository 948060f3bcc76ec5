"""What the grammar has to say: what no NQL can mean, and what may be NQL that is newer."""

import re
from collections.abc import Iterator

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.nql.parse import CLAUSES, Fault
from qualtrics_exporter.nql.scan import DEEPEST
from qualtrics_exporter.nql.source import Span
from qualtrics_exporter.nql.vocabulary import nearest_word
from qualtrics_exporter.resource.reasons import Reason


@rule(Reason.QUERY_INVALID)
def syntax_error(subject: Subject) -> Iterator[Found]:
    """Quotes and brackets that do not close, a clause without anything in it, an operand that is missing."""
    for broken in subject.parsed.scan.broken:
        yield broken.span, broken.message
    for fault in subject.parsed.faults:
        if fault.certain:
            yield fault.span, _told(subject, fault)


@rule(Reason.QUERY_NOT_VERIFIED)
def not_understood(subject: Subject) -> Iterator[Found]:
    """Anything else that the grammar does not take, and a condition that compares nothing."""
    for fault in subject.parsed.faults:
        # A parameter in the wrong clause has a rule of its own.
        if not fault.certain and not _lexeme(subject, fault.span).startswith("$"):
            yield fault.span, _told(subject, fault)
    for clause in subject.parsed.query.clauses:
        if isinstance(clause, syntax.Where):
            yield from _not_a_condition(clause.condition)


@rule(Reason.QUERY_NOT_VERIFIED)
def unknown_clause(subject: Subject) -> Iterator[Found]:
    """A clause that begins with another word than the known ones."""
    for part in subject.parsed.scan.parts[1:]:
        if part.empty or part.broken or part.keyword in CLAUSES:
            continue
        known = ", ".join(CLAUSES)
        if not part.keyword:
            yield part.keyword_span, f"a clause begins with one of {known}"
            continue
        meant = nearest_word(part.keyword, CLAUSES)
        hint = f"did you mean `{meant}`?" if meant else f"known are {known}"
        yield part.keyword_span, f"{subject.source.shown(part.keyword_span)} is no clause that is known here; {hint}"


def _not_a_condition(condition: syntax.Expression) -> Iterator[Found]:
    if isinstance(condition, syntax.AllOf | syntax.AnyOf):
        for each in condition.conditions:
            yield from _not_a_condition(each)
    elif not isinstance(condition, syntax.Comparison):
        yield condition.span, "this compares nothing: a condition is a field, an operator and a value"


def _told(subject: Subject, fault: Fault) -> str:
    if fault.error is None:
        return f"more than {DEEPEST} brackets inside each other: too deep to be checked"
    head = fault.part is subject.parsed.scan.parts[0]
    where = "before the first |" if head else f"in `{fault.part.keyword}`"
    expected = fault.expected
    wanted = _expected(fault.part.keyword, expected, head=head)
    if fault.at_end:
        return f"{wanted} is missing {where}" if head else f"{wanted} is missing at the end of `{fault.part.keyword}`"
    hint = _hint(subject, fault, expected)
    return f"{wanted} is expected here, {where}, and {_found(subject, fault)} was found" + (f"; {hint}" if hint else "")


def _found(subject: Subject, fault: Fault) -> str:
    """What stands there; the user's own text is not repeated."""
    return "a text in quotes" if _lexeme(subject, fault.span)[0] in "\"'" else subject.source.shown(fault.span)


def _lexeme(subject: Subject, span: Span) -> str:
    return subject.source[span.start : span.end]


def _hint(subject: Subject, fault: Fault, expected: frozenset[str]) -> str | None:
    """What was probably meant."""
    lexeme = _lexeme(subject, fault.span).casefold()
    if "_EQUALS" in expected:
        return "an alias takes a single =" if lexeme == "==" else "write `name = value`"
    if "DURATION" in expected and (unit := re.match(r"(\d+)\s*(d|h|min)", subject.source[fault.span.start :])):
        return f"write {unit[1]}{unit[2]}"
    if lexeme == "as" and fault.part.keyword == "list":
        return "`list` takes no alias"
    if lexeme in _HINTS:
        return _HINTS[lexeme]
    around = subject.source[max(0, fault.span.start - 2) : fault.span.end + 1].replace(" ", "")
    for wrong, hint in _OPERATORS.items():
        if wrong in around:
            return hint
    meant = nearest_word(lexeme, _SMALL_WORDS)
    return f"did you mean `{meant}`?" if meant and meant != lexeme else None


_HINTS = {
    "&": "write `and`",
    "!": "write !=, !in or !contains",
    ";": "NQL has no ;",
    "{": "NQL has no braces",
    "}": "NQL has no braces",
    "as": "an alias is written before its value, as `name = value`",
    "like": "write == with the wildcards * and ?",
    "not": "write !=, !in or !contains",
    "is": "write == null or != null",
    "order": "write `| sort`",
    "group": "write `by`",
    "@": "a text stands in quotes",
    **dict.fromkeys("“”„«»‘’", "write straight quotes"),
}
_OPERATORS = {"<>": "write !=", "!==": "write !=", "===": "write ==", "=>": "write >=", "=<": "write <="}
_SMALL_WORDS = ("during", "past", "from", "ago", "and", "contains", "desc", "asc")


def _expected(keyword: str, expected: frozenset[str], *, head: bool) -> str:
    """What could stand there, in words: the most useful, not all."""
    if expected & {"STRING", "NUMBER"} and "NAME" in expected:
        return "a field or a value"
    if "NAME" in expected:
        if head or keyword in ("with", "include"):
            return "a table"
        return "a field" if "ID" in expected else "a name"
    words = [
        word for terminal, word in _WORDS.items() if terminal in expected and keyword in _USEFUL.get(terminal, keyword)
    ]
    if not words:
        return "the end of the clause"
    *others, last = words[:4]
    return f"{', '.join(others)} or {last}" if others else last


_WORDS = {
    "_EQUALS": "= and a value",
    "OPERATOR": "a comparison such as == or in",
    "_PAST": "a time such as `during past 7d`",
    "DURATION": "a duration such as 7d",
    "DATE": "a date such as 2026-11-24",
    "NUMBER": "a number",
    "_AGO": "`ago`",
    "_TO": "`to`",
    "_AND": "`and`, `or`",
    "ORDER": "`asc`, `desc`",
    "BY": "`by`",
    "COMMA": "a comma",
    "RPAR": "a closing bracket",
    "RSQB": "a closing bracket",
}
# An expression in `compute` could be compared as well, but nobody means that.
_USEFUL = {"OPERATOR": "where", "_AND": "where"}
