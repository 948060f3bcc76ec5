"""Time as an argument.

Code that waits or needs the time takes a `Clock`, so that a test can let a week pass in an instant and set the clock
back. No other module reads the time of the machine.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never decrease, even if the wall clock is set."""
        ...

    def uptime(self) -> float:
        """Seconds since the machine booted, including its sleep: they show how long a process was paused."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of this clock, or immediately for zero or less."""
        ...


class WatchedClock:
    """A clock that detects when the wall clock is set: `now` compares it with the monotonic clock.

    Listeners can plan again after each step, so no plan relies on a time that turned out to be wrong.
    """

    TOLERANCE = timedelta(seconds=2)
    """Larger than the corrections of time servers between two calls."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._look()[1]
        self.steps = 0
        """How often the wall clock was set."""
        self.on_step: list[Callable[[timedelta], None]] = []
        """Called with the difference by which the wall clock was set, forward or back."""

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
        """The wall clock, and its difference from the monotonic clock."""
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
        # Without CLOCK_BOOTTIME (macOS, Windows), it is the monotonic clock.
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
