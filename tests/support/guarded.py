"""Servers that tests start. They end with the test process, also if it is killed, for example by SIGTERM.

Without that, each interrupted run leaves a Prometheus or a registry that nobody stops.
"""

import atexit
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hack.guard import Guard
from tests.support.waiting import eventually

T = TypeVar("T")


def start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start a server in a process group of its own. Call `ended` when it has ended."""
    process: subprocess.Popen[Any] = subprocess.Popen(command, process_group=0, **options)
    _groups().add(process.pid)
    return process


@contextmanager
def serving(command: Sequence[str | Path], log: Path, what: str, ready: Callable[[], T], **options: Any) -> Iterator[T]:
    """Run a server until the end of the block, with its output in `log`. The value is the first true one of `ready`."""
    with log.open("wb") as output:
        process = start(command, stdout=output, stderr=output, **options)

    def is_ready() -> T:
        if process.poll() is not None:
            raise AssertionError(f"{what} exited:\n{log.read_text()}")
        return ready()

    try:
        yield eventually(is_ready, f"{what} serves")
    finally:
        process.kill()
        process.wait()
        ended(process)


def ended(process: subprocess.Popen[Any]) -> None:
    """The process has ended, so another process can get its number."""
    _groups().remove(process.pid)


class _Groups:
    """The process groups of this process that the guard kills."""

    def __init__(self) -> None:
        self._guard = Guard()
        self._known: set[int] = set()
        self._lock = threading.Lock()
        atexit.register(self._guard.stop)

    def add(self, group: int) -> None:
        with self._lock:
            self._known.add(group)
            self._guard.watch(*self._known)

    def remove(self, group: int) -> None:
        with self._lock:
            self._known.discard(group)
            self._guard.watch(*self._known)


@cache
def _groups() -> _Groups:
    """Started with the first server: most processes of a test run start none."""
    return _Groups()
