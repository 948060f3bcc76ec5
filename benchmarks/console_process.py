"""Opens `kubectl qex dashboard` as a browser does, and prints as JSON how long its pages took, in seconds.

Usage: python -m benchmarks.console_process KUBECONFIG NAMESPACE
"""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.processes import HANG_SECONDS, peak_memory
from hack.programs import installed

PR_SET_PDEATHSIG = 1
READING = "Reading the exporters"
SHOWN = re.compile(r"([0-9\u202f]+) exporters")


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _console(kubeconfig: str, namespace: str) -> Iterator[tuple[int, str]]:
    """The process of the console, and its address."""
    path = f"{installed('kubectl').parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(  # noqa: S603  a program of this repository
        [installed("kubectl-qex"), "dashboard", "--no-browser", "--namespace", namespace],
        env={**os.environ, "PATH": path, "KUBECONFIG": kubeconfig},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509  no other thread runs
    )
    assert process.stdout  # noqa: S101  it is a pipe
    try:
        yield process.pid, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def _timed(url: str, cookie: str) -> tuple[float, str]:
    """The seconds of a page, and its text."""
    began = time.monotonic()
    request = urllib.request.Request(url, headers={"Cookie": cookie})  # noqa: S310  a local server
    with urllib.request.urlopen(request, timeout=HANG_SECONDS) as reply:  # noqa: S310
        text = reply.read().decode()
    return time.monotonic() - began, text


def main() -> None:
    """Measure, and print the figures."""
    kubeconfig, namespace = sys.argv[1:]
    began = time.monotonic()
    with _console(kubeconfig, namespace) as (pid, address):
        started = time.monotonic() - began
        base = address.partition("?")[0]
        with urllib.request.urlopen(address, timeout=HANG_SECONDS) as reply:  # noqa: S310  a local server
            cookie = reply.headers["Set-Cookie"].partition(";")[0]
        opened = time.monotonic()
        # An empty list is not a first page: the console starts to read when its process starts.
        while not SHOWN.search(_timed(base, cookie)[1]):
            time.sleep(0.01)
        first = time.monotonic() - opened
        slowest = 0.0
        while READING in (page := _timed(base, cookie))[1]:
            slowest = max(slowest, page[0])
            time.sleep(0.05)
        complete = time.monotonic() - opened
        pages = {
            "list": _timed(base, cookie)[0],
            "search": _timed(f"{base}?q=exporter-09999", cookie)[0],
            "last": _timed(f"{base}?page=9999&order=next", cookie)[0],
        }
        memory = peak_memory(pid)
    found = {"started": started, "first": first, "complete": complete, "slowest": slowest, "memory": memory, **pages}
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
