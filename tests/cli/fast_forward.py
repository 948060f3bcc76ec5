"""`qualtrics-exporter` without waiting: each sleep moves the clock instead, also for the sandbox.

A run waits seconds before it asks Qualtrics about an import, and longer after a refusal. `tests/support/forking.py`
calls this module in a forked process, because starting the installed program would take most of the time of a test.
Everything else is the same. A few tests start the installed program itself to verify that.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from qualtrics_exporter.cli import main as command
from qualtrics_exporter.cli import without_cluster
from tests.support.clock import AutoAdvancingClock


def main(arguments: Sequence[str]) -> int:
    """Run the program on a clock that each sleep moves."""
    if os.environ.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")  # Python reads the variable only when it starts
    clock = Path(os.environ["QUALTRICS_EXPORTER_TEST_CLOCK"])
    without_cluster.SystemClock = lambda: AutoAdvancingClock(clock)  # type: ignore[assignment, misc]
    sys.argv = ["qualtrics-exporter", *arguments]
    command()
    return 0
