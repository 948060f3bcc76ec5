"""Host names are resolved in threads, which the tenants share.

asyncio has five threads for this on a machine with one core. A look-up cannot be cancelled: when its caller has given
up, its thread still waits for the name servers, for a minute if the servers of a domain hang. So five names of one
tenant would block all new connections, including those to the API server.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from qualtrics_exporter.fair_share import TENANT, FairSemaphore

T = TypeVar("T")

MAX_CONCURRENT_LOOK_UPS = 48


class Loop(asyncio.SelectorEventLoop):
    """The default event loop with its own resolution of host names."""

    def __init__(self) -> None:
        super().__init__()
        self._look_ups = FairSemaphore(MAX_CONCURRENT_LOOK_UPS)

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """As `socket.getaddrinfo`."""
        begun = asyncio.Event()
        look_up = self.create_task(self._look_up(lambda: socket.getaddrinfo(*args, **kwargs), begun))
        look_up.add_done_callback(lambda task: task.cancelled() or task.exception())  # the caller may have given up
        try:
            return await asyncio.shield(look_up)
        except asyncio.CancelledError:
            if not begun.is_set():
                look_up.cancel()
            raise

    async def _look_up(self, work: Callable[[], T], begun: asyncio.Event) -> T:
        async with self._look_ups.hold(TENANT.get()):  # until the thread ends, even if its caller has given up
            begun.set()
            done: asyncio.Future[T] = self.create_future()
            # A daemon thread: a name server that hangs must not prevent the exit of the process.
            threading.Thread(target=self._in_thread, args=(work, done), name="look-up", daemon=True).start()
            return await done

    def _in_thread(self, work: Callable[[], T], done: "asyncio.Future[T]") -> None:
        def set_outcome() -> None:
            if done.done():
                return
            if error:
                done.set_exception(error)
            else:
                done.set_result(result)

        error: Exception | None = None
        try:
            result = work()
        except UnicodeError:
            error = socket.gaierror(socket.EAI_NONAME, "the name cannot be encoded")
        except Exception as failure:  # noqa: BLE001 - the caller gets every error
            error = failure
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.call_soon_threadsafe(set_outcome)
