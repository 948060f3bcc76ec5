"""The benchmarks by name, and what each of them gets."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from benchmarks.figures import Figure, Series

Result = Figure | Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the benchmarks are. The defaults are those of `make bench`, and `TINY` those of its test."""

    exporters: int = 10_000
    """Idle exporters."""
    growth: tuple[int, ...] = (10, 100, 1_000)
    """Smaller numbers of exporters, for the growth."""
    due: int = 50
    """Of these exporters, so many are due in one slot."""
    idle_seconds: float = 300.0
    burst_tenants: int = 20
    burst_exporters: int = 50
    """Exporters of each tenant in a burst."""
    burst_people: int = 500
    rows: int = 1_000_000
    """Rows of the large result."""
    repetitions: int = 3
    """Of large runs with instant services."""
    small_runs: int = 10
    """Repetitions of a small run."""
    growth_people: tuple[int, ...] = (10, 100, 1_000, 10_000)
    timers: int = 1_000
    """Objects of the operator with one timer per object."""
    timer_seconds: float = 60.0
    list_exporters: int = 100
    """Exporters that share a mailing list."""
    new_tenants: int = 20
    new_exporters: int = 20
    """New exporters of each tenant."""
    day_exporters: int = 10_000


TINY = Sizes(
    exporters=20, growth=(5, 10), due=3, idle_seconds=1, burst_tenants=2, burst_exporters=2, burst_people=5, rows=2_000,
    repetitions=1, small_runs=2, growth_people=(5, 10), timers=10, timer_seconds=2, list_exporters=3,
    new_tenants=2, new_exporters=2, day_exporters=20,
)  # fmt: skip


class Bench:
    """What a benchmark gets: the sizes, and turns for work that uses a whole core."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self._changed = threading.Condition()
        self._numbers = count()
        self._waiting: list[tuple[int, int]] = []
        self._busy = False

    @contextmanager
    def cpu_bound(self, *, urgent: bool = False) -> Iterator[None]:
        """Work that uses a whole core, or whose time counts. Two benchmarks never do such work at the same time.

        Benchmarks take turns in the order in which they ask. Urgent ones come first: those that wait for minutes later.
        """
        with self._changed:
            turn = (not urgent, next(self._numbers))
            heappush(self._waiting, turn)
            self._changed.wait_for(lambda: not self._busy and self._waiting[0] == turn)
            heappop(self._waiting)
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()


Benchmark = Callable[[Bench], Iterator[Result]]
