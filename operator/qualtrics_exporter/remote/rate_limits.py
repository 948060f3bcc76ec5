"""Rate limits: sliding windows by the operator's clock, shared by all runs of a process.

A sliding window is used instead of a token bucket: after a pause, a full bucket would allow twice the rate within one
minute, and the service would answer half of the calls with 429.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import NOBODY, FairSemaphore, Tenant


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` calls in `seconds` seconds, for each origin."""

    name: str
    calls: int
    seconds: float


OPENING_SECONDS = 2.0
"""How long a call whose connection opens keeps the next call from a window of one call. A handshake takes less."""


@dataclass(eq=False, slots=True)
class Permit:
    """Permission for a call, and the windows that count it."""

    origin: str
    rates: tuple[Rate, ...]
    windows: "tuple[_Window, ...]"
    at: float
    """When it was counted last."""


class Limiter:
    """Delays calls until they are within their rates. Tenants that share an origin take turns.

    The service counts a call when it arrives, so the next call waits until this one was sent, and for the window after
    that. A call goes through three steps:

    - `acquire` waits until the call is within its rates, and counts it.
    - After `acquire`, the call may wait for something else, such as a place among the requests in flight. Meanwhile,
      its place in the window is not reserved: with a rate of one call a second, a tenant that waits for minutes would
      block all others at the same origin. `begin` says whether the call is still within its rates.
    - `sent` counts the call from when the request left: to open a connection can take longer than a narrow window.
      `withdraw` stops counting a call that never left.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, Rate], _Window] = {}

    async def acquire(
        self, origin: str, rates: tuple[Rate, ...], tenant: Tenant = NOBODY, *, urgent: bool = True
    ) -> Permit:
        """Wait until a call is within all these rates, the narrowest first. Urgent calls come before the others.

        A task that waits for a narrow rate does not block tasks that share only the wide one: it holds the narrow
        window, and the call is not counted before all windows have room.
        """
        async with AsyncExitStack() as held:
            windows = tuple(held.enter_context(self._window(origin, rate).in_use()) for rate in rates)
            for window in windows:
                await held.enter_async_context(window.door.hold(tenant, urgent=urgent))
                await window.wait_for_room(self._clock)
            permit = Permit(origin, rates, windows, self._clock.monotonic())
            for window in windows:
                window.acquired.append(permit)
            return permit

    def begin(self, permit: Permit) -> bool:
        """Whether the call may begin now. If not, the permit is void: other calls have used its rates meanwhile."""
        now = self._clock.monotonic()
        for window in permit.windows:
            window.remove(permit)
        with ExitStack() as held:
            # The windows may have been idle for so long that others have taken their place.
            permit.windows = tuple(
                held.enter_context(self._window(permit.origin, rate).in_use()) for rate in permit.rates
            )
            if any(window.count(now, begun=True) >= window.rate.calls for window in permit.windows):
                return False
            permit.at = now
            for window in permit.windows:
                window.opening.append(permit)
        return True

    def sent(self, permit: Permit) -> None:
        """The request of a call that has begun leaves now. It counts once, also if this is called again."""
        now = self._clock.monotonic()
        for window in permit.windows:
            if permit in window.opening:
                window.end_opening(permit, reachable=True)
                window.sent.append(now)

    def withdraw(self, permit: Permit) -> None:
        """The request of a call that has begun certainly never leaves: its connection did not open."""
        for window in permit.windows:
            if permit in window.opening:
                window.end_opening(permit, reachable=False)

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
        self.acquired: list[Permit] = []
        """Calls that wait for something else than this window."""
        self.opening: list[Permit] = []
        """Calls that have begun, and whose connections open."""
        self.sent: deque[float] = deque()
        """When the other calls left."""
        self.reachable = True
        """Whether the last connection opened. If not, calls do not wait for each other's connections."""
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
        return not (self.users or self.opening or self.count(now))

    def remove(self, permit: Permit) -> None:
        """Stop counting a call that has not begun."""
        if permit in self.acquired:  # otherwise it is so old that it does not count any more
            self.acquired.remove(permit)

    def end_opening(self, permit: Permit, *, reachable: bool) -> None:
        self.opening.remove(permit)
        self.reachable = reachable
        self.changed.set()

    def count(self, now: float, *, begun: bool = False) -> int:
        """How many calls count. With `begun`, only calls that have begun."""
        seconds = self.rate.seconds
        while self.sent and self.sent[0] + seconds <= now:
            self.sent.popleft()
        self.acquired = [permit for permit in self.acquired if permit.at + seconds > now]
        opening = sum(self._opened(permit) + seconds > now for permit in self.opening)
        return len(self.sent) + opening + (0 if begun else len(self.acquired))

    async def wait_for_room(self, clock: Clock) -> None:
        """Wait until the window has room. Only one task does this at a time: it waits for all others."""
        while self.count(now := clock.monotonic()) >= self.rate.calls:
            times = [*self.sent, *(permit.at for permit in self.acquired), *map(self._opened, self.opening)]
            earliest = min(time for time in times if time + self.rate.seconds > now)
            sleep = clock.sleep(earliest + self.rate.seconds - now)
            if self.opening:
                await self._until_changed(sleep)
            else:
                await sleep

    def _opened(self, permit: Permit) -> float:
        """The latest time when a call counts as sent, whose connection opens."""
        return permit.at + (OPENING_SECONDS if self.reachable else 0.0)

    async def _until_changed(self, sleep: Coroutine[Any, Any, None]) -> None:
        """Sleep, but only until a connection has opened, or cannot be opened."""
        self.changed.clear()
        tasks = [asyncio.ensure_future(sleep), asyncio.ensure_future(self.changed.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
