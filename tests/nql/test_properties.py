"""Properties of all queries: a printed tree is parsed as the same tree, and the check handles any text."""

from datetime import timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.check import MAX_FINDINGS, check
from qualtrics_exporter.nql.compare import difference
from qualtrics_exporter.nql.parse import parse
from qualtrics_exporter.resource.spec import LONGEST_QUERY
from tests.nql.corpus_files import entries
from tests.nql.printer import printed
from tests.support.work import work

CORPUS = [entry.query for entry in entries()]

names = st.sampled_from(
    ["name", "ad", "email_address", "time", "count", "list", "by", "past", "x1", "sha-256_hash_hex"]
)
members = st.one_of(
    st.builds(syntax.Name, names),
    st.builds(syntax.Name, st.sampled_from(["#asked", "#a-b"])),
)
literals = st.one_of(
    st.builds(
        syntax.Literal, st.just("text"), st.text(st.characters(exclude_characters='"', codec="utf-8"), max_size=8)
    ),
    st.builds(syntax.Literal, st.just("text"), st.text(st.sampled_from('"|/*() $x'), max_size=8)),
    st.builds(
        lambda pair: syntax.Literal(*pair),
        st.sampled_from(
            [
                *(("number", "1"), ("number", "2.5"), ("duration", "15min"), ("duration", "3ms"), ("size", "12GB")),
                *(("address", "10.0.0.0/8"), ("address", "fe80::1"), ("version", "v1.2.3"), ("boolean", "TRUE")),
                *(("null", "null"), ("date", "2026-11-24"), ("date", "2026-11-24 10:00"), ("date", "Jun 1, 2026")),
            ]
        ),
    ),
)
leaves: st.SearchStrategy[Any] = st.one_of(
    literals,
    st.builds(syntax.Parameter, st.sampled_from(["days", "Name_1"])),
    st.builds(syntax.Path, st.lists(members, min_size=1, max_size=3).map(tuple)),
)


def _chain(inner: st.SearchStrategy[Any], signs: str) -> st.SearchStrategy[Any]:
    rest = st.lists(st.tuples(st.sampled_from(signs), inner), min_size=1, max_size=3).map(tuple)
    return st.builds(syntax.Arithmetic, inner, rest)


