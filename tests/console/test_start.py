"""The console stops at once, also while it starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hack.limits import HANG_SECONDS

KUBECTL = """#!/bin/sh
case $1 in
  config) echo '{}' ;;
  proxy) echo 'Open this page to log in' >&2; sleep 86400 & wait ;;
esac
"""
"""A login that the user does not finish. Its plugin keeps the standard error of kubectl open."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_during_the_start_stops_the_console(tmp_path: Path, number: int) -> None:
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    console = subprocess.Popen(
        [sys.executable, "-c", "from qualtrics_exporter.cli.qex import main; main()", "dashboard", "--no-browser"],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert console.stderr
    assert console.stderr.readline() == "Open this page to log in\n"
    console.send_signal(number)
    output, errors = console.communicate(timeout=HANG_SECONDS)
    assert (output, errors, console.returncode) == ("", "", 0)
    assert [each for each in tmp_path.iterdir() if each != program] == []
