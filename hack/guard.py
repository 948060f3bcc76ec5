"""Cleans up after a process that was killed, such as a test run: kills its processes and removes its folder.

A killed process cannot clean up, and a control plane that keeps running holds 300 MB and a port. The guard is a
separate process, and its standard input is a pipe from the test run. When the pipe closes, for any reason, the run has
ended. The parent-death signal of the kernel is not an alternative: the kernel sends it when the *thread* that started
the process ends, so the end of a worker thread would kill the control plane. It must also be set between fork and exec,
and it does not remove the folder.

Run as `python guard.py FOLDER [CGROUP…]`. FOLDER is empty if the process has none. Each line on standard input lists
the process groups to kill, and replaces the previous list. The guard removes the cgroups when they contain no
processes.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE_SECONDS = 10.0


def temporary_folder() -> Path:
    """Create a folder with a short path: the path of a socket has at most 107 bytes, and TMPDIR can be long."""
    parent = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="qex-", dir=parent if len(parent) < 64 else "/tmp"))


class Guard:
    """The process that cleans up if this process is killed: it removes the folder and the cgroups."""

    def __init__(self, folder: Path | None = None, cgroups: Sequence[Path] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(folder or ""), *map(str, cgroups)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def watch(self, *groups: int) -> None:
        """Kill these process groups, and not those of an earlier call, if this process is killed."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # the guard was killed: this is not an error
            self._process.stdin.write(" ".join(map(str, groups)) + "\n")
            self._process.stdin.flush()

    def stop(self) -> None:
        """Let the guard clean up what is left, and wait until it ends."""
        self._process.communicate()  # closes its standard input, which ends it


def main(folder: Path | None, cgroups: list[Path]) -> None:
    """Wait for the end of standard input, then clean up."""
    groups: list[int] = []
    for line in sys.stdin:
        groups = [int(word) for word in line.split()]
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)  # also kills a stopped process
        except ProcessLookupError:
            continue
    remove_cgroups(cgroups)
    if folder is None:
        return
    for _ in range(100):  # a process that is exiting may still write
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.1)


def remove_cgroups(groups: list[Path]) -> None:
    """Remove cgroups and their descendants when their processes have exited."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while groups := [group for group in groups if group.exists()]:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:  # a process in it is still exiting
                    continue
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1] else None, [Path(argument) for argument in sys.argv[2:]])
