"""Time as an argument.

Everything that waits or dates something takes a `Clock`, so that a test can make a week pass in an instant
and can set the clock back. Nothing else in the package asks the machine for the time.
"""

import asyncio
import time
from collections.abc import Callable
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


class WatchedClock:
    """A clock that notices when its wall clock is set, at each look: that then moves by something else than the other.

    Who plans by a time that turns out to be wrong therefore always has to plan anew: the time cannot go back to what it
    was without being noticed.
    """

    TOLERANCE = timedelta(seconds=2)
    """Time servers slew a clock by far less between two looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._look()[1]
        self.steps = 0
        """How often the wall clock was set."""
        self.on_step: list[Callable[[timedelta], None]] = []
        """Called with what the wall clock was set by, forward or back."""

    def now(self) -> datetime:
        now, offset = self._look()
        by, self._offset = offset - self._offset, offset
        if abs(by) > self.TOLERANCE:
            self.steps += 1
            for listener in self.on_step:
                listener(by)
        return now

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def uptime(self) -> float:
        return self._clock.uptime()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def _look(self) -> tuple[datetime, timedelta]:
        """The wall clock, and how far it is from the monotonic one."""
        while True:
            before, now = self._clock.monotonic(), self._clock.now()
            if self._clock.monotonic() - before < 0.5:  # else the process was paused between the two
                return now, now - datetime.fromtimestamp(before, UTC)


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
