"""From a fault of the grammar to a sentence: what was expected, what was found, and what was probably meant."""

import re

from qualtrics_exporter.nql.parse import CLAUSES, Fault, Parsed
from qualtrics_exporter.nql.scan import DEEPEST
from qualtrics_exporter.nql.source import INVISIBLE, Source, Span
from qualtrics_exporter.nql.vocabulary import meant_to_be, nearest_word


def follows_an_invisible_sign(source: Source, span: Span) -> bool:
    """Whether the grammar stumbled over a sign that people do not see: it has cut a word in two."""
    return INVISIBLE.match(source, max(0, span.start - 1)) is not None


def explained(parsed: Parsed, fault: Fault) -> str:
    """What is wrong there, what was expected, and what was probably meant."""
    if fault.part.nested:
        return "a | stands in brackets: a query inside a query is not known here"
    if fault.error is None:
        return f"more than {DEEPEST} brackets inside each other: too deep to be checked"
    head = fault.part is parsed.scan.parts[0]
    where = "before the first |" if head else f"in `{fault.part.keyword}`"
    expected = fault.expected
    wanted = _expected(fault.part.keyword, expected, head=head)
    if fault.at_end:
        return f"{wanted} is missing {where}" if head else f"{wanted} is missing at the end of `{fault.part.keyword}`"
    hint = _hint(parsed, fault, expected)
    return f"{wanted} is expected here, {where}, and {_found(parsed, fault)} was found" + (f"; {hint}" if hint else "")


def _found(parsed: Parsed, fault: Fault) -> str:
    """What stands there; the user's own text is not repeated."""
    if parsed.source[fault.span.start] in "\"'":
        return "a text in quotes"
    if _BEHIND_A_TEXT.search(parsed.source, fault.part.span.start, fault.span.start):
        return "something that sticks to a text in quotes"  # most likely the rest of it: 'O'Brien'
    number = _NUMBER_LIKE.match(parsed.source, fault.span.start)
    return parsed.source.shown(Span(*number.span()) if number else fault.span)


_BEHIND_A_TEXT = re.compile(r"[\"']\Z")
_NUMBER_LIKE = re.compile(r"\d[^\s,|()\[\]\"']*")
"""24.3.1 and 5GiB are one thing to people."""


def _lexeme(parsed: Parsed, span: Span) -> str:
    return parsed.source[span.start : span.end]


def _hint(parsed: Parsed, fault: Fault, expected: frozenset[str]) -> str | None:
    """What was probably meant."""
    lexeme = _lexeme(parsed, fault.span).casefold()
    before, after = parsed.source[: fault.span.start], parsed.source[fault.span.start :]
    if lexeme in CLAUSES:
        return f"write a | before `{lexeme}`"
    if "_EQUALS" in expected:
        return "an alias takes a single =" if lexeme == "==" else "write `name = value`"
    if re.match(r"\d+(\.\d+){2}", after):
        return "a version begins with v, or stands in quotes"
    if lexeme == "(" or (lexeme == "," and before.count("(") > before.count(")")):
        return "a list of values stands in [ ]"
    timely = "DURATION" in expected and "NAME" not in expected
    if timely and (unit := re.match(r"(\d+)\s*(d|h|min)", after)):
        return f"write {unit[1]}{unit[2]}"
    if timely and lexeme.isdigit():
        return "the units are min, h and d"
    if after.startswith("--") or (before.endswith("-") and after.startswith("-")):
        return "a comment is /* … */"
    if re.search(r"\\[\"']\s*\Z", before):
        return "a text that holds a quote stands in quotes of the other kind"
    if lexeme == "," and fault.part.keyword == "where":
        return "write `and` between conditions"
    if lexeme in ("as", "=") and fault.part.keyword == "list":
        return "`list` takes no alias"
    if lexeme in _HINTS:
        return _HINTS[lexeme]
    around = parsed.source[max(0, fault.span.start - 2) : fault.span.end + 1]
    for wrong, hint in _OPERATORS.items():
        if wrong in around:
            return hint
    return meant_to_be(lexeme, nearest_word(lexeme, _SMALL_WORDS))


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
    "%": "NQL has no %",
    "@": "a text stands in quotes",
    "distinct": "every person is mailed once anyway: leave it out",
    "by": "leave out `by`",
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
    "_AND": "`and`",
    "_OR": "`or`",
    "ORDER": "`asc` or `desc`",
    "_BY": "`by`",
    "COMMA": "a comma",
    "RPAR": "a closing bracket",
    "RSQB": "a closing bracket",
}
# An expression in `compute` could be compared as well, but nobody means that.
_USEFUL = {"OPERATOR": "where", "_AND": "where", "_OR": "where"}
