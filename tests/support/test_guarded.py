"""A test process that is killed leaves no servers behind."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.files import ROOT
from tests.support import guarded
from tests.support.waiting import HANG_SECONDS

STARTS_PROMETHEUS = """
import sys
from pathlib import Path
from tests.support import guarded
from tests.support.alertmanager import Alertmanager, to_webhook
from tests.support.prometheus import Prometheus

folder = Path(sys.argv[1])
with Alertmanager(folder / "a", to_webhook("http://127.0.0.1:9")), Prometheus(folder / "p"):
    print(*guarded._groups()._known, flush=True)
    sys.stdin.read()
"""
STARTS_SLEEP = """
import sys
from tests.support import guarded

ended = guarded.start(["true"])
ended.wait()
guarded.ended(ended)
print(guarded.start(["sleep", "infinity"]).pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def started() -> Iterator[list[int]]:
    """The processes that a test must end if it fails."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def kill_a_test_process(code: str, folder: Path, number: signal.Signals, started: list[int]) -> list[bool]:
    """Run this code, send a signal to it, and return for each process that it printed whether it has ended."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as run:  # fmt: skip
        started.append(run.pid)
        assert run.stdout
        pids = [int(word) for word in run.stdout.readline().split()]
        assert pids
        started += pids
        descriptors = [os.pidfd_open(pid) for pid in pids]
        run.send_signal(number)
    try:
        return [bool(select.select([one], [], [], HANG_SECONDS)[0]) for one in descriptors]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_killed_process_leaves_no_server(number: signal.Signals, tmp_path: Path, started: list[int]) -> None:
    assert kill_a_test_process(STARTS_SLEEP, tmp_path, number, started) == [True]


@pytest.mark.usefixtures("real_prometheus")
def test_a_terminated_process_leaves_neither_prometheus_nor_alertmanager(tmp_path: Path, started: list[int]) -> None:
    assert kill_a_test_process(STARTS_PROMETHEUS, tmp_path, signal.SIGTERM, started) == [True, True]


def test_a_server_is_in_a_process_group_of_its_own_and_can_be_ended(started: list[int]) -> None:
    server = guarded.start(["sleep", "infinity"])
    started.append(server.pid)
    assert os.getpgid(server.pid) == server.pid != os.getpgid(0)
    server.kill()
    assert server.wait() == -signal.SIGKILL
    guarded.ended(server)
