"""Time as an argument.

Everything that waits or dates something takes a `Clock`, so that a test can make a week pass in an instant
and can set the clock back. Nothing else in the package asks the machine for the time.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow, whatever happens to the wall clock."""
        ...

    def uptime(self) -> float:
        """Seconds of the machine, including those that it slept: they show how long a process was paused."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of this clock; at once for zero or less."""
        ...


class Steps:
    """Notices when the wall clock is set: it then moves by something else than the monotonic clock."""

    TOLERANCE = timedelta(seconds=2)
    """Time servers slew a clock by far less between two looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._look()

    def look(self) -> timedelta | None:
        """By how much the wall clock was set since the last look; None if it was not."""
        before, self._offset = self._offset, self._look()
        by = self._offset - before
        return by if abs(by) > self.TOLERANCE else None

    def _look(self) -> timedelta:
        return self._clock.now() - datetime.fromtimestamp(self._clock.monotonic(), UTC)


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def uptime(self) -> float:
        return machine_uptime()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def machine_uptime() -> float:
    """`Clock.uptime` of this machine. macOS and Windows have no CLOCK_BOOTTIME; their monotonic clock has to do."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
