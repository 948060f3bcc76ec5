"""How often a remote side may be asked: sliding windows by the operator's clock, shared by all runs of a process.

A sliding window, not a bucket that refills: full after a pause, a bucket lets twice the rate through within one
minute, and the remote side answers 429 to the half of it.
"""

from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import NOBODY, FairSemaphore, Tenant


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many calls of this name in so many seconds, per remote origin."""

    name: str
    calls: int
    seconds: float


class Limiter:
    """Lets calls through; tenants that share a remote origin take turns."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, Rate], _Window] = {}

    async def turn(self, origin: str, rates: tuple[Rate, ...], tenant: Tenant = NOBODY) -> None:
        """Return when a call may go out now under every one of these rates, the narrower first.

        Who waits for a narrow rate does not hold up others that share only the wide one: the narrow one is kept, but
        nothing is counted until both have room.
        """
        windows = [self._windows.setdefault((origin, rate), _Window(rate)) for rate in rates]
        async with AsyncExitStack() as held:
            for window in windows:
                await held.enter_async_context(window.door.hold(tenant))
                while (wait := window.wait(self._clock.monotonic())) > 0:
                    await self._clock.sleep(wait)
            now = self._clock.monotonic()
            for window in windows:
                window.times.append(now)


class _Window:
    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.times: deque[float] = deque()
        self.door = FairSemaphore(1)

    def wait(self, now: float) -> float:
        """Seconds until there is room."""
        while self.times and self.times[0] + self.rate.seconds <= now:
            self.times.popleft()
        return self.times[0] + self.rate.seconds - now if len(self.times) >= self.rate.calls else 0.0
