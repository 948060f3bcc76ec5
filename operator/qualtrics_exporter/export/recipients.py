"""Unique, valid addresses from the rows of a result, in little memory.

A result can have a million rows, so only the UTF-8 bytes of an address are kept. The addresses are stored in blocks of
text, one after the other, and a hash table finds duplicates. Half of a cell of the table is a hash, and half is the
position in the text. If the hashes are equal, the addresses are compared, so a collision never merges two people. A
recipient with an address of 25 to 45 characters takes 45 to 70 bytes at the peak (measured in
tests/export/test_recipients.py); in a set of strings it takes about 150.

Rows are added many at a time. Plain addresses are recognized all at once, and only the others are looked at one by one.

Addresses are in memory only, and only during a run. Status and logs get numbers.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from qualtrics_exporter.export.addresses import identity, plain_identities, trimmed
from qualtrics_exporter.export.cell_table import PARTS, CellTable
from qualtrics_exporter.resource.status import RecipientCounts

_BLOCK_BITS = 18
_BLOCK = 1 << _BLOCK_BITS
_HALF = (1 << 32) - 1
_WHOLE = (1 << 64) - 1

_STEP = 2000
"""The number of rows that are added in one piece of work: it takes a few milliseconds."""
_SLOW_STEP = 50
"""The same if some of their addresses are not plain: those are checked again to find duplicates."""

_PART = 16 * 1024
"""Bytes. An address has about a thousand at most."""

MAX_OTHERS = 30_000
"""The default for `recognize`. It takes half a megabyte, for which no memory is reserved."""

COUNTED_BYTES = 20
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

    `room` is how many bytes the people that are kept may take. `add` and `add_all` raise `NoRoom` if they take more.
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
        self._keep_most = math.inf if keep is None else keep
        self._recognize = MAX_OTHERS if recognize is None else recognize
        self._blocks: list[bytearray] = []
        self._table: CellTable | None = CellTable()
        self._others: CellTable | None = None
        self.returned = self._empty = self._invalid = self._duplicate = self._accepted = 0
        self._sampled_out: int | None = None

    def add(self, text: str) -> None:
        """Add one row. A text that is not an address is only counted."""
        for _ in self._add([text]):
            pass

    def add_all(self, rows: Sequence[str]) -> Iterator[None]:
        """Add rows, until `full`, with the same result as `add` for each. They are added while the iterator is read.

        Each step of the iterator is a small amount of work. The caller can let other tasks run in between.
        """
        if self._limit is None:
            yield from self._add(rows)
            return
        for row in rows:
            if self.full:
                return
            self.add(row)
            yield

    def extend(self, rows: Iterable[str]) -> None:
        """Add rows, until `full`."""
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
        """Free the hash table, because no more rows come: a million people then take 24 MB instead of 43."""
        self._table = self._others = None

    @property
    def taken(self) -> int:
        """How many bytes the people take, with the spare memory of growing blocks, and with the hash table."""
        text = (len(self._blocks) - 1 << _BLOCK_BITS) + len(self._blocks[-1]) if self._blocks else 0
        return text * 9 // 8 + (self._table.added if self._table else 0)

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

    def _add(self, rows: Sequence[str]) -> Iterator[None]:
        """Add rows. The identities come first, because some take long. They depend on nothing else."""
        addresses, identities = list(rows), plain_identities(rows)
        step = _STEP
        for number, known in enumerate(identities):
            if known is None:
                step = _SLOW_STEP
                address = addresses[number] = trimmed(rows[number])
                identities[number] = identity(address) if address else ""
                yield
        self.returned += len(rows)
        self._empty += identities.count("")
        self._invalid += identities.count(None)
        for start in range(0, len(addresses), step):
            self._insert(identities[start : start + step], addresses[start : start + step])
            yield

    def _insert(self, identities: Sequence[str | None], addresses: Sequence[str]) -> None:
        """Keep the addresses that have an identity, or count them as duplicates or as others."""
        assert self._table, "no rows are added to frozen recipients"  # noqa: S101
        table, parts, used = self._table, self._table.parts, self._table.used
        for key, whole, address in zip(identities, map(hash, identities), addresses, strict=True):
            if not key:
                continue
            mixed = whole & _HALF
            number = mixed & PARTS - 1
            cells = parts[number]
            size = len(cells)
            place = mixed * size >> 32
            while found := cells[place]:
                if found >> 32 == mixed and identity(self._at((found & _HALF) - 1)) == key:
                    self._duplicate += 1
                    break
                place = place + 1 if place + 1 < size else 0
            else:
                if self._accepted >= self._keep_most:
                    self._count(whole & _WHOLE)
                    continue
                cells[place] = mixed << 32 | self._keep(address) + 1
                self._accepted += 1
                used[number] += 1
                if used[number] * 3 > size * 2:
                    table.grow(number)
        if self.taken > self._room:
            raise NoRoom

    def _count(self, whole: int) -> None:
        """Count a person who is not kept, unless they were counted before."""
        if self._accepted - self._keep_most >= self._recognize:
            self._accepted += 1
            return
        if self._others is None:
            self._others = CellTable()
        number, wanted = whole & PARTS - 1, whole or 1
        cells = self._others.parts[number]
        size = len(cells)
        cell = (whole >> 32) * size >> 32
        while found := cells[cell]:
            if found == wanted:
                self._duplicate += 1
                return
            cell = cell + 1 if cell + 1 < size else 0
        cells[cell] = wanted
        self._accepted += 1
        self._others.used[number] += 1
        if self._others.used[number] * 3 > size * 2:
            self._others.grow(number)

    def _keep(self, address: str) -> int:
        line = address.encode() + b"\n"
        blocks = self._blocks
        if not blocks or len(blocks[-1]) + len(line) > _BLOCK:
            blocks.append(bytearray())
        block = blocks[-1]
        place = (len(blocks) - 1) << _BLOCK_BITS | len(block)
        if place >= _HALF:
            raise OverflowError("more than 4 GiB of addresses")
        block += line
        return place

    def _at(self, place: int) -> str:
        block, start = self._blocks[place >> _BLOCK_BITS], place & (_BLOCK - 1)
        return block[start : block.index(b"\n", start)].decode()


def _addresses(block: bytearray) -> Iterator[str]:
    """The addresses of a block. They take much more memory as strings, so only some are in memory at a time."""
    start = 0
    while start < len(block):
        end = block.rindex(b"\n", start, start + _PART) + 1
        yield from block[start:end].decode().split("\n")[:-1]
        start = end
