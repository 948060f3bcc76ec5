"""How often a remote side may be asked: sliding windows by the operator's clock, shared by all runs of a process.

A sliding window, not a bucket that refills: full after a pause, a bucket lets twice the rate through within one
minute, and the remote side answers 429 to the half of it.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import NOBODY, FairSemaphore, Tenant


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many calls of this name in so many seconds, per remote origin."""

    name: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Permit:
    """A call that may go out, and when it was counted."""

    origin: str
    rates: tuple[Rate, ...]
    at: float


class Limiter:
    """Lets calls through; tenants that share a remote origin take turns.

    A call that still waits for something else after its turn, such as a permit to be in flight, is counted again when
    it goes out (`sent`). Its place is not kept until then: with a rate of one call a second, a tenant that waits for
    minutes would stop all others at the same origin. So several such calls can exceed a rate at once, and the calls
    after them wait for that.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, Rate], _Window] = {}

    async def turn(self, origin: str, rates: tuple[Rate, ...], tenant: Tenant = NOBODY) -> Permit:
        """Return when a call may go out now under every one of these rates, the narrower first.

        Who waits for a narrow rate does not hold up others that share only the wide one: the narrow one is kept, but
        nothing is counted until both have room.
        """
        async with AsyncExitStack() as held:
            windows = [held.enter_context(self._window(origin, rate).in_use()) for rate in rates]
            for window in windows:
                await held.enter_async_context(window.door.hold(tenant))
                while (wait := window.wait(self._clock.monotonic())) > 0:
                    await self._clock.sleep(wait)
            now = self._clock.monotonic()
            for window in windows:
                window.times.append(now)
            return Permit(origin, rates, now)

    def sent(self, turn: Permit) -> None:
        """The call goes out now: it counts from now on, and no longer from its turn."""
        now = self._clock.monotonic()
        for rate in turn.rates:
            times = self._window(turn.origin, rate).times
            with suppress(ValueError):  # it was so long ago that it does not count any more
                times.remove(turn.at)
            times.append(now)

    def _window(self, origin: str, rate: Rate) -> "_Window":
        if (window := self._windows.get((origin, rate))) is None:
            # Users choose the origins, in Secrets that they can change every minute: those of before are let go.
            now = self._clock.monotonic()
            self._windows = {key: known for key, known in self._windows.items() if not known.idle(now)}
            window = self._windows[origin, rate] = _Window(rate)
        return window


class _Window:
    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.times: deque[float] = deque()
        self.door = FairSemaphore(1)
        self.users = 0

    @contextmanager
    def in_use(self) -> Iterator["_Window"]:
        """The window, which is kept as long as the block lasts."""
        self.users += 1
        try:
            yield self
        finally:
            self.users -= 1

    def idle(self, now: float) -> bool:
        """Whether nobody is here, and no call counts any more."""
        self._forget_old(now)
        return not self.users and not self.times

    def wait(self, now: float) -> float:
        """Seconds until there is room."""
        self._forget_old(now)
        return self.times[0] + self.rate.seconds - now if len(self.times) >= self.rate.calls else 0.0

    def _forget_old(self, now: float) -> None:
        while self.times and self.times[0] + self.rate.seconds <= now:
            self.times.popleft()
