"""Rows that are read many at a time: the same as if the csv module read each of them."""

import csv
import re
from collections.abc import Callable, Iterable
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qualtrics_exporter.nexthink import table as module
from qualtrics_exporter.nexthink.export import _Begin
from qualtrics_exporter.nexthink.table import Row, Rows, Table
from qualtrics_exporter.remote.response import NotUnderstood, TooMuch

CELLS = st.text(st.sampled_from("aB1@.- é😀\0\u2028"), max_size=6)
LINES = st.one_of(
    st.sampled_from(["", "ana@example.com", "a b", "é", "\0", "\u2028", '""', '"x"', '"a,b"', '"é"', "x,y", "\r"]),
    st.sampled_from(['"a\nb"', '"a\r\nb"', '"a""b"', '"a"b', 'a"b', '"', 'x,"y"', '"x",y', ",", "x,", "x\ry"]),
    st.builds("{}{}".format, CELLS, st.sampled_from(["", ",x", '"', '""', ',"y"'])),
)
TEXTS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\n", "\r\n", "\r"])).map("".join), max_size=12).map("".join)

HEADER = "user.name\n"
"""It comes in a piece of its own. The format of a file is known after 8 bytes."""
Outcome = tuple[list[Row], Row | None, str]


def outcome(text: str, places: Iterable[int] = ()) -> Outcome:
    """The rows and the header of a file that comes in pieces, and how it ends."""
    data, table = (HEADER + text).encode(), Table()
    found: list[Row] = []
    edges = sorted({0, len(HEADER), len(data), *(place % (len(data) + 1) for place in places)})
    pieces = (table.feed(data[start:end]) for start, end in pairwise(edges))
    try:
        for rows in chain(chain.from_iterable(pieces), table.close()):
            found.extend(rows or ())
    except NotUnderstood as error:
        return found, table.header, f"{type(error).__name__}: {error}"
    return found, table.header, "read"


@given(TEXTS, st.lists(st.integers(0, 10**6), max_size=4))
@example('"a"\n"\n"\n', [])
@example('"a"\nx\n"b\nc"\n"d"\n', [7])
@example('"a"\n"b"x\n', [])
@example('a"\n"b\n', [])
@example('"a\n"b"\n"\n', [])
@example("a\r", [])
@example('a\rb\n"c"\n', [])
@example("a,b\n", [])
def test_lines_that_are_split_as_a_whole_give_the_same_rows_as_the_csv_module(text: str, places: list[int]) -> None:
    bulk = outcome(text, places)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_single_cells", lambda _: None)
        patch.setattr(module, "_WHOLE_LINES", re.compile(""))
        assert outcome(text, places) == bulk


