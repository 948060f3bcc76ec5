"""Cleans up after a test run that was killed: ends its processes, removes its folder.

A process that is killed cannot clean up, and a control plane left behind keeps 300 MB and a port. The guard is a
process of its own whose standard input is a pipe held by the run: when that closes, for whatever reason, the run is
over. This was chosen over the kernel's parent-death signal because that one follows the *thread* that started the
process (a worker thread that ends would take the control plane along), has to be set between fork and exec, and
removes no folder.

Run as `python guard.py FOLDER`. Each line on standard input has the process groups to end, in place of those before.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path


def main(folder: Path) -> None:
    """Wait for the end of standard input, then leave nothing behind."""
    groups: list[int] = []
    for line in sys.stdin:
        groups = [int(word) for word in line.split()]
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)  # ends a stopped process too
        except ProcessLookupError:
            continue
    for _ in range(100):  # a process that is ending may still write
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
