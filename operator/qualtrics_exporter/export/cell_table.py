"""A hash table of 64-bit cells (open addressing), for many entries in little memory.

It has many parts, each of which grows separately, so no step takes long. At first, the parts have different sizes, so
they do not grow at the same time: a large table takes 16 to 19 bytes for an entry. If all parts had the same size, it
would take up to 24 bytes after they have grown.

The users of a table search its parts and count their cells, because a call for each entry takes longer than the search.
The upper half of a cell is a hash of 32 bits, and an empty cell is 0. The place where the search in a part begins is
proportional to this hash, `hash * size >> 32`, and the next places follow. The number of a part is the last bits of the
hash, because the place depends on the first ones.
"""

import mmap
from array import array

PARTS = 64
"""The number of parts: a power of two."""
_CELL = 8
"""Bytes."""
_LARGE = 64 * 1024
"""Bytes of a part that does not come from the heap."""


def _part(size: int) -> "memoryview[int] | array[int]":
    """A part with this number of empty cells.

    The system gets the memory of a large part back as soon as the part is freed. In the heap, these parts would leave
    holes, and the import that follows would take more memory.
    """
    if size * _CELL < _LARGE:
        return array("Q", [0]) * size
    memory = mmap.mmap(-1, size * _CELL, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return memoryview(memory).cast("Q")


class CellTable:
    """The parts of a table."""

    def __init__(self) -> None:
        self.parts = [_part(8 + number % 8) for number in range(PARTS)]
        self.used = [0] * PARTS
        """The number of used cells of each part. Call `grow` when two thirds are used."""
        self.added = 0
        """How many bytes the parts have grown."""

    def grow(self, number: int) -> None:
        """Double a part."""
        cells = self.parts[number]
        size = len(cells) * 2
        doubled = _part(size)
        for found in filter(None, cells):
            place = (found >> 32) * size >> 32
            while doubled[place]:
                place = place + 1 if place + 1 < size else 0
            doubled[place] = found
        self.parts[number] = doubled
        self.added += len(cells) * _CELL
