"""Cleans up after a test run that was killed: ends its processes, removes its folder.

A process that is killed cannot clean up, and a control plane left behind keeps 300 MB and a port. The guard is a
process of its own whose standard input is a pipe held by the run: when that closes, for whatever reason, the run is
over. This was chosen over the kernel's parent-death signal because that one follows the *thread* that started the
process (a worker thread that ends would take the control plane along), has to be set between fork and exec, and
removes no folder.

Run as `python guard.py FOLDER [CGROUP…]`. Each line on standard input has the process groups to end, in place of those
before. The cgroups are removed once nothing is left in them.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 10.0


def main(folder: Path, cgroups: list[Path]) -> None:
    """Wait for the end of standard input, then leave nothing behind."""
    groups: list[int] = []
    for line in sys.stdin:
        groups = [int(word) for word in line.split()]
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)  # ends a stopped process too
        except ProcessLookupError:
            continue
    remove_cgroups(cgroups)
    for _ in range(100):  # a process that is ending may still write
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.1)


def remove_cgroups(groups: list[Path]) -> None:
    """Remove groups with all below them, as soon as their processes have ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while groups := [group for group in groups if group.exists()]:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:  # a process in it is still ending
                    continue
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
