"""Rate limits: sliding windows by the operator's clock, shared by all runs of a process.

A sliding window is used instead of a token bucket: after a pause, a full bucket would allow twice the rate within one
minute, and the service would answer half of the calls with 429.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import NOBODY, FairSemaphore, Tenant


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` calls in `seconds` seconds, for each origin."""

    name: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission for a call, with the time when the call was counted."""

    origin: str
    rates: tuple[Rate, ...]
    at: float


class Limiter:
    """Delays calls until they are within their rates. Tenants that share an origin take turns.

    A call that waits for something else after `acquire`, such as a place among the requests in flight, is counted again
    when it is sent (`sent`). Its place in the window is not reserved: with a rate of one call a second, a tenant that
    waits for minutes would block all others at the same origin. So several such calls can exceed a rate together, and
    the calls after them wait longer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, Rate], _Window] = {}

    async def acquire(self, origin: str, rates: tuple[Rate, ...], tenant: Tenant = NOBODY) -> Permit:
        """Wait until a call is within all these rates, the narrowest first.

        A task that waits for a narrow rate does not block tasks that share only the wide one: it holds the narrow
        window, and the call is not counted before all windows have room.
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

    def sent(self, permit: Permit) -> None:
        """The call is sent now: count it from now on instead of from `acquire`."""
        now = self._clock.monotonic()
        for rate in permit.rates:
            times = self._window(permit.origin, rate).times
            with suppress(ValueError):  # it is so old that it does not count any more
                times.remove(permit.at)
            times.append(now)

    def _window(self, origin: str, rate: Rate) -> "_Window":
        if (window := self._windows.get((origin, rate))) is None:
            # Users choose the origins in Secrets, and can change them every minute: drop the idle windows.
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
        """The window. It is not dropped during the block."""
        self.users += 1
        try:
            yield self
        finally:
            self.users -= 1

    def idle(self, now: float) -> bool:
        """Whether no task uses the window, and no call counts any more."""
        self._forget_old(now)
        return not self.users and not self.times

    def wait(self, now: float) -> float:
        """Seconds until the window has room."""
        self._forget_old(now)
        return self.times[0] + self.rate.seconds - now if len(self.times) >= self.rate.calls else 0.0

    def _forget_old(self, now: float) -> None:
        while self.times and self.times[0] + self.rate.seconds <= now:
            self.times.popleft()
