"""The clock of one replica: the true time, plus an offset that a fault can change."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 10, 19, 6, 0, tzinfo=UTC)
"""The start of every world: a Monday. Six days later the clocks of Europe go back."""


def true_time(seconds: float) -> datetime:
    """Virtual time as a date."""
    return EPOCH + timedelta(seconds=seconds)


class ReplicaClock:
    """`offset` is how many seconds the wall clock of this replica is ahead of the true time."""

    def __init__(self, time: Callable[[], float], offset: float = 0.0) -> None:
        self._time = time
        self.offset = offset

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._time() + self.offset)

    def monotonic(self) -> float:
        return self._time()

    def uptime(self) -> float:
        return self._time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
