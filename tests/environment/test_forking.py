"""A forked operator is a process like any other: with an exit code and output of its own, and it can be killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment.build import ROOT
from tests.environment.forking import Forked, fork
from tests.environment.waiting import eventually

OPERATOR = "tests.environment.operator"


def started(output: Path, *arguments: str, **environment: str) -> Forked:
    with output.open("wb") as file:
        return fork(
            OPERATOR, arguments, {"PATH": os.environ["PATH"], "HOME": str(output.parent), **environment}, file, ROOT
        )


def test_its_exit_code_output_and_environment_are_its_own(tmp_path: Path) -> None:
    wrong = started(tmp_path / "wrong", "--nope")
    helped = started(tmp_path / "helped", "--help")
    elsewhere = started(tmp_path / "elsewhere", QUALTRICS_EXPORTER_LOG_LEVEL="loud")
    assert (wrong.wait(), helped.wait(), elsewhere.wait()) == (2, 0, 2)
    assert "No such option" in (tmp_path / "wrong").read_text()
    assert (tmp_path / "helped").read_text().startswith("Usage: qualtrics-exporter controller")
    assert "'loud' is not one of" in (tmp_path / "elsewhere").read_text()


def test_it_can_be_killed_and_is_gone_then(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    os.mkfifo(kubeconfig)  # whoever reads it waits
    process = started(tmp_path / "output", "--http-address", "127.0.0.1:0", KUBECONFIG=str(kubeconfig))
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()
    process.send_signal(signal.SIGKILL)  # nobody is there to get it


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "kubeconfig")
    script = (
        "import os, sys; from pathlib import Path; from tests.environment.forking import fork\n"
        f"environment = dict(os.environ, KUBECONFIG={str(tmp_path / 'kubeconfig')!r})\n"
        f"process = fork({OPERATOR!r}, [], environment, sys.stderr, Path.cwd())\n"
        "print(process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert ended.returncode == -signal.SIGKILL
    eventually(lambda: not Path(f"/proc/{ended.stdout.strip()}").exists(), "it has ended")
