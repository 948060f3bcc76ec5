"""Waiting for something that another task changes, without asking again and again."""

import asyncio
from collections.abc import Callable


class Bell:
    """Whoever changes something rings; whoever waits looks again after every ring."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def ring(self) -> None:
        for event in self._waiting:
            event.set()

    async def until(self, true: Callable[[], bool], *, timeout: float) -> None:
        """Return once `true()` holds; TimeoutError after that many seconds of the machine's own time."""
        async with asyncio.timeout(timeout):
            while not true():
                event = asyncio.Event()
                self._waiting.add(event)
                try:
                    await event.wait()
                finally:
                    self._waiting.discard(event)
