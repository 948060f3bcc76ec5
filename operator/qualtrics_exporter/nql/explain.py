"""Messages about syntax errors: what was expected, what was found, and what was probably meant."""

import re

from qualtrics_exporter.nql.parse import CLAUSES, Fault, Parsed
from qualtrics_exporter.nql.scan import MAX_DEPTH
from qualtrics_exporter.nql.source import INVISIBLE, Source, Span
from qualtrics_exporter.nql.vocabulary import meant_to_be, nearest


def follows_invisible_character(source: Source, span: Span) -> bool:
    """Whether an invisible character caused the error, because it splits a word."""
    return INVISIBLE.match(source, max(0, span.start - 1)) is not None


def explained(parsed: Parsed, fault: Fault) -> str:
    if fault.part.nested:
        return "there is a | in brackets: queries inside queries are not supported"
    if fault.error is None:
        return f"more than {MAX_DEPTH} brackets are nested: the check does not support this"
    head = fault.part is parsed.scan.parts[0]
    where = "before the first |" if head else f"in `{fault.part.keyword}`"
    expected = fault.expected
    wanted = _expected(fault.part.keyword, expected, head=head)
    if fault.at_end:
        return f"{wanted} is missing {where}" if head else f"{wanted} is missing at the end of `{fault.part.keyword}`"
    hint = _hint(parsed, fault, expected)
    return f"{where}, expected {wanted}, but found {_found(parsed, fault)}" + (f"; {hint}" if hint else "")


def _found(parsed: Parsed, fault: Fault) -> str:
    """The text that was found, without the contents of quotes."""
    if parsed.source[fault.span.start] in "\"'":
        return "a text in quotes"
    if _BEHIND_A_TEXT.search(parsed.source, fault.part.span.start, fault.span.start):
        return "something directly after a text in quotes"  # most likely the rest of it: 'O'Brien'
    number = _NUMBER_LIKE.match(parsed.source, fault.span.start)
    return parsed.source.shown(Span(*number.span()) if number else fault.span)


_BEHIND_A_TEXT = re.compile(r"[\"']\Z")
_NUMBER_LIKE = re.compile(r"\d[^\s,|()\[\]\"']*")
"""People read 24.3.1 or 5GiB as one number."""


def _hint(parsed: Parsed, fault: Fault, expected: frozenset[str]) -> str | None:
    """A hint at what was probably meant."""
    lexeme = parsed.source[fault.span.start : fault.span.end].casefold()
    before, after = parsed.source[: fault.span.start], parsed.source[fault.span.start :]
    if lexeme in CLAUSES:
        return f"write a | before `{lexeme}`"
    if "_EQUALS" in expected:
        return "an alias needs a single =" if lexeme == "==" else "write `name = value`"
    if re.match(r"\d+(\.\d+){2}", after):
        return "begin a version with v, or put it in quotes"
    if lexeme == "(" or (lexeme == "," and before.count("(") > before.count(")")):
        return "write a list of values in [ ]"
    timely = "DURATION" in expected and "NAME" not in expected
    if timely and (unit := re.match(r"(\d+)\s*(d|h|min)", after)):
        return f"write {unit[1]}{unit[2]}"
    if timely and lexeme.isdigit():
        return "the units are min, h and d"
    if after.startswith("--") or (before.endswith("-") and after.startswith("-")):
        return "a comment is /* … */"
    if re.search(r"\\[\"']\s*\Z", before):
        return "put a text that contains a quote in quotes of the other kind"
    if lexeme == "," and fault.part.keyword == "where":
        return "write `and` between conditions"
    if lexeme in ("as", "=") and fault.part.keyword == "list":
        return "`list` does not support aliases"
    if lexeme in _HINTS:
        return _HINTS[lexeme]
    around = parsed.source[max(0, fault.span.start - 2) : fault.span.end + 1]
    for wrong, hint in _OPERATORS.items():
        if wrong in around:
            return hint
    return meant_to_be(lexeme, nearest(lexeme, _SMALL_WORDS, 0.65))


_HINTS = {
    "&": "write `and`",
    "!": "write !=, !in or !contains",
    ";": "NQL has no ;",
    "{": "NQL has no braces",
    "}": "NQL has no braces",
    "as": "write an alias before its value: `name = value`",
    "like": "write == with the wildcards * and ?",
    "not": "write !=, !in or !contains",
    "is": "write == null or != null",
    "order": "write `| sort`",
    "group": "write `by`",
    "%": "NQL has no %",
    "@": "put a text in quotes",
    "distinct": "every person is mailed only once anyway: remove it",
    "by": "remove `by`",
    **dict.fromkeys("“”„«»‘’", "write straight quotes"),
}
_OPERATORS = {"<>": "write !=", "!==": "write !=", "===": "write ==", "=>": "write >=", "=<": "write <="}
_SMALL_WORDS = ("during", "past", "from", "ago", "and", "contains", "desc", "asc")


def _expected(keyword: str, expected: frozenset[str], *, head: bool) -> str:
    """What the grammar accepts there: the most useful alternatives."""
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
# The grammar also accepts comparisons in `compute`, but they are never meant.
_USEFUL = {"OPERATOR": "where", "_AND": "where", "_OR": "where"}
