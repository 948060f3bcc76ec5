"""Processes that have loaded the operator before they begin, forked from one that did it once.

To load it takes a second of the machine, and tests start it more than a hundred times. A process from here is one like
any other: it has an environment, a folder, output and an exit code of its own, and can be killed. What it shares with
the others is what its modules were when they were loaded. The demo's operator loads itself, as users' do.

Run as a module it is the process that the others are forked from. It ends with whoever started it, and they with it.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from tests.environment.build import ROOT
from tests.environment.waiting import HANG_SECONDS

MODULES = ("tests.environment.operator", "tests.faults.local_process", "tests.cli.fast_forward")

LARGEST_MESSAGE = 200_000


class Forked:
    """A process; as far as it goes, with the methods of `subprocess.Popen`."""

    def __init__(self, source: "_Source", pid: int) -> None:
        self._source = source
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal that ended it; None before that."""
        return self._source.ended.get(self.pid)

    def poll(self) -> int | None:
        """The same, of now."""
        self._source.listen(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float = HANG_SECONDS) -> int:
        """Wait for its end; subprocess.TimeoutExpired after so many seconds."""
        self._source.listen(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def fork(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: IO[bytes] | int,
    folder: Path,
    *,
    errors: int | None = None,
    standard_input: int | None = None,
) -> Forked:
    """Call the `main` of one of `MODULES` with these arguments in a process of its own.

    The descriptor `errors` is its standard error, or `output` is; its standard input is empty without one.
    """
    written = output if isinstance(output, int) else output.fileno()
    descriptors = {1: written, 2: written if errors is None else errors}
    if standard_input is not None:
        descriptors[0] = standard_input
    order = {
        "module": module,
        "arguments": list(arguments),
        "environment": dict(environment),
        "folder": str(folder),
        "standard": list(descriptors),
    }
    return _source().fork(order, list(descriptors.values()))


@cache
def _source() -> "_Source":
    source = _Source()
    atexit.register(source.end)
    return source


class _Source:
    """The process that the others are forked from, as it is seen from outside. It tells of each end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", __name__, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                start_new_session=True,
            )
        self.ended: dict[int, int] = {}
        self._begun: list[int] = []

    def fork(self, order: Mapping[str, Any], descriptors: list[int]) -> Forked:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(order).encode()], descriptors)
            while not self._begun:
                self._hear()
            pid = self._begun.pop()
            return Forked(self, pid)

    def listen(self, pid: int, timeout: float) -> None:
        """Hear what there is to hear, until that process has ended or so many seconds are over."""
        deadline = time.monotonic() + timeout
        while pid not in self.ended:
            left = max(0.0, deadline - time.monotonic())
            with self._lock:  # for a moment only: another thread may have something to start
                heard = select.select([self._socket], [], [], min(left, 0.05))[0]
                if heard:
                    self._hear()
            if not heard and left <= 0:
                return

    def _hear(self) -> None:
        message = self._socket.recv(LARGEST_MESSAGE)
        if not message:
            raise AssertionError("the process that operators are forked from has ended")
        told: dict[str, int] = json.loads(message)
        if "code" in told:
            self.ended[told["pid"]] = told["code"]
        else:
            self.ended.pop(told["pid"], None)  # of another process, long ago
            self._begun.append(told["pid"])

    def end(self) -> None:
        self._socket.close()
        self._process.wait()


def main(number: int) -> int:
    """Load, then fork for each order, until nobody is there to give one."""
    programs = {module: import_module(module) for module in MODULES}
    for module in ("cli.controller", "cli.run", "controller.app", "controller.probes", "export.steps"):
        import_module(f"qualtrics_exporter.{module}")
    gc.collect()
    gc.freeze()
    orders = socket.socket(fileno=number)
    awake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    running: set[int] = set()
    while True:
        readable, _, _ = select.select([orders, awake], [], [])
        if awake in readable:
            os.read(awake, 4096)
            for pid in tuple(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    running.discard(pid)
                    with suppress(OSError):
                        orders.send(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode())
        if orders in readable:
            message, descriptors, _, _ = socket.recv_fds(orders, LARGEST_MESSAGE, 3)
            if not message:
                break
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                orders.close()
                os.close(awake)
                os.close(wake)
                gc.unfreeze()
                order = json.loads(message)
                return int(programs[order["module"]].main(_become(order, descriptors)))
            for descriptor in descriptors:
                os.close(descriptor)
            running.add(pid)
            try:
                orders.send(json.dumps({"pid": pid}).encode())
            except OSError:  # who gave the order is gone
                break
    for pid in running:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return 0


def _become(order: Mapping[str, Any], descriptors: Sequence[int]) -> list[str]:
    """Take on what the order says; returns the arguments."""
    for descriptor, standard in zip(descriptors, order["standard"], strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    tempfile.tempdir = None  # it may have been looked up in another environment
    return list(order["arguments"])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
