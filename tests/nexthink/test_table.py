"""Reading the file of an export in pieces of any size."""

import bz2
import csv
import gzip
import io
import lzma
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qualtrics_exporter.nexthink.table import LARGEST_RECORD, Damaged, Table, WrongFormat
from qualtrics_exporter.remote.gunzip import PIECE, BadGzip, Gunzip
from qualtrics_exporter.remote.response import NotUnderstood, TooMuch


def read(pieces: Iterable[bytes]) -> tuple[tuple[str, ...] | None, list[tuple[str, ...]]]:
    table = Table()
    found = [row for piece in pieces for row in rows_in(table, piece)]
    found += [row for rows in table.close() if rows is not None for row in rows]
    return table.header, found


def rows_in(table: Table, data: bytes) -> Iterator[tuple[str, ...]]:
    """The rows, without the marks for pauses."""
    return (row for rows in table.feed(data) if rows is not None for row in rows)


def split(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    for start, end in pairwise(edges):
        yield data[start:end]


CELLS = st.text(alphabet=st.one_of(st.sampled_from('a,"\n\r@ é😀\0'), st.characters(codec="utf-8")), max_size=8)


@given(
    rows=st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1)),
    line_end=st.sampled_from(["\n", "\r\n"]),
    byte_order_mark=st.booleans(),
    layers=st.integers(0, 2),
    places=st.lists(st.integers(0, 10**6)),
)
@example(rows=[["h"], [""], ["x"]], line_end="\r\n", byte_order_mark=True, layers=1, places=list(range(200)))
@example(rows=[["h"], ['a"\r\n"b'], ["é"]], line_end="\n", byte_order_mark=True, layers=0, places=list(range(200)))
def test_rows_do_not_depend_on_how_the_file_is_split(
    rows: list[list[str]], line_end: str, byte_order_mark: bool, layers: int, places: list[int]
) -> None:
    if rows[0][0].lstrip().startswith("<"):
        return  # the file looks like an HTML page
    if not any(map(str.strip, rows[0])) or "@" in "".join(rows[0]):
        return  # the header has no names of fields
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
    data = (b"\xef\xbb\xbf" if byte_order_mark else b"") + text.getvalue().encode()
    for _ in range(layers):
        data = gzip.compress(data, mtime=0)
    header, read_rows = read(split(data, places))
    assert [list(header or ()), *map(list, read_rows)] == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("h\na\nb\n", [("a",), ("b",)]),
        ("h\na\nb", [("a",), ("b",)]),
        ("h\r\na\r\nb\r\n", [("a",), ("b",)]),
        ("h\na\n\nb\n", [("a",), ("",), ("b",)]),
        ('h\na\n""\nb\n', [("a",), ("",), ("b",)]),
        ('"h"\n"a"\n"b, c"\n', [("a",), ("b, c",)]),
        ('h\n"a\nb"\n', [("a\nb",)]),
        ('h\n"say ""hi"""\n', [('say "hi"',)]),
        ("h,i\na,b\n", [("a", "b")]),
        ("h\na,b\n", [("a", "b")]),
        ("h\n", []),
        ("h", []),
    ],
)
def test_valid_csv_file_is_read(text: str, rows: list[tuple[str, ...]]) -> None:
    for data in (text.encode(), b"\xef\xbb\xbf" + text.encode(), gzip.compress(text.encode())):
        header, found = read([data])
        assert found == rows
        assert header
        assert header[0] == "h"
        assert read(data[n : n + 1] for n in range(len(data))) == (header, rows)


@pytest.mark.parametrize(
    "page", ["<html>\n<body>\n", "\n".join(["<!DOCTYPE html>", "a", "b"]), '  <Error code="1">\nx']
)
def test_html_or_xml_page_is_rejected(page: str) -> None:
    with pytest.raises(NotUnderstood, match="a page"):
        read([page.encode()])


