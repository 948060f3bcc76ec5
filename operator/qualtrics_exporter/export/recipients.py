"""Rows in, unique checked addresses out.

A result can have a million rows, so an address is kept as its UTF-8 bytes and nothing else: the addresses stand one
after the other in blocks of text, and a table of 64-bit cells (open addressing) finds the ones that came before. A cell
is half hash and half place in the text; equal halves are followed by a look at the address itself, so that two people
are never taken for one, however unlucky the hashes. That is 40 to 75 bytes a recipient with an address of 25 to 45
characters, measured at its peak in tests/export/test_recipients.py; a set of strings takes about 150.

Addresses live in memory only, for as long as a run does. What leaves this module for status and logs are numbers.
"""

import math
from array import array
from collections.abc import Iterable, Iterator

from qualtrics_exporter.export.addresses import identity, trimmed
from qualtrics_exporter.resource.status import RecipientCounts as Counts

_BLOCK_BITS = 18
_BLOCK = 1 << _BLOCK_BITS
_HALF = (1 << 32) - 1
_WHOLE = (1 << 64) - 1
_TABLE_BITS = 6
_TABLES = 1 << _TABLE_BITS


MOST_OTHERS = 30_000
"""People that are not kept, and are recognized all the same: half a megabyte, which nothing is reserved for."""

COUNTED_BYTES = 26
"""What a person takes at most who is counted and not kept (tests/export/test_recipients.py)."""


class NoRoom(Exception):
    """The people take more memory than there is for them."""


