"""A thread with its own event loop, for servers that run next to synchronous tests."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that tracks the connections of its clients and servers.

    A closed TLS connection stays open until the peer confirms, for up to 30 seconds. The client or server that closed
    it no longer tracks it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._connections: WeakSet[asyncio.Transport] = WeakSet()

    def abort_connections(self) -> None:
        """Close all connections without waiting for the peer."""
        for connection in tuple(self._connections):
            connection.abort()

    # asyncio has no public hook for all connections.

    def _make_socket_transport(self, *args: Any, **kwargs: Any) -> Any:
        return self._track(super()._make_socket_transport(*args, **kwargs))  # type: ignore[misc]

    def _make_ssl_transport(self, *args: Any, **kwargs: Any) -> Any:
        return self._track(super()._make_ssl_transport(*args, **kwargs))  # type: ignore[misc]

    def _track(self, connection: asyncio.Transport) -> asyncio.Transport:
        self._connections.add(connection)
        return connection


class LoopThread:
    """Runs from `start` to `stop`, which ends all tasks and connections."""

    def __init__(self, name: str) -> None:
        self._loop = _Loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Cancel all tasks, and end the thread."""
        self.run(self._cancel_tasks)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Callable[[], T]) -> T:
        """Call a function in the thread, and return its result."""

        async def call_in_loop() -> T:
            return work()

        return self.run(call_in_loop)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine in the thread, and return its result."""

        async def call_in_loop() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(call_in_loop(), self._loop).result()

    async def _cancel_tasks(self) -> None:
        """Cancel the requests in progress, and run the iterations of the loop that closing a connection takes."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._loop.abort_connections()
        for _ in range(10):
            await asyncio.sleep(0)


async def closed(close: Callable[[], Awaitable[object]]) -> None:
    """Close servers after the connections that were made before have started.

    A server accepts a connection in one iteration of the loop, and starts it in a later one. If the server is closed in
    between, asyncio leaves the socket open.
    """
    for _ in range(10):
        await asyncio.sleep(0)
    await close()
