"""A time limit that is measured by a `Clock`.

`asyncio.timeout` measures by the event loop's own time. Tests and simulations move a `Clock`, so limits that are part
of the product's behaviour use this one. Limits on real sockets (`transport.Timeouts`) use asyncio.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.remote.errors import Transient

TASK_NAME = "time limit"
"""The name of the task that sleeps until the limit. A test clock that advances for every sleeping task ignores it."""


MAX_STOPPED = 600.0
"""The longest sum of times that do not count. After it, a stopped limit expires."""
STOPPED_LOOK = 1.0
"""How often a limit that is stopped looks whether it goes on."""


class OutOfTime(Exception):
    """The time limit has passed. The work in it was cancelled."""


def pending_failure(out_of_time: OutOfTime) -> Transient | None:
    """The failure of the last try of a call that was being repeated when the time was up; None if none was."""
    error = out_of_time.__cause__
    while error:
        if isinstance(error, Transient):
            return error
        error = error.__cause__
    return None


class TimeLimit:
    """`async with` it: work that takes longer than `seconds` is cancelled, and `OutOfTime` is raised.

    With None there is no limit. A cancellation from outside passes through. Like `asyncio.timeout`, it can be nested.
    """

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ends = 0.0
        self._stopped_at: float | None = None
        self.stopped_seconds = 0.0
        """The sum of the times that did not count."""
        self._expired = False
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task  # noqa: S101  a coroutine that awaits runs in a task
        self._task = task
        self._cancellations = task.cancelling()
        if self._seconds is not None:
            if self._seconds <= 0:
                raise OutOfTime
            self.restart(self._seconds)
        return self

    def restart(self, seconds: float | None) -> None:
        """Set the seconds that are left from now on. None stops the limit, for a wait that is not part of the work."""
        if self._watch:
            self._watch.cancel()
        self._watch = None
        if seconds is not None:
            self._ends = self._clock.monotonic() + seconds
            self._watch = asyncio.create_task(self._expire(), name=TASK_NAME)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The time within the block does not count. Blocks of several tasks must not overlap."""
        began = self._stopped_at = self._clock.monotonic()
        try:
            yield
        finally:
            self._stopped_at = None
            waited = self._clock.monotonic() - began
            self._ends += waited
            self.stopped_seconds += waited

    @property
    def is_used_up(self) -> bool:
        """Whether it has expired because it was stopped for too long."""
        return self.stopped_seconds >= MAX_STOPPED

    def _left(self) -> float:
        """Seconds until the limit expires; a few if it is stopped."""
        now = self._clock.monotonic()
        if self._stopped_at is None:
            return self._ends - now
        return min(MAX_STOPPED - self.stopped_seconds - (now - self._stopped_at), max(self._ends - now, STOPPED_LOOK))

    async def _expire(self) -> None:
        while (left := self._left()) > 0:
            await self._clock.sleep(left)
        self._expired = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch:
            self._watch.cancel()
        if not self._expired:
            return
        if kind is None:
            # The work ended just before its cancellation took effect. The cancellation must not take effect later.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        from_outside = self._task.uncancel() > self._cancellations
        if kind is None and from_outside:
            raise asyncio.CancelledError
        if kind is not None and issubclass(kind, asyncio.CancelledError) and not from_outside:
            raise OutOfTime from error