LATIN = "user.ad.email_address\r\njörg.müller@example.com\r\njürg.möller@example.com\r\n"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (LATIN.encode("latin-1"), "not text in UTF-8"),
        (LATIN.encode("cp1252"), "not text in UTF-8"),
        (LATIN.encode("mac-roman"), "not text in UTF-8"),
        (LATIN.encode("shift-jis", "replace").replace(b"?", b"\x83"), "not text in UTF-8"),
        (b"h\na@example.com\nb\xff@example.com\n", "not text in UTF-8"),
        (b"h\n" + b"a@example.com\n" * 10_000 + b"b\xff@example.com\n", "not text in UTF-8"),
        (b"h\nb\xed\xa0\x80@example.com\n", "not text in UTF-8"),  # a lone surrogate, as Java writes it
        (LATIN.encode("utf-16"), "UTF-16"),
        (b"\xfe\xff" + LATIN.encode("utf-16-be"), "UTF-16"),
        (LATIN.encode("utf-16-le"), "UTF-16"),
        (LATIN.encode("utf-16-be"), "UTF-16"),
        (LATIN.encode("utf-32-le"), "UTF-32"),
        (LATIN.encode("utf-32-be"), "UTF-32"),
        (LATIN.encode("utf-32"), "UTF-32"),
        (b"\x28\xb5\x2f\xfd\x04\x00\x31\x00\x00", "zstd"),
        (b"PK\x03\x04\x14\x00\x00\x00\x08\x00", "ZIP"),
        (bz2.compress(LATIN.encode()), "bzip2"),
        (lzma.compress(LATIN.encode()), "xz"),
        (zlib.compress(LATIN.encode()), "zlib"),
        (b"PAR1\x15\x04\x15\x10\x15", "Parquet"),
        (b"user.ad.email_address;user.name\r\na@example.com;Ana\r\n", "semicolons"),
        (b"sep=;\r\nuser.ad.email_address\r\na@example.com\r\n", "semicolons"),
        (b"user.ad.email_address;\r\na@example.com;\r\n", "semicolons"),
        (b'"email";"name"\r\n"a@example.com";"Ana"\r\n', "semicolons"),
        (b"email\tname\na@example.com\tAna\n", "tabs"),
        (b"email|name\na@example.com|Ana\n", "vertical bars"),
        (b'{"data": [{"user.ad.email_address": "a@example.com"}]}', "JSON"),
        (b'\xef\xbb\xbf\n  [{"user.ad.email_address": "a@example.com"}]\n', "JSON"),
        (b'{"data": ["' + b"x" * 100_000 + b'"]}', "JSON"),
        (b'<?xml version="1.0"?><Error><Code>ExpiredToken</Code></Error>', "a page"),
        (b"<html>" + b"x" * 100_000, "a page"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_file_that_is_not_csv_in_utf_8_is_rejected_with_its_format(data: bytes, found: str, compressed: bool) -> None:
    data = gzip.compress(data, mtime=0) if compressed else data
    with pytest.raises(NotUnderstood, match=found) as error:
        read([data])
    assert "example" not in str(error.value)
    with pytest.raises(NotUnderstood, match=found):
        read(data[n : n + 1] for n in range(len(data)))


def test_file_that_ends_within_a_character_is_rejected() -> None:
    with pytest.raises(Damaged, match="within a character"):
        read([b"h\na\nm\xc3"])


BROKEN_QUOTES = [
    '"john"@example.com',
    '"m"ike@example.com',
    '"a@example.co"m',
    '"a@example.com" ',
    ' "a@example.com"',
    'o"neil@example.com',
    'a@example.com"',
    'a@example.com""',
    '"a""@example.com""',
    '"a"b"@example.com"',
    '"a\\"b@example.com"',
    '""a@example.com""',
    'a,"b"c',
    'a,b"c"',
    "a@example.com\rb@example.com",
    "x\ra@example.com",
    '"x"\ra@example.com',
    '"x"\r"a@example.com"',
    "a@example.com\r\r",
]


@pytest.mark.parametrize("row", BROKEN_QUOTES)
@pytest.mark.parametrize("before", ["", 'x@example.com\n"y@example.com"\r\n', '"a, ""b"""\n'])
@pytest.mark.parametrize(
    "after", ["", "\n", "\nz@example.com\n", '\n"z@example.com"\n', "\n" + "z@example.com\n" * 9000]
)
def test_file_with_a_cell_that_csv_readers_would_change_is_rejected(row: str, before: str, after: str) -> None:
    data = ("h\n" + before + row + after).encode()
    with pytest.raises(WrongFormat, match=r"quote|carriage return") as error:
        read([data])
    assert "example" not in str(error.value)
    if len(data) < 1000:
        with pytest.raises(WrongFormat, match=r"quote|carriage return"):
            read(data[n : n + 1] for n in range(len(data)))


@given(st.lists(st.text(alphabet='a,"\n\r@', max_size=6), max_size=6), st.lists(st.integers(0, 10**6)))
def test_file_is_read_exactly_as_written_or_rejected(parts: list[str], places: list[int]) -> None:
    text = "h\n" + "".join(parts)
    try:
        header, rows = read(split(text.encode(), places))
    except NotUnderstood:
        return
    assert header == ("h",)
    # RFC 4180 has two ways to write a cell, and two line ends.
    written = [_written(row) for row in rows]
    rest = text[2:]
    for number, choices in enumerate(written):
        last = number == len(written) - 1
        found = next(
            choice + end
            for choice in choices
            for end in ("\r\n", "\n", *(("\r", "") if last else ()))
            if rest.startswith(choice + end) and (not last or rest == choice + end)
        )
        rest = rest[len(found) :]
    assert rest == ""


def _written(row: tuple[str, ...]) -> list[str]:
    """All ways to write a row."""
    ways = [""]
    for number, cell in enumerate(row):
        quoted = '"' + cell.replace('"', '""') + '"'
        plain = [] if set(cell) & set(',"\r\n') else [cell]
        ways = [way + ("," if number else "") + one for way in ways for one in (quoted, *plain)]
    return ways


@pytest.mark.parametrize("rows", [0, 9000])
def test_unclosed_quote_is_reported(rows: int) -> None:
    with pytest.raises(WrongFormat, match="quote"):
        read([('h\n"oneil@example.com\n' + "z@example.com\n" * rows).encode()])


def test_header_line_is_checked_before_the_first_row_is_returned() -> None:
    with pytest.raises(WrongFormat, match="no header line"):
        next(rows_in(Table(), b"a@example.com\nb@example.com\n"))


def test_cells_can_begin_like_other_file_formats() -> None:
    assert read([b"BZ\nBZh;x|y\n{a}\nPK\n"]) == (("BZ",), [("BZh;x|y",), ("{a}",), ("PK",)])


@pytest.mark.parametrize("data", [b"", gzip.compress(b"", mtime=0), b"\xef\xbb\xbf"])
def test_empty_file_is_not_an_empty_result(data: bytes) -> None:
    with pytest.raises(NotUnderstood, match="empty"):
        read([data])


def test_gzip_file_with_several_members_is_read_as_one_file() -> None:
    parts = gzip.compress(b"h\na\n", mtime=0) + gzip.compress(b"b\n") + b"\0" * 100
    assert read([parts])[1] == [("a",), ("b",)]
    assert read(parts[n : n + 1] for n in range(len(parts)))[1] == [("a",), ("b",)]


@given(st.integers(1, 60))
def test_truncated_gzip_file_is_rejected(missing: int) -> None:
    data = gzip.compress(b"h\n" + b"".join(b"%d@example.com\n" % n for n in range(100)))
    with pytest.raises(BadGzip):
        read([data[:-missing]])


def test_file_that_ends_within_quotes_is_rejected() -> None:
    with pytest.raises(Damaged, match="no end"):
        read([b'h\n"a\n'])


@pytest.mark.parametrize("damage", [20, 40, 60])
def test_damaged_gzip_file_is_rejected(damage: int) -> None:
    data = bytearray(gzip.compress(b"h\n" + b"".join(b"%d@example.com\n" % n for n in range(100))))
    data[damage] ^= 0xFF
    with pytest.raises(BadGzip):
        read([bytes(data)])


@pytest.mark.parametrize("start", ["h\n", 'h\n"', 'h\n"x"",'])
def test_endless_row_is_rejected_before_all_of_it_is_read(start: str) -> None:
    table, taken = Table(), 0

    def feed() -> None:
        nonlocal taken
        for piece in [start.encode(), *([b"x" * 1000] * 1000)]:
            taken += len(piece)
            list(rows_in(table, piece))

    with pytest.raises(NotUnderstood, match=r"more than|not closed"):
        feed()
    assert taken < 2 * LARGEST_RECORD


def test_row_that_is_too_long_is_rejected_in_a_single_piece() -> None:
    with pytest.raises(TooMuch, match="more than"):
        read([b"h\n" + b"x" * (LARGEST_RECORD + 1) + b"\n"])
    assert read([b"h\n" + b"x" * LARGEST_RECORD + b"\n"])[1] == [("x" * LARGEST_RECORD,)]


@pytest.mark.parametrize("filling", [b"x", b"\n", b'"'])
def test_gzip_bomb_takes_little_memory(filling: bytes) -> None:
    bomb = gzip.compress(gzip.compress(b"h\n" + filling * (64 * 1024 * 1024), 9), 9)
    table = Table()
    tracemalloc.start()
    try:
        for number, _ in enumerate(rows_in(table, bomb)):
            if number > 100_000:
                break
    except NotUnderstood:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


@given(st.binary(max_size=300), st.lists(st.integers(0, 10**6)))
def test_uncompressed_data_passes_unchanged(data: bytes, places: list[int]) -> None:
    if data.startswith(b"\x1f\x8b"):
        return
    gunzip = Gunzip()
    passed = b"".join(out for piece in split(data, places) for out in gunzip.feed(piece))
    assert passed + b"".join(gunzip.close()) == data


@given(st.integers(0, 5 * PIECE), st.integers(1, 9))
def test_decompressed_pieces_are_never_larger_than_the_limit(size: int, level: int) -> None:
    data = (b"abcdefgh" * (size // 8 + 1))[:size]
    gunzip = Gunzip()
    packer = zlib.compressobj(level, wbits=31)
    pieces = list(gunzip.feed(packer.compress(data) + packer.flush()))
    assert b"".join(pieces) == data
    assert all(len(piece) <= PIECE for piece in pieces)
    list(gunzip.close())


def decompressed(data: bytes, places: list[int]) -> bytes:
    gunzip = Gunzip()
    passed = b"".join(out for piece in split(data, places) for out in gunzip.feed(piece))
    return passed + b"".join(gunzip.close())


REST = st.binary(max_size=100).filter(lambda rest: not rest.lstrip(b"\0").startswith(b"\x1f"))


@given(st.binary(max_size=300), REST, st.lists(st.integers(0, 10**6)))
def test_trailing_bytes_after_a_gzip_stream_are_ignored(data: bytes, rest: bytes, places: list[int]) -> None:
    assert decompressed(gzip.compress(data) + rest, places) == data


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.integers(0, 3), REST, st.lists(st.integers(0, 999)))
def test_every_gzip_member_is_read_before_trailing_bytes_are_ignored(
    parts: list[bytes], padding: int, rest: bytes, places: list[int]
) -> None:
    packed = (b"\0" * padding).join(map(gzip.compress, parts))
    assert decompressed(packed + rest, places) == b"".join(parts)


@given(st.binary(max_size=60), st.integers(1, 20), st.lists(st.integers(0, 999)))
def test_truncated_second_gzip_member_is_rejected(data: bytes, left: int, places: list[int]) -> None:
    second = gzip.compress(b"b@example.com\n")
    with pytest.raises(BadGzip):
        decompressed(gzip.compress(data) + second[:left], places)


@pytest.mark.parametrize("at", [-8, -4, -1])
def test_gzip_member_with_a_wrong_checksum_or_length_is_rejected(at: int) -> None:
    packed = bytearray(gzip.compress(b"a@example.com\n"))
    packed[at] ^= 1
    with pytest.raises(BadGzip):
        decompressed(bytes(packed) + b"more", [])


@pytest.mark.parametrize("rest", [b"\n", b"# end of file", b"\0" * 512 + b"x", b"<!-- cached -->"])
def test_file_with_trailing_bytes_has_all_its_rows(rest: bytes) -> None:
    assert read([gzip.compress(b"h\na@example.com\n") + rest])[1] == [("a@example.com",)]


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("layers", [1, 2])
def test_damaged_second_gzip_member_is_not_ignored_as_trailing_bytes(at: int, layers: int) -> None:
    """Otherwise its people would be left out without an error."""
    second = bytearray(gzip.compress(b"b@example.com\n"))
    second[at] ^= 4
    data = gzip.compress(b"h\na@example.com\n") + bytes(second)
    for _ in range(1, layers):
        data = gzip.compress(data)
    for pieces in ([data], [data[n : n + 1] for n in range(len(data))]):
        with pytest.raises((Damaged, BadGzip)):
            read(pieces)


@pytest.mark.parametrize(
    "rest",
    [
        b"\x08\x01\xff",
        "# Ende der Datei, für alle\r\n\x1a".encode(),
        b"\0" * 9000 + b"\n" * 99,
        bytes((number * 37 + 11) % 256 for number in range(100)),
    ],
)
def test_trailing_bytes_without_a_gzip_member_are_ignored(rest: bytes) -> None:
    assert read([gzip.compress(b"h\na@example.com\n") + rest])[1] == [("a@example.com",)]
