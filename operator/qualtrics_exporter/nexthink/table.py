"""The CSV file of an export, in pieces: packed bytes in, rows out.

A million rows are never in memory: only those of one piece are, and one unfinished record, whose size is limited.

The rows of a piece are returned together. In nearly all files, each line is one cell, with or without quotes. A piece
with such lines is split as a whole, which takes a fraction of the time of the csv module. That module reads all others.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from qualtrics_exporter.remote.gunzip import Gunzip, TooManyMembers
from qualtrics_exporter.remote.response import NotUnderstood, TooMuch

LARGEST_RECORD = 64 * 1024
LARGEST_FILE = 512 * 1024**2
"""Bytes, both packed and unpacked. A million rows of the longest addresses are 330 MB."""
MAX_ROWS = 1_000_000
"""The maximum of one export (docs/facts/nexthink.md section 1)."""

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows with the same number of cells."""

    cells: list[str]
    """The cells of all rows: those of the first row, then those of the second row, and so on."""
    columns: int = 1
    """The number of cells of each row."""

    def __len__(self) -> int:
        return len(self.cells) // self.columns

    def part(self, start: int, end: int | None = None) -> "Rows":
        """The rows from one number to another."""
        return Rows(self.cells[start * self.columns : None if end is None else end * self.columns], self.columns)

    def __iter__(self) -> Iterator[Row]:
        return zip(*[iter(self.cells)] * self.columns, strict=True)


NEXT_STEP = (
    "The operator sends no e-mails from such a file, because addresses in it may be changed or missing. Check whether "
    "a proxy or a filter changes files. Ask Nexthink's support why the export is not CSV in UTF-8 with a header line."
)


class NoTable(NotUnderstood):
    """The file is not a table: something in between may have answered instead of the store."""


class WrongFormat(NotUnderstood):
    """The file has another format, encoding or form than Nexthink documents."""


class Damaged(WrongFormat):
    """A part of the file may be missing. It may have been lost on the way, so a second download is useful."""


