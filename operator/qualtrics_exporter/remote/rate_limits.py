"""Rate limits: sliding windows by the operator's clock, shared by all runs of a process.

A sliding window is used instead of a token bucket: after a pause, a full bucket would allow twice the rate within one
minute, and the service would answer half of the calls with 429.
"""

import asyncio
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


@dataclass(slots=True)
class Permit:
    """Permission for a call. `at` is the time when the call was counted; None while its connection opens."""

    origin: str
    rates: tuple[Rate, ...]
    at: float | None


class Limiter:
    """Delays calls until they are within their rates. Tenants that share an origin take turns.

    The service counts a call when it arrives, so the next call waits until this one was sent, and for the window after
    that. A call goes through three steps:

    - `acquire` waits until the call is within its rates, and counts it.
    - After `acquire`, the call may wait for something else, such as a place among the requests in flight. Meanwhile,
      its place in the window is not reserved: with a rate of one call a second, a tenant that waits for minutes would
      block all others at the same origin. `begin` says whether the call is still within its rates.
    - `sent` counts the call from when the request left. To open a connection can take longer than a narrow window.
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
                await window.wait_for_room(self._clock)
            now = self._clock.monotonic()
            for window in windows:
                window.times.append(now)
            return Permit(origin, rates, now)

    def begin(self, permit: Permit) -> bool:
        """Whether the call may begin now. If not, the permit is void: other calls have used its rates meanwhile."""
        now = self._clock.monotonic()
        windows = [self._window(permit.origin, rate) for rate in permit.rates]
        for window in windows:
            with suppress(ValueError):  # it is so old that it does not count any more
                window.times.remove(permit.at or 0.0)
        permit.at = None
        if any(window.is_full(now) for window in windows):
            return False
        for window in windows:
            window.opening += 1
        return True

    def sent(self, permit: Permit) -> None:
        """The request of a call that has begun left now, or never will. Later calls of this function change nothing."""
        if permit.at is not None:
            return
        permit.at = self._clock.monotonic()
        for rate in permit.rates:
            window = self._window(permit.origin, rate)
            window.opening -= 1
            window.times.append(permit.at)
            window.changed.set()

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
        self.opening = 0
        """Calls whose connections open."""
        self.changed = asyncio.Event()
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
        return not (self.users or self.opening or self.times)

    def is_full(self, now: float) -> bool:
        self._forget_old(now)
        return len(self.times) + self.opening >= self.rate.calls

    async def wait_for_room(self, clock: Clock) -> None:
        """Wait until the window has room. Only one task does this at a time: it holds the door."""
        while self.is_full(now := clock.monotonic()):
            if self.times:
                await clock.sleep(self.times[0] + self.rate.seconds - now)
            else:
                self.changed.clear()
                await self.changed.wait()

    def _forget_old(self, now: float) -> None:
        while self.times and self.times[0] + self.rate.seconds <= now:
            self.times.popleft()
