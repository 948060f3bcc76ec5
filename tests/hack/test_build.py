"""The progress of a build that takes long."""

import sys
from unittest import mock

import pytest

from hack import build


def test_progress_on_a_terminal_overwrites_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(sys.stderr, "isatty", return_value=True, create=True):
        progress = build.Progress("Building", lambda: "package 1 of 3")
        progress.show()
        progress.started -= 1
        progress.show()
        progress.end()

    lines = [f"\r\033[KBuilding: package 1 of 3, {seconds} s" for seconds in (0, 1)]
    assert capsys.readouterr().err == "".join(lines) + "\n"


def test_progress_in_a_pipe_is_one_line_every_20_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    progress = build.Progress("Building")
    for _ in range(41):
        progress.show()
        progress.started -= 1
    progress.end()

    assert capsys.readouterr().err == "Building: 0 s\nBuilding: 20 s\nBuilding: 40 s\n"