_FORMATS = (
    (b"\xff\xfe\x00\x00", "text in UTF-32"),
    (b"\x00\x00\xfe\xff", "text in UTF-32"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
    (b"\x28\xb5\x2f\xfd", "packed as zstd"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"BZh", "packed as bzip2"),
    (b"\xfd7zXZ", "packed as xz"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x04\x22\x4d\x18", "packed as LZ4"),
    (b"\x78\x01", "packed as zlib"),
    (b"\x78\x5e", "packed as zlib"),
    (b"\x78\x9c", "packed as zlib"),
    (b"\x78\xda", "packed as zlib"),
    (b"PAR1", "in the Parquet format"),
    (b"%PDF", "a PDF document"),
)
"""The first bytes of other formats. A header could begin with `PK` or `BZh`, but not with the bytes after them."""
_LONGEST_START = 8

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_QUOTED = re.compile('"[^"]*"')
_WHOLE_LINES = re.compile(r'(?:"[^"\r\n]*+"\r?\n|[^"\r\n]*+\r?\n)*+')
"""Lines that are complete records, with no quotes or with one pair around the whole line."""
_SINGLE_CELLS = re.compile(r'(?:"[^"\r\n]*+"\r?\n|[^",\r\n]*+\r?\n)*+')
"""Lines that have one cell each, whose quotes can be removed to get the cell."""


class Table:
    """A CSV file in UTF-8 with a header line, optionally packed as gzip. Raises `NotUnderstood` or `BadGzip`.

    A file in any other encoding is rejected and not repaired: an address that loses letters may become the address of
    another person. The same applies to quotes and line ends that RFC 4180 does not allow: CSV readers drop or split
    text there, and the rest may be the address of another person.

    The iterators return the rows of a piece, and None after other small amounts of work. The caller can let other tasks
    run after each.
    """

    def __init__(self) -> None:
        self.header: Row | None = None
        self._outer, self._inner = Gunzip(), Gunzip()  # a packed file, sent as a packed stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._start: bytes | None = b""  # until enough bytes have arrived to detect the format
        self._blank = True  # no text has arrived
        self._packed = self._size = self._count = 0
        self._pending = ""

    def feed(self, data: bytes) -> Iterator[Rows | None]:
        """Add bytes. Read the iterator to its end before the next call."""
        self._packed += len(data)
        if self._packed > LARGEST_FILE:
            raise TooMuch(f"the file has more than {LARGEST_FILE >> 20} MiB")
        try:
            for outer in self._outer.feed(data):
                for piece in self._inner.feed(outer):
                    yield from self._take(piece)
                yield None
        except TooManyMembers:
            raise TooMuch("the file consists of too many gzip members") from None

    def close(self) -> Iterator[Rows | None]:
        """The rows at the end of the file."""
        for outer in self._outer.close():
            for piece in self._inner.feed(outer):
                yield from self._take(piece)
        for piece in self._inner.close():
            yield from self._take(piece)
        if self._outer.maybe_lost or self._inner.maybe_lost:
            raise Damaged("the bytes after its last packed part may be another part that is damaged")
        if self._start:
            start, self._start = self._start, None
            yield from self._read(start)
        try:
            last = self._pending + self._decode.decode(b"", final=True)
        except UnicodeDecodeError:
            raise Damaged("the file is not text in UTF-8, or it ends within a character") from None
        self._pending = ""
        if self.header is None:
            _check_separator(last)
        if _whole_records(last)[1]:
            raise Damaged("a quoted cell of the file has no end")
        yield from self._rows(last)
        if self.header is None:
            raise NoTable("the file is empty")

    def _take(self, piece: bytes) -> Iterator[Rows | None]:
        """The rows that end in this piece."""
        self._size += len(piece)
        if self._size > LARGEST_FILE:
            raise TooMuch(f"the file has more than {LARGEST_FILE >> 20} MiB, unpacked")
        if self._start is not None:
            piece = self._start + piece
            if len(piece) < _LONGEST_START:
                self._start = piece
                return
            self._start = None
            _check_format(piece)
        yield from self._read(piece)

    def _read(self, piece: bytes) -> Iterator[Rows | None]:
        try:
            text = self._decode.decode(piece)
        except UnicodeDecodeError:
            raise WrongFormat("the file is not text in UTF-8, but possibly in ISO-8859-1 or Windows-1252") from None
        if self._blank and (start := text.lstrip()):
            self._blank = False
            if start[0] in "{[":
                raise NoTable("the file is JSON, not a table")
            if start[0] == "<":
                raise NoTable("the file is a page (HTML or XML), not a table")
        line_ends = "\n" in text
        text = self._pending + text
        end, open_quote = self._whole_records(text, line_ends)
        self._pending = text[end:]
        if len(self._pending) > LARGEST_RECORD:
            raise WrongFormat(_LONG_CELL) if open_quote else TooMuch(_LONG_ROW)
        yield from self._rows(text[:end])
        yield None

    def _whole_records(self, text: str, line_ends: bool) -> tuple[int, bool]:
        if self.header is None:
            if "\n" not in text:
                return (
                    0,
                    False,
                )  # check the separator first: its error explains a wrong format better than an error about quotes
            _check_separator(text)
        return _whole_records(text, line_ends)

    def _rows(self, text: str) -> Iterator[Rows]:
        if not text:
            return
        if self.header is not None and (cells := _single_cells(text)) is not None:
            yield from self._counted(Rows(cells))
            return
        rows: list[list[str]] = []
        problem: NotUnderstood | None = None
        try:
            for row in csv.reader(io.StringIO(text, newline=""), strict=True):
                cells = row or [""]  # an empty line is a row without an address
                if max(map(len, cells)) > LARGEST_RECORD:
                    raise TooMuch(_LONG_ROW)
                if self.header is None:
                    _check_header(cells)
                    self.header = tuple(cells)
                else:
                    rows.append(cells)
        except csv.Error:
            problem = NotUnderstood("the file is not CSV")
        except NotUnderstood as error:
            problem = error
        for columns, group in groupby(rows, key=len):
            yield from self._counted(Rows([cell for cells in group for cell in cells], columns))
        if problem:
            raise problem from None  # after the rows before it

    def _counted(self, rows: Rows) -> Iterator[Rows]:
        """Count the rows, and return those within the maximum."""
        if not rows:
            return
        left = MAX_ROWS - self._count
        self._count += len(rows)
        if len(rows) <= left:
            yield rows
            return
        if left > 0:
            yield rows.part(0, left)
        raise TooMuch(f"the file has more than {MAX_ROWS:,} rows")


_LONG_ROW = f"a row or the header line of the file has more than {LARGEST_RECORD:,} characters"
_LONG_CELL = f"a quote in the file is not closed within {LARGEST_RECORD:,} characters"


def _single_cells(text: str) -> list[str] | None:
    """The cells of complete records, if each line is a row of one cell; None if this is unknown."""
    if not text.endswith("\n") or len(text) > LARGEST_RECORD:
        return None
    if '"' in text:
        if not _SINGLE_CELLS.fullmatch(text):
            return None
        text = text.replace('"', "")
    elif "," in text:
        return None
    cells = text.replace("\r\n", "\n").split("\n")
    del cells[-1]  # after the last line
    return cells


def _check_header(header: list[str]) -> None:
    """Check that the first line has names of fields. An address there would be a person who gets no e-mail.

    This happens before the first row, because some readers do not read to the end of the file.
    """
    if header[0].lstrip().startswith("<"):
        raise NoTable("the file is a page (HTML or XML), not a table")
    if any("@" in name for name in header):
        raise WrongFormat("the file has no header line: its first line is a row")
    if not any(map(str.strip, header)):
        raise WrongFormat("the header line of the file is empty")


def _check_format(start: bytes) -> None:
    """Reject a file by the first bytes of another format."""
    for mark, what in _FORMATS:
        if start.startswith(mark):
            raise WrongFormat(f"the file is {what}, not CSV in UTF-8")
    # Every other byte of Latin text in UTF-16 is zero, and three of four bytes in UTF-32.
    for size, name in ((2, "UTF-16"), (4, "UTF-32")):
        columns = [start[at:_LONGEST_START:size] for at in range(size)]
        if any(
            all(column) and not any(map(any, columns[:at] + columns[at + 1 :])) for at, column in enumerate(columns)
        ):
            raise WrongFormat(f"the file is text in {name}, not CSV in UTF-8")


def _check_separator(text: str) -> None:
    """Reject a file with another separator than a comma. No name of a field has one of these characters."""
    header = _QUOTED.sub("", text.partition("\n")[0])
    for sign, name in _SEPARATORS.items():
        if sign in header:
            raise WrongFormat(f"the fields of the file are separated by {name}, not by commas")


def _whole_records(text: str, line_ends: bool = True) -> tuple[int, bool]:
    """The end of the last complete record, and whether the text ends within a quoted cell. It begins with a record.

    Without `line_ends`, no line has ended since the last call, so a long record is not searched again and again. Raises
    `WrongFormat` for text that RFC 4180 does not allow. CSV readers accept such text and change its cells.
    """
    end = at = 0
    if line_ends and '"' in text and (lines := _WHOLE_LINES.match(text)):
        end = at = lines.end()
    while (opening := text.find('"', at)) >= 0:
        _check_line_ends(text, at, opening)
        end = max(end, text.rfind("\n", at, opening) + 1)
        if opening and text[opening - 1] not in ",\n":
            raise WrongFormat("the file has a quote within a cell that is not quoted")
        closing = text.find('"', opening + 1)
        while closing >= 0 and text.startswith('"', closing + 1):
            closing = text.find('"', closing + 2)  # a doubled quote
        if closing < 0:
            return end, True
        at = closing + 1
        if text[at : at + 1] not in ("", ",", "\r", "\n"):
            raise WrongFormat("the file has text after the closing quote of a cell")
    _check_line_ends(text, at, len(text))
    return max(end, text.rfind("\n", at) + 1), False


def _check_line_ends(text: str, start: int, end: int) -> None:
    """Reject a carriage return without a line feed in a part of a text that is not quoted."""
    bare = text.count("\r", start, end) - text.count("\r\n", start, end)
    if bare > (end == len(text) and text.endswith("\r", start)):  # its line feed may follow in the next piece
        raise WrongFormat("the file has a carriage return that does not end a line")
