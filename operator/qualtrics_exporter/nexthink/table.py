"""The file of an export, a piece at a time: packed bytes in, rows out.

A million rows are never in memory: what is kept is one unfinished record, which is bounded.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator

from qualtrics_exporter.remote.gunzip import Gunzip, TooManyMembers
from qualtrics_exporter.remote.response import NotUnderstood, TooMuch

LARGEST_RECORD = 64 * 1024
LARGEST_FILE = 512 * 1024**2
"""Bytes, packed as well as unpacked; a million rows of the longest addresses are 330 MB."""
MOST_ROWS = 1_000_000
"""What one export returns at most (docs/facts/nexthink.md section 1)."""


Row = tuple[str, ...]


WHAT_TO_DO = (
    "Nobody can be e-mailed from such a file, because addresses in it may be changed or missing. Ask Nexthink's "
    "support why the export is not CSV in UTF-8 with a header line. Find out whether something on the way, "
    "such as a proxy, changes files."
)


class NoTable(NotUnderstood):
    """It is nothing like a table: perhaps something in between answered in the store's place."""


class WrongFormat(NotUnderstood):
    """It is a file of another format, encoding or form than the one that Nexthink documents."""


class Damaged(WrongFormat):
    """A part of the file is missing. It was perhaps lost on the way, so a second look is useful."""


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
"""How files begin that are not CSV. `PK` and `BZh` could begin a header, but not with what follows them in a file."""
_LONGEST_START = 8

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_QUOTED = re.compile('"[^"]*"')


class Table:
    """A CSV file in UTF-8 with a header line, maybe packed as gzip. Raises `NotUnderstood`, or `BadGzip`.

    A file in any other encoding is refused, and is not repaired: two people whose letters are lost can become one
    address, and it may be the address of somebody else. The same applies to quotes and line ends that RFC 4180 does not
    allow: a reader of CSV drops or splits there, and what is left may be the address of somebody else.

    Rows come one by one, and None after other small pieces of work: the caller can let others work after each.
    """

    def __init__(self) -> None:
        self.header: Row | None = None
        self._outer, self._inner = Gunzip(), Gunzip()  # a packed file, sent as a packed stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._start: bytes | None = b""  # until enough bytes have come to know the format
        self._blank = True  # no text has come
        self._packed = self._size = self._count = 0
        self._pending = ""

    def feed(self, data: bytes) -> Iterator[Row | None]:
        """Take in bytes as they come; must be read to its end before the next ones."""
        self._packed += len(data)
        if self._packed > LARGEST_FILE:
            raise TooMuch(f"the file has more than {LARGEST_FILE >> 20} MiB")
        try:
            for outer in self._outer.feed(data):
                for piece in self._inner.feed(outer):
                    yield from self._take(piece)
                yield None
        except TooManyMembers:
            raise TooMuch("the file consists of too many packed parts") from None

    def close(self) -> Iterator[Row | None]:
        """The file has ended: the rows that it ends with."""
        for outer in self._outer.close():
            for piece in self._inner.feed(outer):
                yield from self._take(piece)
        for piece in self._inner.close():
            yield from self._take(piece)
        if self._outer.maybe_lost or self._inner.maybe_lost:
            raise Damaged("bytes follow its last packed part that are perhaps a damaged part")
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

    def _take(self, piece: bytes) -> Iterator[Row | None]:
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

    def _read(self, piece: bytes) -> Iterator[Row | None]:
        try:
            text = self._decode.decode(piece)
        except UnicodeDecodeError:
            raise WrongFormat("the file is not text in UTF-8, but perhaps in ISO-8859-1 or Windows-1252") from None
        if self._blank and (start := text.lstrip()):
            self._blank = False
            if start[0] in "{[":
                raise NoTable("the file is JSON, not a table")
            if start[0] == "<":
                raise NoTable("the file is a page (HTML or XML), not a table")
        text = self._pending + text
        end, open_quote = self._whole_records(text)
        self._pending = text[end:]
        if len(self._pending) > LARGEST_RECORD:
            raise WrongFormat(_LONG_CELL) if open_quote else TooMuch(_LONG_ROW)
        yield from self._rows(text[:end])
        yield None

    def _whole_records(self, text: str) -> tuple[int, bool]:
        if self.header is None:
            if "\n" not in text:
                return 0, False  # the separator tells better than quotes do what is wrong with a file
            _check_separator(text)
        return _whole_records(text)

    def _rows(self, text: str) -> Iterator[Row]:
        if not text:
            return
        try:
            for cells in csv.reader(io.StringIO(text, newline=""), strict=True):
                row = tuple(cells) or ("",)  # an empty line is a person without an address
                if max(map(len, row)) > LARGEST_RECORD:
                    raise TooMuch(_LONG_ROW)
                if self.header is None:
                    if row[0].lstrip().startswith("<"):
                        raise NoTable("the file is a page (HTML or XML), not a table")
                    _check_header(row)
                    self.header = row
                else:
                    self._count += 1
                    if self._count > MOST_ROWS:
                        raise TooMuch(f"the file has more than {MOST_ROWS:,} rows")
                    yield row
        except csv.Error:
            raise NotUnderstood("the file is not CSV") from None


_LONG_ROW = f"the file has a row, or its header line, of more than {LARGEST_RECORD:,} characters"
_LONG_CELL = f"the file has a quote that is not closed within {LARGEST_RECORD:,} characters"


def _check_header(header: Row) -> None:
    """See that the first line names fields: an address there would be a person who is left out.

    Before a row is given out: a reader that takes only some rows never comes to the end of the file.
    """
    if any("@" in name for name in header):
        raise WrongFormat("it has no header line, its first line is a row")
    if not any(map(str.strip, header)):
        raise WrongFormat("its header line is empty")


def _check_format(start: bytes) -> None:
    """Refuse a file whose first bytes are not those of a CSV file in UTF-8."""
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
    """Refuse a file with another separator than a comma. No name of a field has one of these characters."""
    header = _QUOTED.sub("", text.partition("\n")[0])
    for sign, name in _SEPARATORS.items():
        if sign in header:
            raise WrongFormat(f"the fields of the file are separated by {name}, not by commas")


def _whole_records(text: str) -> tuple[int, bool]:
    """Where the last whole record ends, and whether the text ends within a quoted cell. It begins with a record.

    Raises `WrongFormat` for what RFC 4180 does not allow. Readers of CSV accept it, and change such cells.
    """
    end = at = 0
    while (opening := text.find('"', at)) >= 0:
        _check_line_ends(text, at, opening)
        end = max(end, text.rfind("\n", at, opening) + 1)
        if opening and text[opening - 1] not in ",\n":
            raise WrongFormat("the file has a quote within a cell that is not quoted")
        closing = text.find('"', opening + 1)
        while closing >= 0 and text.startswith('"', closing + 1):
            closing = text.find('"', closing + 2)  # it is doubled
        if closing < 0:
            return end, True
        at = closing + 1
        if text[at : at + 1] not in ("", ",", "\r", "\n"):
            raise WrongFormat("the file has text after the closing quote of a cell")
    _check_line_ends(text, at, len(text))
    return max(end, text.rfind("\n", at) + 1), False


def _check_line_ends(text: str, start: int, end: int) -> None:
    """Refuse a carriage return without a line feed, in a part of a text that is not quoted."""
    alone = text.count("\r", start, end) - text.count("\r\n", start, end)
    if alone > (end == len(text) and text.endswith("\r", start)):  # its line feed may still come
        raise WrongFormat("the file has a carriage return that does not end a line")
