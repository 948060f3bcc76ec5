"""What waits now for a limit of this process: a rate limit, a concurrent request, or memory.

The work queue knows which exporters wait for their turn. But a thousand exporters can have their turns at once and then
wait for the same rate limit for a quarter of an hour. The metrics must show that too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import NamedTuple

from qualtrics_exporter.clock import Clock

WAITING_FOR: ContextVar[object] = ContextVar("waiting_for", default=None)
"""The exporter for which a task and its subtasks work. The command line has only one."""


class _Wait(NamedTuple):
    exporter: object
    side: str | None
    since: float


class Waits:
    """The waits of a process. The event loop changes them, and a thread reads them for the metrics."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._now: dict[object, _Wait] = {}
        self._ended: dict[str, float] = {}
        self._shown: dict[str, float] = {}

    @contextmanager
    def waiting(self, side: str | None = None) -> Iterator[None]:
        """Count the block as a wait. With `side`, it is a wait for the rate limits of that service."""
        token = object()
        self._now[token] = _Wait(WAITING_FOR.get(), side, self._clock.monotonic())
        try:
            yield
        finally:
            with self._lock:
                wait = self._now.pop(token)
                if side is not None:
                    self._ended[side] = self._ended.get(side, 0.0) + self._clock.monotonic() - wait.since

    @property
    def exporters(self) -> int:
        """How many exporters wait."""
        return len({wait.exporter for wait in self._now.copy().values()})

    @property
    def longest(self) -> float:
        """For how many seconds the longest of these waits has lasted."""
        since = min((wait.since for wait in self._now.copy().values()), default=None)
        return 0.0 if since is None else max(0.0, self._clock.monotonic() - since)

    def rate_limit_seconds(self) -> dict[str, float]:
        """The sum of the waits for each service, including those that have not ended. It never decreases."""
        with self._lock:
            now, sums = self._clock.monotonic(), self._ended.copy()
            for wait in self._now.copy().values():
                if wait.side is not None:
                    sums[wait.side] = sums.get(wait.side, 0.0) + now - wait.since
            # Another order of the same additions can give a sum that is a little smaller. Prometheus would take that
            # for a restart of the process.
            self._shown = {side: max(seconds, self._shown.get(side, 0.0)) for side, seconds in sums.items()}
            return self._shown