@pytest.mark.parametrize("size", [9, 10, 14])
@given(text=TEXTS)
def test_rows_with_a_length_limit_are_the_same_as_with_the_csv_module(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LARGEST_RECORD", size)
        bulk = outcome(text)
        patch.setattr(module, "_single_cells", lambda _: None)
        assert outcome(text) == bulk


@pytest.fixture
def read_by_csv(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the csv module reads."""
    texts: list[str] = []
    read = csv.reader

    def reader(lines: Any, **options: Any) -> Any:
        texts.append(lines.getvalue())
        return read(lines, **options)

    monkeypatch.setattr(module.csv, "reader", reader)
    return texts


@pytest.mark.parametrize(
    "line", ["{}@example.com\n", "{}@example.com\r\n", '"{}@example.com"\n', '"Ana, {}"\r\n', "\n"]
)
def test_csv_module_reads_only_the_header_of_a_file_with_one_cell_in_each_line(
    line: str, read_by_csv: list[str]
) -> None:
    lines = [line.format(number) for number in range(20_000)]
    rows, _, end = outcome("".join(lines))
    assert (len(rows), end) == (20_000, "read")
    assert read_by_csv == [HEADER]


def test_csv_module_reads_only_the_piece_with_an_unusual_line(read_by_csv: list[str]) -> None:
    lines = ["ana@example.com\n"] * 20_000
    lines[10_000] = '"say ""hi"""\n'
    rows, _, end = outcome("".join(lines))
    assert (len(rows), end, rows[10_000]) == (20_000, "read", ('say "hi"',))
    assert len(read_by_csv) == 2


def test_rows_before_the_maximum_are_returned_before_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    rows, _, end = outcome("a\nb\nc\nd\ne\n", [14])
    assert (rows, end) == ([("a",), ("b",), ("c",)], "TooMuch: the file has more than 3 rows")
    assert outcome("a\nb\nc\n", [14])[2] == "read"


def test_rows_before_a_long_row_are_returned_before_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_RECORD", 5)
    table = Table()
    pieces = table.feed(b"h\na\nb\nlong row\nc\n")
    assert [row for rows in [next(pieces)] if rows for row in rows] == [("a",), ("b",)]
    with pytest.raises(TooMuch):
        list(pieces)


TABLES = st.lists(
    st.lists(st.text(st.sampled_from("ab\0\n,"), max_size=3), min_size=1, max_size=2).map(tuple), max_size=8
)


def grouped(rows: list[Row], places: Iterable[int]) -> list[Rows]:
    """The rows in groups of the same width that begin at these places, among others."""
    groups: list[Rows] = []
    for number, row in enumerate(rows):
        if groups and groups[-1].columns == len(row) and number not in places:
            groups[-1].cells.extend(row)
        else:
            groups.append(Rows(list(row), len(row)))
    return groups


def begin_of(rows: list[Row], places: Iterable[int]) -> _Begin:
    begin = _Begin()
    for part in grouped(rows, places):
        list(begin.add(part, _Begin()))
    return begin


def repeated(rows: list[Row], places: Iterable[int], broken: _Begin) -> tuple[list[Row], str]:
    """The rows of a second download, and how it ends."""
    begin, found = _Begin(), []
    try:
        for part in grouped(rows, places):
            for some in begin.add(part, broken):
                found += list(some)
        begin.check_end(broken)
    except NotUnderstood as error:
        return found, str(error)
    return found, "read"


@given(TABLES, st.integers(0, 8), st.sets(st.integers(0, 8)), st.sets(st.integers(0, 8)))
def test_second_download_with_the_same_rows_is_accepted_however_they_are_grouped(
    rows: list[Row], broken_at: int, places: set[int], others: set[int]
) -> None:
    broken = begin_of(rows[:broken_at], places)
    assert repeated(rows, others, broken) == (rows, "read")


@given(TABLES, TABLES, st.integers(0, 8), st.sets(st.integers(0, 8)), st.sets(st.integers(0, 8)))
@example([("a",), ("b\nc",)], [("a\nb",), ("c",)], 2, set(), set())
@example([("a\0", "b")], [("a", "\0b")], 1, set(), set())
@example([("\0n",)], [("\n",)], 1, set(), set())
@example([("a", "b")], [("a\0,b",)], 1, set(), set())
def test_second_download_with_other_rows_is_rejected_where_the_first_one_broke(
    rows: list[Row], others: list[Row], broken_at: int, places: set[int], more: set[int]
) -> None:
    begun = rows[:broken_at]
    broken = begin_of(begun, places)
    found, end = repeated(others, more, broken)
    if others[: len(begun)] == begun:
        assert (found, end) == (others, "read")
    elif len(others) < len(begun):
        assert (found, end) == (others, "it has fewer rows than the download before, which broke off")
    else:
        assert found == others[: len(begun) - 1]
        assert end == "its rows differ from those of the download before, which broke off"


@pytest.mark.parametrize("part", [lambda rows: rows.part(1, 2), lambda rows: rows.part(1).part(0, 1)])
def test_part_of_rows_has_the_same_width(part: Callable[[Rows], Rows]) -> None:
    rows = Rows(["a", "b", "c", "d", "e", "f"], 2)
    assert list(part(rows)) == [("c", "d")]
    assert (len(rows), len(part(rows)), len(rows.part(3))) == (3, 1, 0)
