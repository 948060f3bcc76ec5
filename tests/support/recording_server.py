"""A server in a thread that accepts everything and keeps it."""

import threading
from collections.abc import Callable
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import Generic, Self, TypeVar

from tests.support.waiting import HANG_SECONDS

T = TypeVar("T")


class RecordingServer(Generic[T]):
    """A context manager that serves a free local port. Its handlers call `_keep` with what they received."""

    def __init__(self, handler: type[BaseRequestHandler], kind: type[ThreadingTCPServer] = ThreadingTCPServer) -> None:
        self._kept: list[T] = []
        self._changed = threading.Condition()
        self._server = kind(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name=type(self).__name__, daemon=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def kept(self) -> list[T]:
        """What it received so far, oldest first."""
        with self._changed:
            return list(self._kept)

    def until(self, wanted: Callable[[], object], what: str) -> None:
        """Wait until it received what meets a condition."""
        with self._changed:
            assert self._changed.wait_for(wanted, HANG_SECONDS), f"timed out: {what}; received: {self._kept}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _keep(self, received: T) -> None:
        with self._changed:
            self._kept.append(received)
            self._changed.notify_all()
