"""A thread with an event loop of its own, for servers beside tests that are plain functions."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that knows its connections, those of clients and those of servers.

    A TLS connection that is closed stays open until the other side confirms that, for up to 30 seconds. Meanwhile the
    client or server that closed it has forgotten it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._connections: WeakSet[asyncio.Transport] = WeakSet()

    def abort_connections(self) -> None:
        """Close all connections without waiting for the other side."""
        for connection in tuple(self._connections):
            connection.abort()

    # asyncio has no public place where all connections pass.

    def _make_socket_transport(self, *args: Any, **kwargs: Any) -> Any:
        return self._known(super()._make_socket_transport(*args, **kwargs))  # type: ignore[misc]

    def _make_ssl_transport(self, *args: Any, **kwargs: Any) -> Any:
        return self._known(super()._make_ssl_transport(*args, **kwargs))  # type: ignore[misc]

    def _known(self, connection: asyncio.Transport) -> asyncio.Transport:
        self._connections.add(connection)
        return connection


class LoopThread:
    """Runs from `start` to `stop`; nothing that was begun on it is left behind."""

    def __init__(self, name: str) -> None:
        self._loop = _Loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End whatever still goes on there, and the thread with it."""
        self.run(self._end_others)
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

    async def _end_others(self) -> None:
        """End the requests that are still held or on their way, and give connections the turns that closing takes."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._loop.abort_connections()
        for _ in range(10):
            await asyncio.sleep(0)


async def closed(close: Callable[[], Awaitable[object]]) -> None:
    """Close servers, when the connections have begun that were made before.

    A server accepts in one turn of the loop and begins in a later one. If it is closed in between, asyncio leaves the
    socket open.
    """
    for _ in range(10):
        await asyncio.sleep(0)
    await close()
