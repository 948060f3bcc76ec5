"""The memory that the people of large results may take, of all runs together.

A run reserves it for the largest result that it can have, when Nexthink's file is there, and keeps only what the people
take once they are read. Results of up to `SMALL_RESULT` have memory of their own: they never wait for larger ones, two
of which can fill the rest for minutes, or for an import that hangs. The larger ones are shared between namespaces, so
that a namespace whose runs hang leaves room for a run of a million people of another one.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from qualtrics_exporter.fair_share import FairSemaphore, Tenant

MEBIBYTE = 1 << 20
SMALL_RESULT = 10
"""MiB that a result takes at most that counts as a small one: about 100,000 people."""
MEMORY_FOR_SMALL_RESULTS = 64
MEMORY_FOR_LARGE_RESULTS = 160
"""MiB. A run of a million people reserves 78 of them, and keeps about 25."""


class RecipientMemory:
    """Memory that runs wait for, and hold."""

    def __init__(self) -> None:
        self._small = FairSemaphore(MEMORY_FOR_SMALL_RESULTS)
        self._large = FairSemaphore(MEMORY_FOR_LARGE_RESULTS)

    @asynccontextmanager
    async def hold(self, tenant: Tenant, size: int) -> AsyncIterator[Callable[[int], None]]:
        """Hold `size` bytes; wait for them first. Yields what gives all but so many bytes back."""
        mebibytes = _mebibytes(size)
        if mebibytes <= SMALL_RESULT:
            turn = self._small.hold(tenant, mebibytes)
        else:
            turn = self._large.hold(Tenant(tenant.namespace, ""), mebibytes)
        async with turn as shrink:
            yield lambda smaller: shrink(_mebibytes(smaller))


def _mebibytes(size: int) -> int:
    return max(1, math.ceil(size / MEBIBYTE))
