"""The console stops at once, also while it starts."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from hack.limits import HANG_SECONDS

KUBECTL = """#!/bin/sh
case $1 in
  config) echo '{}' ;;
  proxy) exec 3>"$TMPDIR/alive"; echo 'Open this page to log in' >&2; sleep 86400 & wait ;;
esac
"""
"""A login that the user does not finish. Its plugin keeps the standard error of kubectl open, and both keep `alive`."""


@contextmanager
def logging_in(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], TextIO]]:
    """A console whose kubectl waits for a login, and a pipe that ends when kubectl and its plugin have."""
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    os.mkfifo(tmp_path / "alive")
    with (
        subprocess.Popen(
            [sys.executable, "-c", "from qualtrics_exporter.cli.qex import main; main()", "dashboard", "--no-browser"],
            env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as console,
        (tmp_path / "alive").open() as alive,
    ):
        assert console.stderr
        assert console.stderr.readline() == "Open this page to log in\n"
        yield console, alive


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_during_the_start_stops_the_console(tmp_path: Path, number: int) -> None:
    with logging_in(tmp_path) as (console, alive):
        console.send_signal(number)
        output, errors = console.communicate(timeout=HANG_SECONDS)
        assert (output, errors, console.returncode) == ("", "", 0)
        assert alive.read() == ""
    assert {each.name for each in tmp_path.iterdir()} == {"kubectl", "alive"}


def test_proxy_ends_with_a_console_that_is_killed(tmp_path: Path) -> None:
    with logging_in(tmp_path) as (console, alive):
        console.kill()
        assert alive.read() == ""
