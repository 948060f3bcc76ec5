"""Runs the command in a separate process, in which the order of sets is the same each time."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def simulated(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command; its output."""
    call = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
