"""The file of an export, a piece at a time: packed bytes in, rows out.

A million rows are never in memory: what is kept is one unfinished record, which is bounded.
"""

import codecs
import csv
import io
from collections.abc import Iterator

from qualtrics_exporter.http.gunzip import BadGzip, Gunzip, TooManyMembers
from qualtrics_exporter.http.reply import NotUnderstood, TooMuch

LARGEST_RECORD = 64 * 1024
LARGEST_FILE = 512 * 1024**2
"""Bytes, packed as well as unpacked; a million rows of the longest addresses are 330 MB."""
MOST_ROWS = 1_000_000
"""What one export returns at most (docs/facts/nexthink.md section 1)."""


Row = tuple[str, ...]


class NoTable(NotUnderstood):
    """It is nothing like a table: perhaps something in between answered in the store's place."""


class Table:
    """A CSV file with a header line, maybe packed as gzip. Raises `NotUnderstood`, or `BadGzip`.

    Rows come one by one, and None after other small pieces of work: the caller can let others work after each.
    """

    def __init__(self) -> None:
        self.header: Row | None = None
        self._outer, self._inner = Gunzip(), Gunzip()  # a packed file, sent as a packed stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace")
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
        last = self._pending + self._decode.decode(b"", final=True)
        self._pending = ""
        if last.count('"') % 2:
            raise BadGzip  # within quotes: it was cut
        yield from self._rows(last)
        if self.header is None:
            raise NoTable("the file is empty")

    def _take(self, piece: bytes) -> Iterator[Row | None]:
        """The rows that end in this piece."""
        self._size += len(piece)
        if self._size > LARGEST_FILE:
            raise TooMuch(f"the file has more than {LARGEST_FILE >> 20} MiB, unpacked")
        text = self._pending + self._decode.decode(piece)
        end = _end_of_records(text)
        self._pending = text[end:]
        if len(self._pending) > LARGEST_RECORD:
            raise TooMuch(_LONG_ROW)
        yield from self._rows(text[:end])
        yield None

    def _rows(self, text: str) -> Iterator[Row]:
        if not text:
            return
        try:
            for cells in csv.reader(io.StringIO(text, newline="")):
                row = tuple(cells) or ("",)  # an empty line is a person without an address
                if max(map(len, row)) > LARGEST_RECORD:
                    raise TooMuch(_LONG_ROW)
                if self.header is None:
                    if row[0].lstrip().startswith("<"):
                        raise NoTable("the file is a page, not a table")
                    self.header = row
                else:
                    self._count += 1
                    if self._count > MOST_ROWS:
                        raise TooMuch(f"the file has more than {MOST_ROWS:,} rows")
                    yield row
        except csv.Error:
            raise NotUnderstood("the file is not CSV") from None


_LONG_ROW = f"the file has a row, or its header line, of more than {LARGEST_RECORD:,} characters"


def _end_of_records(text: str) -> int:
    """Where the last whole record ends: after a line end that is in no quotes.

    Quotes within quotes are doubled, so an odd number of them before a line end means that it belongs to a cell.
    """
    if '"' not in text:
        return text.rfind("\n") + 1
    end = at = quotes = 0
    while (line_end := text.find("\n", at)) >= 0:
        quotes += text.count('"', at, line_end)
        at = line_end + 1
        if quotes % 2 == 0:
            end = at
    return end
