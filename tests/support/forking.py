"""Starts operators as forks of a process that has already imported all modules: a fork server.

Importing the operator takes a second of processor time, and the tests start it more than a hundred times. A forked
process is like any other: it has its own environment, folder, output and exit code, and can be killed. It shares only
the state of the imported modules at the time of the fork. The operator of the demo is not forked.

This module is also the program of the fork server. The fork server ends with the process that started it, and kills the
forked processes.
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

from hack.files import ROOT
from tests.support.waiting import HANG_SECONDS

MODULES = ("tests.support.operator", "tests.faults.local_process", "tests.cli.fast_forward")

LARGEST_MESSAGE = 200_000


class Forked:
    """A forked process, with some of the methods of `subprocess.Popen`."""

    def __init__(self, server: "_ForkServerClient", pid: int) -> None:
        self._server = server
        self.pid = pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended it. None if no exit was reported yet."""
        return self._server.exit_codes.get(self.pid)

    def poll(self) -> int | None:
        """Return the exit code if the process has ended, otherwise None."""
        self._server.receive_until_exit(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float = HANG_SECONDS) -> int:
        """Wait until the process ends. Raise subprocess.TimeoutExpired after `timeout` seconds."""
        self._server.receive_until_exit(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it has not ended."""
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
    """Call `main` of one of `MODULES` with these arguments, in a new process.

    Without `errors`, its standard error goes to `output`. Without `standard_input`, its standard input is empty.
    """
    output_descriptor = output if isinstance(output, int) else output.fileno()
    descriptors = {1: output_descriptor, 2: output_descriptor if errors is None else errors}
    if standard_input is not None:
        descriptors[0] = standard_input
    request = {
        "module": module,
        "arguments": list(arguments),
        "environment": dict(environment),
        "folder": str(folder),
        "standard": list(descriptors),
    }
    return _fork_server().fork(request, list(descriptors.values()))


@cache
def _fork_server() -> "_ForkServerClient":
    client = _ForkServerClient()
    atexit.register(client.end)
    return client


class _ForkServerClient:
    """The client of the fork server, which reports each process that ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, server_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", __name__, str(server_socket.fileno())]
        with server_socket:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[server_socket.fileno()],
                cwd=ROOT,
                start_new_session=True,
            )
        self.exit_codes: dict[int, int] = {}
        self._started: list[int] = []

    def fork(self, request: Mapping[str, Any], descriptors: list[int]) -> Forked:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
            while not self._started:
                self._receive()
            pid = self._started.pop()
            return Forked(self, pid)

    def receive_until_exit(self, pid: int, timeout: float) -> None:
        """Receive messages until the process has ended, or for so many seconds."""
        deadline = time.monotonic() + timeout
        while pid not in self.exit_codes:
            left = max(0.0, deadline - time.monotonic())
            with self._lock:  # only briefly: another thread may fork a process
                received = select.select([self._socket], [], [], min(left, 0.05))[0]
                if received:
                    self._receive()
            if not received and left <= 0:
                return

    def _receive(self) -> None:
        message = self._socket.recv(LARGEST_MESSAGE)
        if not message:
            raise AssertionError("the fork server has exited")
        report: dict[str, int] = json.loads(message)
        if "code" in report:
            self.exit_codes[report["pid"]] = report["code"]
        else:
            self.exit_codes.pop(report["pid"], None)  # of an earlier process with the same id
            self._started.append(report["pid"])

    def end(self) -> None:
        self._socket.close()
        self._process.wait()


def main(number: int) -> int:
    """Import the modules, then fork a process for each request, until the client has ended."""
    programs = {module: import_module(module) for module in MODULES}
    for module in ("cli.controller", "cli.run", "controller.app", "controller.probes", "export.steps"):
        import_module(f"qualtrics_exporter.{module}")
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=number)
    wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    running: set[int] = set()
    while True:
        readable, _, _ = select.select([requests, wakeup_read], [], [])
        if wakeup_read in readable:
            os.read(wakeup_read, 4096)
            for pid in tuple(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    running.discard(pid)
                    with suppress(OSError):
                        requests.send(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode())
        if requests in readable:
            message, descriptors, _, _ = socket.recv_fds(requests, LARGEST_MESSAGE, 3)
            if not message:
                break
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                requests.close()
                os.close(wakeup_read)
                os.close(wakeup_write)
                gc.unfreeze()
                request = json.loads(message)
                return int(programs[request["module"]].main(_set_up(request, descriptors)))
            for descriptor in descriptors:
                os.close(descriptor)
            running.add(pid)
            try:
                requests.send(json.dumps({"pid": pid}).encode())
            except OSError:  # the client has ended
                break
    for pid in running:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return 0


def _set_up(request: Mapping[str, Any], descriptors: Sequence[int]) -> list[str]:
    """Set up this process as requested, and return its arguments."""
    for descriptor, standard in zip(descriptors, request["standard"], strict=True):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    tempfile.tempdir = None  # it may come from another environment
    return list(request["arguments"])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
