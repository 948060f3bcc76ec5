"""The wake-ups of all exporters, in the order of their times.

An exporter can have several, of which some were superseded: the work queue compares each with the exporter.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from qualtrics_exporter.controller.queue.work_item import WorkItem


class WakeHeap:
    """Wake-ups. `waiting` returns the exporters that need one."""

    def __init__(self, waiting: Callable[[], Iterable[WorkItem]]) -> None:
        self._waiting = waiting
        self._heap: list[tuple[datetime, int, WorkItem]] = []
        self._order = itertools.count()
        self._most = 100

    @property
    def next(self) -> datetime | None:
        """The earliest time."""
        return self._heap[0][0] if self._heap else None

    def push(self, at: datetime, item: WorkItem) -> None:
        heapq.heappush(self._heap, (at, next(self._order), item))
        if len(self._heap) > self._most:  # most were superseded, unless there are more exporters than before
            self._heap = [(item.next_look, next(self._order), item) for item in self._waiting()]
            heapq.heapify(self._heap)
            self._most = 2 * len(self._heap) + 100

    def pop_due(self, now: datetime) -> Iterator[tuple[datetime, WorkItem]]:
        """Remove the wake-ups up to now, the earliest first."""
        while self._heap and self._heap[0][0] <= now:
            at, _, item = heapq.heappop(self._heap)
            yield at, item
