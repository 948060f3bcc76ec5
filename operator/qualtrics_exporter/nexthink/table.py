"""The file of an export, a piece at a time: packed bytes in, rows out.

A million rows are never in memory: what is kept is one unfinished record, which is bounded.
"""

import codecs
import csv
import io
from collections.abc import Iterator

from qualtrics_exporter.http.gunzip import BadGzip, Gunzip
from qualtrics_exporter.http.reply import NotUnderstood

LARGEST_RECORD = 64 * 1024
LARGEST_FILE = 2 * 1024**3
"""Unpacked; a million rows of the longest addresses are a third of a gigabyte."""


class NoTable(NotUnderstood):
    """It is nothing like a table: perhaps something in between answered in the store's place."""


class Table:
    """A CSV file with a header line, maybe packed as gzip. Raises `NotUnderstood`, or `BadGzip`."""

    def __init__(self) -> None:
        self.header: tuple[str, ...] | None = None
        self._outer, self._inner = Gunzip(), Gunzip()  # a packed file, sent as a packed stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._size = 0
        self._pending = ""

    def feed(self, data: bytes) -> Iterator[tuple[str, ...]]:
        """Take in bytes as they come; must be read to its end before the next ones."""
        for outer in self._outer.feed(data):
            for piece in self._inner.feed(outer):
                yield from self._take(piece)

    def close(self) -> Iterator[tuple[str, ...]]:
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

    def _take(self, piece: bytes) -> Iterator[tuple[str, ...]]:
        self._size += len(piece)
        if self._size > LARGEST_FILE:
            raise NotUnderstood("the file is larger than anything that can be meant")
        text = self._pending + self._decode.decode(piece)
        end = _end_of_records(text)
        self._pending = text[end:]
        if len(self._pending) > LARGEST_RECORD:
            raise NotUnderstood("the file has a row that is larger than anything that can be meant")
        yield from self._rows(text[:end])

    def _rows(self, text: str) -> Iterator[tuple[str, ...]]:
        if not text:
            return
        try:
            for cells in csv.reader(io.StringIO(text, newline="")):
                row = tuple(cells) or ("",)  # an empty line is a person without an address
                if max(map(len, row)) > LARGEST_RECORD:
                    raise NotUnderstood("the file has a row that is larger than anything that can be meant")
                if self.header is None:
                    if row[0].lstrip().startswith("<"):
                        raise NoTable("the file is a page, not a table")
                    self.header = row
                else:
                    yield row
        except csv.Error:
            raise NotUnderstood("the file is not CSV") from None


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