class Recipients:
    """The people of one run, in the order in which the query named them, each once.

    `addresses.identity` says which two spellings are one person. The spelling that came first is the one that is
    mailed. `limit` stops counting at so many people.

    `keep` is how many people are kept. More are counted, by a hash of 64 bits each, and are not kept: such a result is
    too large for its exporter and mails nobody, and its user is told how large it is. Of these, the first `recognize`
    are counted once each; after that, rows are. With `keep=0`, people are only counted.

    `room` is how many bytes those who are kept may take. `add` raises `NoRoom` when they take more.
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        keep: int | None = None,
        recognize: int | None = None,
        room: int | None = None,
    ) -> None:
        self._limit = limit
        self._room = math.inf if room is None else room
        self.taken = 0
        """How many bytes the people take, with what finds duplicates. `freeze` gives that back."""
        self._keep_most = keep
        self._recognize = MOST_OTHERS if recognize is None else recognize
        self._blocks: list[bytearray] = []
        self._tables = [array("Q", [0]) * 4 for _ in range(_TABLES)]
        self._used = [0] * _TABLES
        self._others: list[array[int]] = []
        self._others_used = [0] * _TABLES
        self.returned = self._empty = self._invalid = self._duplicate = self._accepted = 0
        self._sampled_out: int | None = None

    def add(self, text: str) -> None:
        """Take one row; what is no address is counted, never raised and never kept."""
        self.returned += 1
        address = trimmed(text)
        if not address:
            self._empty += 1
            return
        key = identity(address)
        if key is None:
            self._invalid += 1
            return
        whole = hash(key)
        mixed = whole & _HALF
        number = mixed & _TABLES - 1
        cells = self._tables[number]
        last, cell = len(cells) - 1, mixed >> _TABLE_BITS
        while found := cells[cell & last]:
            if found >> 32 == mixed and identity(self._at((found & _HALF) - 1)) == key:
                self._duplicate += 1
                return
            cell += 1
        if self._keep_most is not None and self._accepted >= self._keep_most:
            self._count(whole & _WHOLE)
            return
        cells[cell & last] = mixed << 32 | self._keep(address) + 1
        self._accepted += 1
        self._used[number] += 1
        if self._used[number] * 3 > len(cells) * 2:
            self._tables[number] = _grown(cells, 32 + _TABLE_BITS)
            self.taken += len(cells) * cells.itemsize
        if self.taken > self._room:
            raise NoRoom

    def _count(self, whole: int) -> None:
        """Count one who is not kept, unless they were counted before."""
        if self._accepted - (self._keep_most or 0) >= self._recognize:
            self._accepted += 1
            return
        self._others = self._others or [array("Q", [0]) * 4 for _ in range(_TABLES)]
        number = whole & _TABLES - 1
        cells, wanted = self._others[number], whole or 1
        last, cell = len(cells) - 1, whole >> _TABLE_BITS
        while found := cells[cell & last]:
            if found == wanted:
                self._duplicate += 1
                return
            cell += 1
        cells[cell & last] = wanted
        self._accepted += 1
        self._others_used[number] += 1
        if self._others_used[number] * 3 > len(cells) * 2:
            self._others[number] = _grown(cells, _TABLE_BITS)

    def extend(self, rows: Iterable[str]) -> None:
        """Take rows until there are no more, or until the limit is reached."""
        for row in rows:
            if self.full:
                return
            self.add(row)

    def sampling(self) -> "Recipients":
        """The same counts without the people, for those who are chosen from them by `choose` and `leave_out`."""
        part = Recipients()
        part.returned, part._empty = self.returned, self._empty
        part._invalid, part._duplicate, part._sampled_out = self._invalid, self._duplicate, 0
        part.freeze()
        return part

    def choose(self, address: str) -> None:
        """Take one of the people of whom this is a sample."""
        self._keep(address)
        self._accepted += 1

    def leave_out(self) -> None:
        """Count one of the people of whom this is a sample, and do not take them."""
        self._sampled_out = (self._sampled_out or 0) + 1

    def freeze(self) -> None:
        """No more rows come. Let go of what finds duplicates: without it, a million take 24 MB, not 41."""
        self._tables, self._others = [], []

    @property
    def size(self) -> int:
        """How many bytes the addresses take, with what a growing block takes beyond its content."""
        return sum(len(block) * 9 // 8 for block in self._blocks)

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self._limit is not None and self._accepted >= self._limit

    @property
    def counts(self) -> Counts:
        """How many rows became how many recipients."""
        return Counts(
            returned=self.returned,
            empty=self._empty,
            invalid=self._invalid,
            duplicate=self._duplicate,
            sampled_out=self._sampled_out,
            accepted=self._accepted,
        )

    def __len__(self) -> int:
        return self._accepted

    def __iter__(self) -> Iterator[str]:
        for block in self._blocks:
            yield from _addresses(block)

    def hand_over(self) -> Iterator[str]:
        """Everybody, once. Their memory is given back while they are taken; the counts stay."""
        self._blocks.reverse()
        while self._blocks:
            yield from _addresses(self._blocks.pop())

    def __repr__(self) -> str:
        return f"<Recipients: {self._accepted} accepted of {self.returned}>"  # and no address

    def _keep(self, address: str) -> int:
        line = address.encode() + b"\n"
        if not self._blocks or len(self._blocks[-1]) + len(line) > _BLOCK:
            self._blocks.append(bytearray())
        block = self._blocks[-1]
        place = (len(self._blocks) - 1) << _BLOCK_BITS | len(block)
        if place >= _HALF:
            raise OverflowError("more than 4 GiB of addresses")
        block += line
        self.taken += len(line) * 9 // 8  # a block that grows takes an eighth more than what is in it
        return place

    def _at(self, place: int) -> str:
        block, start = self._blocks[place >> _BLOCK_BITS], place & (_BLOCK - 1)
        return block[start : block.index(b"\n", start)].decode()


def _addresses(block: bytearray) -> list[str]:
    return block.decode().split("\n")[:-1]


def _grown(cells: "array[int]", shift: int) -> "array[int]":
    """A table of twice the size with the same cells; what a cell holds, without `shift` bits, is where it belongs."""
    grown = array("Q", [0]) * (len(cells) * 2)
    last = len(grown) - 1
    for found in cells:
        if found:
            cell = found >> shift
            while grown[cell & last]:
                cell += 1
            grown[cell & last] = found
    return grown
