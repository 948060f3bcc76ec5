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

LONGEST_ADDRESS = 254
LONGEST_LABEL = 63
"""Of a domain: RFC 5321 and RFC 1035 section 2.3.4."""

_DOT = re.compile("[.\u3002\uff0e\uff61]")

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


class Recipients:
    """The people of one run, in the order in which the query named them, each once.

    Two spellings are one person when they differ in letter case only, in any alphabet, or in how a domain or an accent
    is encoded. The spelling that came first is the one that is mailed. `limit` stops counting at so many people.

    `keep` is how many people are kept. More are counted, by a hash of 64 bits each, and are not kept: such a result is
    too large for its exporter and mails nobody, and its user is told how large it is. Of these, the first `recognize`
    are counted once each; after that, rows are. With `keep=0`, people are only counted.
    """

    def __init__(self, *, limit: int | None = None, keep: int | None = None, recognize: int | None = None) -> None:
        self._limit = limit
        self._keep_most = keep
        self._recognize = MOST_OTHERS if recognize is None else recognize
        self._blocks: list[bytearray] = []
        self._tables = [array("Q", [0]) * 4 for _ in range(_TABLES)]
        self._used = [0] * _TABLES
        self._others: list[array[int]] = []
        self._others_used = [0] * _TABLES
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
        whole = hash(key)
        mixed = whole & _HALF
        number = mixed & _TABLES - 1
        cells = self._tables[number]
        last, cell = len(cells) - 1, mixed >> _TABLE_BITS
        while found := cells[cell & last]:
            if found >> 32 == mixed and _key(self._at((found & _HALF) - 1)) == key:
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


def is_address(text: str) -> bool:
    """Whether this is one e-mail address, by the same rule as a run's."""
    return _key(text.strip()) is not None


def _key(address: str) -> str | None:
    """What two spellings of one address have in common; None for what is no address."""
    if len(address) > LONGEST_ADDRESS:
        return None
    plain = address.lower()
    if address.isascii() and _PLAIN.match(plain):
        return plain
    if any(len(label) > LONGEST_LABEL for label in _DOT.split(address.rpartition("@")[2])):
        return None  # before it is encoded, which takes milliseconds
    try:
        valid = validate_email(address, check_deliverability=False)
    except (EmailNotValidError, UnicodeError):
        return None
    # Caseless matching as Unicode defines it (3.13, D145), with the domain as people read it, not in punycode.
    whole = unicodedata.normalize("NFD", f"{valid.local_part}@{valid.domain}")
    return unicodedata.normalize("NFD", whole.casefold())
