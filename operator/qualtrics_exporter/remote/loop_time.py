"""Shares the time of the event loop between the tasks whose work grows with what a remote side sends.

A large reply is many small pieces of work, and all tasks share one thread. A task calls `LoopTime.pause` between two
pieces. Together, all tasks that do so take at most `SLICE` seconds, and a piece each, of one turn of the loop: so the
Lease, the probes and the requests of others are served between them, whatever the number of such tasks. Tenants take
turns, so a tenant with fifty large downloads delays the download of another by its share only.
"""

import asyncio
import time
from collections.abc import Callable

from qualtrics_exporter.fair_share import NOBODY, FairQueue, Tenant

SLICE = 0.01
"""Seconds of one turn of the loop."""


class LoopTime:
    """One for an event loop. `timer` gives seconds; it measures work, so it is not a `Clock`."""

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._began: float | None = None
        """When the work in this turn of the loop began."""
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue(1)

    @property
    def is_up(self) -> bool:
        """Whether `pause` would let others work now."""
        return bool(self._waiting) or not self._has_time()

    async def pause(self, tenant: Tenant = NOBODY) -> None:
        """Return at once if there is time left in this turn of the loop, else when it is this task's turn."""
        if not self.is_up:
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.push(tenant, granted)
        try:
            await granted
        except asyncio.CancelledError:
            self._waiting.discard(tenant, granted)
            raise
        finally:
            self._has_time()  # also if it was cancelled: the next one gets its turn from here

    def _has_time(self) -> bool:
        now = self._timer()
        if self._began is None:
            self._began = now
            asyncio.get_running_loop().call_soon(self._next_turn)
        return now - self._began < SLICE

    def _next_turn(self) -> None:
        """The loop has served everything else that was ready."""
        self._began = None
        while (grant := self._waiting.pop()) is not None:
            self._waiting.release(grant)
            if not grant.item.done():
                grant.item.set_result(None)
                return
