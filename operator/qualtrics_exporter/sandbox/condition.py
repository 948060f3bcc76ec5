"""A condition variable for the tasks of one event loop: waiting for a change by another task, without polling."""

import asyncio
from collections.abc import Callable


class ConditionVariable:
    """Like `asyncio.Condition`, but without a lock, so that code that is not a coroutine can notify too.

    Each notification also notifies `outer`: a condition variable that combines several of them.
    """

    def __init__(self, *, outer: "ConditionVariable | None" = None) -> None:
        self._next_change = asyncio.Event()
        self._outer = outer
        self.notifications = 0

    def notify_all(self) -> None:
        """Let all waiting tasks check their predicates again."""
        self.notifications += 1
        self._next_change.set()
        self._next_change = asyncio.Event()
        if self._outer is not None:
            self._outer.notify_all()

    async def wait_for(self, predicate: Callable[[], bool], *, timeout: float) -> None:
        """Return once `predicate()` is true. Raises TimeoutError after that many seconds of real time."""
        async with asyncio.timeout(timeout):
            while not predicate():
                await self._next_change.wait()
