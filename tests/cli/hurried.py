"""`qualtrics-exporter` without its pauses, which `tests/environment/forking.py` calls in a process of its own.

A run gives Qualtrics seconds before it asks how an import went, and longer after a refusal. Here who sleeps makes the
time pass, also for the sandbox. To start the installed program would cost most of what a test here needs. Nothing else
differs. A few tests start the installed program itself, to see that this makes no difference.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from qualtrics_exporter.cli import main as command
from qualtrics_exporter.cli import without_cluster
from tests.environment.clock import HastyClock


def main(arguments: Sequence[str]) -> int:
    """Call the program."""
    if os.environ.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")  # only a process that begins reads the variable
    clock = Path(os.environ["QUALTRICS_EXPORTER_TEST_CLOCK"])
    without_cluster.SystemClock = lambda: HastyClock(clock)  # type: ignore[assignment, misc]
    sys.argv = ["qualtrics-exporter", *arguments]
    command()
    return 0
