"""Waiting for something that another task changes, without asking again and again."""

import asyncio
from collections.abc import Callable


class ConditionVariable:
    """Whoever changes something rings; whoever waits looks again after every ring."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def notify_all(self) -> None:
        for event in self._waiting:
            event.set()

    async def wait_for(self, predicate: Callable[[], bool], *, timeout: float) -> None:
        """Return once `true()` holds; TimeoutError after that many seconds of the machine's own time."""
        async with asyncio.timeout(timeout):
            while not predicate():
                event = asyncio.Event()
                self._waiting.add(event)
                try:
                    await event.wait()
                finally:
                    self._waiting.discard(event)
