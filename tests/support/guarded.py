"""Servers that tests start. They end with the test process, also if it is killed, for example by SIGTERM.

Without that, each interrupted run leaves a Prometheus or a registry that nobody stops.
"""

import atexit
import subprocess
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hack.guard import Guard


def start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start a server in a process group of its own. Call `ended` when it has ended."""
    process: subprocess.Popen[Any] = subprocess.Popen(command, process_group=0, **options)
    _groups().add(process.pid)
    return process


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
