"""The memory that the recipients of all runs may take together.

When the file of Nexthink is ready, a run reserves memory for the largest result that it can have. Once the recipients
are read, it keeps only what they take. Results of up to `SMALL_RESULT` have their own memory, so they never wait for
larger results: two of those can fill the rest for minutes, or for as long as an import hangs. Namespaces share the
memory for large results: if the runs of one namespace hang, another namespace can still run with a million people.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from qualtrics_exporter.fair_share import FairSemaphore, Tenant
from qualtrics_exporter.remote.waits import Waits

MEBIBYTE = 1 << 20
SMALL_RESULT = 10
"""The largest small result in MiB: about 100,000 people."""
MEMORY_FOR_SMALL_RESULTS = 64
MEMORY_FOR_LARGE_RESULTS = 160
"""MiB. A run with a million people reserves 79, and keeps 25 to 40."""


class RecipientMemory:
    """Memory that runs wait for and hold."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._small = FairSemaphore(MEMORY_FOR_SMALL_RESULTS)
        self._large = FairSemaphore(MEMORY_FOR_LARGE_RESULTS)

    @asynccontextmanager
    async def hold(self, tenant: Tenant, size: int) -> AsyncIterator[Callable[[int], None]]:
        """Wait for `size` bytes and hold them. Yields a function that returns all but the given number of bytes."""
        mebibytes = _mebibytes(size)
        if mebibytes <= SMALL_RESULT:
            turn = self._small.hold(tenant, mebibytes)
        else:
            turn = self._large.hold(Tenant(tenant.namespace, ""), mebibytes)
        async with AsyncExitStack() as held:
            with self._waits.waiting():
                shrink = await held.enter_async_context(turn)
            yield lambda smaller: shrink(_mebibytes(smaller))


def _mebibytes(size: int) -> int:
    return max(1, math.ceil(size / MEBIBYTE))
