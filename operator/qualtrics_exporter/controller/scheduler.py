"""One heap of exporters, ordered by when each needs attention next.

The watch feeds it, one task empties it. An exporter is worked on by at most one task at a time in this process, so
that its run, its checks and its bookkeeping never interleave; what happens meanwhile makes it due again afterwards.
Nothing about time is kept here that does not follow from the objects: after a restart the first listing fills the
heap again. An entry is a small object on purpose, there are ten thousand of them (a parsed spec each would cost more
than half of the whole watch: docs/facts/kubernetes.md section 1).
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.cluster import ClusterError, Forbidden, Gone
from qualtrics_exporter.controller.status import Key

log = logging.getLogger(__name__)

# Longest nap: a wall clock that is set forward makes slots due that a long sleep would miss.
NAP_SECONDS = 30.0
# An exporter that is due again and again without getting on is slowed down, like one that fails.
PAUSE_FIRST = timedelta(seconds=1)
PAUSE_MOST = timedelta(minutes=2)
# Tasks at once. Most of them wait for a place to run; the rest stay in the heap, oldest first.
TASKS = 1000

Tend = Callable[[Key, bool], Awaitable[datetime]]


class _Entry:
    __slots__ = ("first", "key", "observed", "restless", "version", "wake", "working")

    def __init__(self, key: Key, wake: datetime, version: str) -> None:
        self.key = key
        self.wake = wake
        self.observed = wake
        self.version = version
        self.working = False
        self.first = True
        self.restless = 0


class Scheduler:
    """Knows every exporter, and calls `tend(key, first)` for those that are due while this replica leads.

    `first` is True until an exporter was tended once in this term: whatever run it then has is an orphan.
    """

    def __init__(self, tend: Tend, clock: Clock, *, on_lead: Callable[[bool], None] = lambda leading: None) -> None:
        self._tend = tend
        self._clock = clock
        self._on_lead = on_lead
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._heap: list[tuple[datetime, int, _Entry]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self._tasks = 0
        self.ticked = clock.monotonic()
        self.leading = False
        self.problem: str | None = None
        """The right that was found missing last, until something went well."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def waiting(self) -> int:
        """How many exporters are being tended now, or wait for a place."""
        return self._tasks

    @property
    def lag(self) -> float:
        """For how many seconds the oldest exporter that is due has not even been looked at."""
        oldest = next(iter(self._heap), None)  # asked in another thread: one look, whatever happens meanwhile
        if oldest is None or not self.leading:
            return 0.0
        return max(0.0, (self._clock.now() - oldest[0]).total_seconds())

    def keys(self) -> Iterator[tuple[Key, str]]:
        """Every exporter that is known, with the resourceVersion in which it was last seen."""
        return ((entry.key, entry.version) for entry in self._entries.values())

    def observe(self, key: Key, wake: datetime, version: str) -> None:
        """An exporter was seen; it needs attention at `wake`. Another uid under its name is another exporter."""
        entry = self._entries.get((key.namespace, key.name))
        if entry is None or entry.key.uid != key.uid:
            entry = self._entries[key.namespace, key.name] = _Entry(key, wake, version)
        entry.version = version
        entry.observed = wake
        self._push(entry, wake)

    def forget(self, namespace: str, name: str) -> None:
        """An exporter is gone. A task that works on it finds out by itself."""
        self._entries.pop((namespace, name), None)

    async def lead(self) -> None:
        """Tend exporters until cancelled. Leaves nothing running behind."""
        for entry in self._entries.values():
            entry.first = True
            self._push(entry, min(entry.wake, entry.observed))
        self.leading = True
        self._on_lead(True)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self.ticked = self._clock.monotonic()
                    self._changed.clear()
                    self._start_due(group)
                    await self._nap()
        finally:
            self.leading = False
            self._on_lead(False)

    def _push(self, entry: _Entry, wake: datetime) -> None:
        entry.wake = wake
        heapq.heappush(self._heap, (wake, next(self._order), entry))
        self._changed.set()
        if len(self._heap) > 2 * len(self._entries) + 100:  # mostly positions that have been superseded
            self._heap = [(e.wake, next(self._order), e) for e in self._entries.values() if not e.working]
            heapq.heapify(self._heap)

    def _start_due(self, group: asyncio.TaskGroup) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now and self._tasks < TASKS:
            wake, _, entry = heapq.heappop(self._heap)
            current = self._entries.get((entry.key.namespace, entry.key.name)) is entry and entry.wake == wake
            if current and not entry.working:
                entry.working = True
                self._tasks += 1
                group.create_task(self._work(entry), name=f"tend {entry.key}")

    async def _nap(self) -> None:
        now = self._clock.now()
        upcoming = self._heap[0][0] if self._heap and self._tasks < TASKS else None
        seconds = NAP_SECONDS if upcoming is None else min(NAP_SECONDS, max(0.0, (upcoming - now).total_seconds()))
        nap = asyncio.ensure_future(self._clock.sleep(seconds))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({nap, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            changed.cancel()

    async def _work(self, entry: _Entry) -> None:
        before = entry.wake
        wake = self._clock.now() + PAUSE_MOST
        failed = True
        try:
            wake = await self._tend(entry.key, entry.first)
            entry.first = False
            failed = False
            self.problem = None
        except Gone:
            if self._entries.get((entry.key.namespace, entry.key.name)) is entry:
                self.forget(entry.key.namespace, entry.key.name)
        except ClusterError as error:
            log.warning("%s could not be tended, it is tried again: %s", entry.key, error)
            self.problem = str(error) if isinstance(error, Forbidden) else self.problem
        except Exception:
            # One exporter's trouble is never the end of the others: it is tried again, at longer and longer intervals.
            log.exception("%s could not be tended", entry.key)
        finally:
            entry.working = False
            self._tasks -= 1
        now = self._clock.now()
        if entry.wake != before:  # it was observed meanwhile
            wake = min(wake, entry.wake)
        if failed or wake <= now:
            pause = min(PAUSE_MOST, PAUSE_FIRST * 2 ** min(entry.restless, 10))
            entry.restless += 1
            wake = now + (pause if failed or entry.restless > 5 else timedelta(0))
        else:
            entry.restless = 0
        self._push(entry, wake)
