"""A forked operator behaves like any process: it has an exit code, output and an environment, and can be killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hack.files import ROOT
from tests.support.forking import Forked, fork
from tests.support.waiting import eventually

OPERATOR = "tests.support.operator"


def start_operator(output: Path, *arguments: str, **environment: str) -> Forked:
    with output.open("wb") as file:
        return fork(
            OPERATOR, arguments, {"PATH": os.environ["PATH"], "HOME": str(output.parent), **environment}, file, ROOT
        )


def test_each_forked_process_has_its_own_exit_code_output_and_environment(tmp_path: Path) -> None:
    invalid_flag = start_operator(tmp_path / "invalid_flag", "--nope")
    help_ = start_operator(tmp_path / "help", "--help")
    invalid_variable = start_operator(tmp_path / "invalid_variable", QUALTRICS_EXPORTER_LOG_LEVEL="loud")
    assert (invalid_flag.wait(), help_.wait(), invalid_variable.wait()) == (2, 0, 2)
    assert "No such option" in (tmp_path / "invalid_flag").read_text()
    assert (tmp_path / "help").read_text().startswith("Usage: qualtrics-exporter controller")
    assert "'loud' is not one of" in (tmp_path / "invalid_variable").read_text()


def test_a_forked_process_can_be_killed_and_leaves_no_zombie(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    os.mkfifo(kubeconfig)  # a process that reads it waits
    process = start_operator(tmp_path / "output", "--http-address", "127.0.0.1:0", KUBECONFIG=str(kubeconfig))
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()
    process.send_signal(signal.SIGKILL)  # a signal to an ended process is ignored


def test_a_forked_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "kubeconfig")
    script = (
        "import os, sys; from pathlib import Path; from tests.support.forking import fork\n"
        f"environment = dict(os.environ, KUBECONFIG={str(tmp_path / 'kubeconfig')!r})\n"
        f"process = fork({OPERATOR!r}, [], environment, sys.stderr, Path.cwd())\n"
        "print(process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    parent = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.returncode == -signal.SIGKILL
    eventually(lambda: not Path(f"/proc/{parent.stdout.strip()}").exists(), "it has ended")