def _flat(conditions: tuple[Any, ...], kind: Any) -> tuple[Any, ...]:
    """Nested chains of the same kind as one chain, as the parser reads them."""
    inner = (condition.conditions if isinstance(condition, kind) else (condition,) for condition in conditions)
    return tuple(chain.from_iterable(inner))


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    call = st.builds(syntax.Call, names, st.lists(inner, max_size=2).map(tuple))
    return st.one_of(
        several.map(lambda conditions: syntax.AnyOf(_flat(conditions, syntax.AnyOf))),
        several.map(lambda conditions: syntax.AllOf(_flat(conditions, syntax.AllOf))),
        st.builds(syntax.Comparison, inner, st.sampled_from(["==", "=", "!=", "<=", "in", "!in", "contains"]), inner),
        _chain(inner, "+-"),
        _chain(inner, "*/"),
        _chain(inner, "^"),
        st.builds(syntax.Signed, st.sampled_from("+-"), inner),
        st.builds(syntax.Values, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(syntax.Path, st.tuples(members, call)),
    )


expressions = st.recursive(leaves, _larger, max_leaves=12)
durations = st.builds(syntax.Duration, st.integers(0, 99).map(Decimal), st.sampled_from(["min", "h", "d", "s", "ms"]))
dates = st.builds(syntax.Date, st.sampled_from(["2026-11-24", "2026-11-24 10:00:00", "Jun 1", "Nov 08, 2024, 15:15"]))
moments = st.one_of(dates, st.builds(syntax.Ago, durations))
every = st.none() | durations
times = st.one_of(
    st.none(),
    st.builds(syntax.Past, durations, every),
    st.builds(syntax.Between, moments, moments, every),
    st.builds(syntax.On, dates, every),
)
tables = st.builds(syntax.Table, st.lists(names | st.just("#asked"), min_size=1, max_size=3).map(tuple))
paths = st.builds(syntax.Path, st.lists(members, min_size=1, max_size=3).map(tuple))
assignments = st.lists(
    st.builds(syntax.Assignment, st.sampled_from(["n", "web.views", "devices"]), expressions), min_size=1, max_size=3
).map(tuple)
clauses = st.one_of(
    st.builds(syntax.With, tables, times),
    st.builds(syntax.Include, tables, times),
    st.builds(syntax.Where, expressions),
    st.builds(syntax.Compute, assignments),
    st.builds(syntax.Summarize, assignments, st.lists(paths | durations, max_size=3).map(tuple)),
    st.builds(syntax.List, st.lists(paths, min_size=1, max_size=3).map(tuple)),
    st.builds(syntax.Sort, paths, st.sampled_from([None, "asc", "desc"])),
    st.builds(syntax.Limit, st.integers(0, 10**6).map(Decimal)),
)
queries = st.builds(syntax.Query, st.builds(syntax.Head, tables, times), st.lists(clauses, max_size=4).map(tuple))


@given(queries)
def test_printed_query_parses_to_the_same_tree(query: syntax.Query) -> None:
    text = printed(query)
    parsed = parse(text)
    assert not parsed.scan.broken, text
    assert not parsed.faults, text
    assert parsed.query == query, text


@given(queries)
def test_span_of_each_clause_covers_its_text(query: syntax.Query) -> None:
    parsed = parse(printed(query))
    for part in (parsed.query.head, *parsed.query.clauses):
        assert printed(part) == printed(parse(f"users | {parsed.source[slice(*part.span)]}").query.clauses[0]) or (
            part is parsed.query.head and printed(part) == parsed.source[slice(*part.span)]
        )


@given(queries, queries)
def test_queries_differ_exactly_if_their_trees_differ(one: syntax.Query, other: syntax.Query) -> None:
    same = printed(one).casefold() == printed(other).casefold()
    assert difference(printed(one), printed(one), {}) is None
    if not same:
        assert difference(printed(one), printed(other), {})


PIECES = [
    *("|", "||", "(", ")", "[", "]", '"', "'", "/*", "*/", "//", "$", "$x", "=", "==", ",", ".", "#"),
    *("list ", "where ", "by ", "past 7d", "in ", "and ", "\x00", "\u202e", "\n", " ", "é", "1", "users"),
    *("ſ", "ı", "\u212a", "٣", "7mın", "9" * 40, "9" * 40 + "d", "from 0d ago to ", "\\", "\\'", "@"),
]


@st.composite
def edited_queries(draw: st.DrawFn) -> str:
    """A query of the corpus with random edits."""
    text = draw(st.sampled_from(CORPUS))
    for _ in range(draw(st.integers(1, 6))):
        at, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        match draw(st.sampled_from(["delete", "insert", "repeat", "swap"])):
            case "delete":
                text = text[:at] + text[min(end, at + 8) :]
            case "insert":
                text = text[:at] + draw(st.sampled_from(PIECES)) + text[at:]
            case "repeat":
                text = text[:end] + text[at:end] + text[end:]
            case "swap":
                text = text[:at] + draw(st.sampled_from(CORPUS)) + text[end:]
    return text


@given(edited_queries() | st.text(max_size=200), st.dictionaries(st.sampled_from(["x", "days"]), st.text(max_size=4)))
def test_check_handles_any_text_with_limited_work(text: str, parameters: dict[str, str]) -> None:
    found, calls = work(check, text, parameters, timedelta(days=7))
    assert calls < 50_000 + 1_000 * len(text)
    assert len(found) <= MAX_FINDINGS
    for finding in found:
        assert 0 <= finding.span.start <= finding.span.end <= max(len(text), LONGEST_QUERY)
        assert finding.message.isprintable()


HOSTILE = {
    "pipes": "|",
    "opening brackets": "(",
    "nested brackets": "([",
    "closing brackets": ")",
    "quotes": '"',
    "open comments": "/*",
    "slashes": "//",
    "clauses without a name": "a|",
    "unknown clauses": "abcde|",
    "lists": "list a|",
    "empty lists": "list |",
    "broken conditions": "where x y|",
    "conditions": "a == 1 and ",
    "sums": "1+",
    "minuses": "-",
    "commas": ",",
    "dots": "a.",
    "functions": "f(",
    "parameters": "$a ",
    "parameters in quotes": "'$a'",
    "invisible characters": "\u202ea",
    "NUL": "\0",
    "spaces": " ",
    "digits": "1",
    "letters": "a",
    "minutes": "1 min ",
    "months": "jan 1, ",
    "colons": "a:",
    "not": "not ",
    "escapes": "\\' ",
}


# Conditions use most of the grammar, so every text is tried there, and in one of the other places. Long tests try all.
PLACES = ["", "users | list ", "users | compute x = "]
QUICK = {(PLACES[number % 3], name) for number, name in enumerate(HOSTILE)}
PLACED = [
    *(("users | where ", name) for name in HOSTILE),
    *(
        pytest.param(place, name, marks=[] if (place, name) in QUICK else [pytest.mark.long])
        for place in PLACES
        for name in HOSTILE
    ),
]


@pytest.mark.parametrize(("before", "name"), PLACED)
def test_work_on_a_hostile_text_grows_linearly_with_its_length(before: str, name: str) -> None:
    text = (before + HOSTILE[name] * LONGEST_QUERY)[:LONGEST_QUERY]
    parameters = {f"n{number}": "" for number in range(20)}
    assert check(text, parameters, timedelta(days=1))
    assert difference(text, text, {"a": "b"}) is None
    # Counting is slow. Quadratic work makes a million calls for these 1,000 characters.
    part = text[: LONGEST_QUERY // 16]
    assert work(check, part, parameters, timedelta(days=1))[1] < 300 * len(part)
    # The two texts differ, because equal texts are parsed only once.
    assert work(difference, part, f"{part} ", {"a": "b"})[1] < 600 * len(part)


@pytest.mark.parametrize("text", ["|" * 1_000_000, "(" * 1_000_000, "users | list " + "a" * 1_000_000])
def test_text_of_a_megabyte_is_rejected_without_reading_it(text: str) -> None:
    (finding,), calls = work(check, text)
    assert calls < 100
    assert finding.rule == "too-long"
    different, calls = work(difference, "users", text, {})
    assert different
    assert calls < 100
