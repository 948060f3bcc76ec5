"""Unique, valid addresses from the rows of a result, in little memory.

A result can have a million rows, so only the UTF-8 bytes of an address are kept. The addresses are stored in blocks of
text, one after the other, and a hash table of 64-bit cells (open addressing) finds duplicates. Half of a cell is a
hash, and half is the position in the text. If the hashes are equal, the addresses are compared, so a collision never
merges two people. A recipient with an address of 25 to 45 characters takes 40 to 75 bytes at the peak (measured in
tests/export/test_recipients.py); in a set of strings it takes about 150.

Addresses are in memory only, and only during a run. Status and logs get numbers.
"""

import math
from array import array
from collections.abc import Iterable, Iterator

from qualtrics_exporter.export.addresses import identity, trimmed
from qualtrics_exporter.resource.status import RecipientCounts

_BLOCK_BITS = 18
_BLOCK = 1 << _BLOCK_BITS
_HALF = (1 << 32) - 1
_WHOLE = (1 << 64) - 1
_TABLE_BITS = 6
_TABLES = 1 << _TABLE_BITS


MOST_OTHERS = 30_000
"""The default for `recognize`. It takes half a megabyte, for which no memory is reserved."""

COUNTED_BYTES = 26
"""The most memory for a person who is counted and not kept (tests/export/test_recipients.py)."""


class NoRoom(Exception):
    """The people take more memory than they may."""


class Recipients:
    """The people of one run, in the order of the query, each once.

    `addresses.identity` decides which two spellings are one person. The first spelling is mailed. `limit` stops
    counting at this number of people.

    `keep` is how many people are kept. Others are only counted, by a hash of 64 bits each: the result is too large for
    its exporter and mails nobody, and its user learns how large it is. Of the others, the first `recognize` are counted
    once each. After that, rows are counted. With `keep=0`, people are only counted.

    `room` is how many bytes the people that are kept may take. `add` raises `NoRoom` if they take more.
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
        """How many bytes the people take, with the hash table, which `freeze` frees."""
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
        """Add one row. A text that is not an address is only counted."""
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
        """Count a person who is not kept, unless they were counted before."""
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
        for row in rows:
            if self.full:
                return
            self.add(row)

    def sampling(self) -> "Recipients":
        """A copy of the counts without the people, for a sample that `choose` and `leave_out` fill."""
        part = Recipients()
        part.returned, part._empty = self.returned, self._empty
        part._invalid, part._duplicate, part._sampled_out = self._invalid, self._duplicate, 0
        part.freeze()
        return part

    def choose(self, address: str) -> None:
        self._keep(address)
        self._accepted += 1

    def leave_out(self) -> None:
        """Count a person who is not in the sample."""
        self._sampled_out = (self._sampled_out or 0) + 1

    def freeze(self) -> None:
        """Free the hash table, because no more rows come: a million people then take 24 MB instead of 41."""
        self._tables, self._others = [], []

    @property
    def size(self) -> int:
        """How many bytes the addresses take, with the spare memory of growing blocks."""
        return sum(len(block) * 9 // 8 for block in self._blocks)

    @property
    def full(self) -> bool:
        return self._limit is not None and self._accepted >= self._limit

    @property
    def counts(self) -> RecipientCounts:
        """How many rows became how many recipients."""
        return RecipientCounts(
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
        """Return everybody once, and free their memory on the way. The counts stay."""
        self._blocks.reverse()
        while self._blocks:
            yield from _addresses(self._blocks.pop())

    def __repr__(self) -> str:
        return f"<Recipients: {self._accepted} accepted of {self.returned}>"  # without addresses

    def _keep(self, address: str) -> int:
        line = address.encode() + b"\n"
        if not self._blocks or len(self._blocks[-1]) + len(line) > _BLOCK:
            self._blocks.append(bytearray())
        block = self._blocks[-1]
        place = (len(self._blocks) - 1) << _BLOCK_BITS | len(block)
        if place >= _HALF:
            raise OverflowError("more than 4 GiB of addresses")
        block += line
        self.taken += len(line) * 9 // 8  # a growing block has an eighth to spare
        return place

    def _at(self, place: int) -> str:
        block, start = self._blocks[place >> _BLOCK_BITS], place & (_BLOCK - 1)
        return block[start : block.index(b"\n", start)].decode()


def _addresses(block: bytearray) -> list[str]:
    return block.decode().split("\n")[:-1]


def _grown(cells: "array[int]", shift: int) -> "array[int]":
    """A table of twice the size with the same cells. The content of a cell without `shift` bits is its position."""
    grown = array("Q", [0]) * (len(cells) * 2)
    last = len(grown) - 1
    for found in cells:
        if found:
            cell = found >> shift
            while grown[cell & last]:
                cell += 1
            grown[cell & last] = found
    return grown
