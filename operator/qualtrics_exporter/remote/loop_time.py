"""Shares of the event loop's time, for tasks that process the data of a service.

A large response is many small pieces of work, and all tasks share one thread. A task calls `LoopTime.pause` between two
pieces. All these tasks together take at most `SLICE` seconds of one iteration of the loop, plus one piece each. In
between, the loop serves the Lease, the probes and other requests. Tenants take turns, so a tenant with fifty large
downloads delays the download of another tenant only by its share.
"""

import asyncio
import time
from collections.abc import Callable

from qualtrics_exporter.fair_share import NOBODY, FairQueue, Tenant

SLICE = 0.01
"""Seconds of one iteration of the loop."""


class LoopTime:
    """One object for each event loop. `timer` returns seconds. It measures work, so it is not a `Clock`."""

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._began: float | None = None
        """When the work in this iteration of the loop began."""
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue(1)

    @property
    def is_up(self) -> bool:
        """Whether `pause` would let other tasks run now."""
        return bool(self._waiting) or not self._has_time()

    async def pause(self, tenant: Tenant = NOBODY) -> None:
        """Return immediately if time is left in this iteration of the loop, otherwise at this task's turn."""
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
            self._has_time()  # also after a cancellation: it starts the turn of the next task

    def _has_time(self) -> bool:
        now = self._timer()
        if self._began is None:
            self._began = now
            asyncio.get_running_loop().call_soon(self._next_iteration)
        return now - self._began < SLICE

    def _next_iteration(self) -> None:
        """The loop has served all other tasks that were ready."""
        self._began = None
        while (grant := self._waiting.pop()) is not None:
            self._waiting.release(grant)
            if not grant.item.done():
                grant.item.set_result(None)
                return
