"""A thread with an event loop of its own, for servers beside tests that are plain functions."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs from `start` to `stop`; nothing that was begun on it is left behind."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End whatever still goes on there, and the thread with it."""
        self.run(_end_others)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Callable[[], T]) -> T:
        """Do something there."""

        async def there() -> T:
            return work()

        return self.run(there)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something there that waits, and wait for it."""

        async def there() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result()


async def closed(close: Callable[[], Awaitable[object]]) -> None:
    """Close servers, when the connections have begun that were made before.

    A server accepts in one turn of the loop and begins in a later one. If it is closed in between, asyncio leaves the
    socket open.
    """
    for _ in range(10):
        await asyncio.sleep(0)
    await close()


async def _end_others() -> None:
    """Requests that are still held or on their way end here; their connections get the moments that closing takes."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for _ in range(10):
        await asyncio.sleep(0)
