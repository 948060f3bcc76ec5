"""Rows in, unique checked addresses out.

A result can have a million rows, so an address is kept as its UTF-8 bytes and nothing else: the addresses stand one
after the other in blocks of text, and a table of 64-bit cells (open addressing) finds the ones that came before. A cell
is half hash and half place in the text; equal halves are followed by a look at the address itself, so that two people
are never taken for one, however unlucky the hashes. That is 40 to 75 bytes a recipient, measured at its peak in
tests/export/test_recipients.py; a set of strings takes about 150.

Addresses live in memory only, for as long as a run does. What leaves this module for status and logs are numbers.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from qualtrics_exporter.resource.status import Recipients as Counts

# The library takes about 26 µs an address: half a minute for a million, in which nothing else could happen. Nearly all
# addresses are of the plain form below, which is a part of what the library accepts (a property test says so), at a
# tenth of the time. Everything else is the library's to judge: other alphabets, punycode, rare signs.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PLAIN = re.compile(
    r"(?=.{6,254}\Z)"
    r"[a-z0-9_+'-]++(?:\.[a-z0-9_+'-]++)*+"
    rf"@(?:(?!..--){_LABEL}\.)+(?!(?:{'|'.join(SPECIAL_USE_DOMAIN_NAMES)})\Z)[a-z]{{2,24}}\Z"
)

_BLOCK_BITS = 18
_BLOCK = 1 << _BLOCK_BITS
_HALF = (1 << 32) - 1


class Recipients:
    """The people of one run, in the order in which the query named them, each once.

    Two spellings are one person when they differ in letter case only, in any alphabet, or in how a domain or an accent
    is encoded. The spelling that came first is the one that is mailed. `limit` stops counting at so many people.
    """

    def __init__(self, *, limit: int | None = None) -> None:
        self._limit = limit
        self._blocks: list[bytearray] = []
        self._cells = array("Q", [0]) * 64
        self.returned = self._empty = self._invalid = self._duplicate = self._accepted = 0

    def add(self, text: str) -> None:
        """Take one row; what is no address is counted, never raised and never kept."""
        self.returned += 1
        address = text.strip()
        if not address:
            self._empty += 1
            return
        key = _key(address)
        if key is None:
            self._invalid += 1
            return
        mixed = hash(key) & _HALF
        cell, cells = mixed, self._cells
        last = len(cells) - 1
        while found := cells[cell & last]:
            if found >> 32 == mixed and _key(self._at((found & _HALF) - 1)) == key:
                self._duplicate += 1
                return
            cell += 1
        cells[cell & last] = mixed << 32 | self._keep(address) + 1
        self._accepted += 1
        if self._accepted * 3 > len(cells) * 2:
            self._grow()

    def extend(self, rows: Iterable[str]) -> None:
        """Take rows until there are no more, or until the limit is reached."""
        for row in rows:
            if self.full:
                return
            self.add(row)

    def freeze(self) -> None:
        """No more rows come. Let go of the table that finds duplicates: without it, a million take 24 MB, not 41."""
        self._cells = array("Q")

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
            accepted=self._accepted,
        )

    def __len__(self) -> int:
        return self._accepted

    def __iter__(self) -> Iterator[str]:
        for block in self._blocks:
            yield from block.decode().split("\n")[:-1]

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
        return place

    def _at(self, place: int) -> str:
        block, start = self._blocks[place >> _BLOCK_BITS], place & (_BLOCK - 1)
        return block[start : block.index(b"\n", start)].decode()

    def _grow(self) -> None:
        cells = array("Q", [0]) * (len(self._cells) * 2)
        last = len(cells) - 1
        for found in self._cells:
            if found:
                cell = found >> 32
                while cells[cell & last]:
                    cell += 1
                cells[cell & last] = found
        self._cells = cells


def is_address(text: str) -> bool:
    """Whether this is one e-mail address, by the same rule as a run's."""
    return _key(text.strip()) is not None


def _key(address: str) -> str | None:
    """What two spellings of one address have in common; None for what is no address."""
    plain = address.lower()
    if address.isascii() and _PLAIN.match(plain):
        return plain
    if len(address) > 254:
        return None
    try:
        valid = validate_email(address, check_deliverability=False)
    except (EmailNotValidError, UnicodeError):
        return None
    # Caseless matching as Unicode defines it (3.13, D145), with the domain as people read it, not in punycode.
    whole = unicodedata.normalize("NFD", f"{valid.local_part}@{valid.domain}")
    return unicodedata.normalize("NFD", whole.casefold())
