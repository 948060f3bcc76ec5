"""Fixtures that start the installed programs as users do, with a home directory and the sandbox."""

import contextlib
import os
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.cli import program as commands
from qualtrics_exporter.sandbox import Account
from tests.cli.qex import Qex
from tests.support.clock import SteeredClock
from tests.support.forking import Forked, fork
from tests.support.sandbox import Certificates, SandboxThread
from tests.support.stage import Stage
from tests.support.waiting import HANG_SECONDS

PROGRAM = Path(sysconfig.get_path("scripts")) / "qualtrics-exporter"
SAMPLE = ROOT / "samples" / "teams-rollout.yaml"
PEOPLE = {f"{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}
"""The distinct addresses in the eight rows of the sandbox."""


@dataclass(frozen=True)
class Program:
    """`qualtrics-exporter` in an empty home directory. Python warnings are errors."""

    home: Path
    variables: dict[str, str]
    command: tuple[str, ...] = (str(PROGRAM),)

    def __call__(
        self, *arguments: str | Path, code: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the program until it exits, and check its exit code."""
        result = subprocess.run(
            [*self.command, *map(str, arguments)],
            env=self.environment(options.pop("env", {})),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            **options,
        )
        assert "Traceback" not in result.stderr
        assert code is None or result.returncode == code, (
            f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        )
        return result

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start the program, and return while it runs."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        command = [*self.command, *map(str, arguments)]
        return subprocess.Popen(command, env=self.environment({}), cwd=self.home, **options)

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """The environment variables of the program, without those of the developer."""
        base = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONWARNINGS": "error"}
        return {**base, **self.variables, **more}


@dataclass(frozen=True)
class InProcessProgram(Program):
    """The program, called in this process. For commands that only read: starting a process takes half a second."""

    def __call__(
        self, *arguments: str | Path, code: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Call the program, and check its exit code."""
        command = list(map(str, arguments))
        variables: dict[str, str | None] = dict.fromkeys(os.environ) | self.environment(options.pop("env", {}))
        with contextlib.chdir(self.home):
            result = CliRunner().invoke(commands, command, prog_name="qualtrics-exporter", env=variables, **options)
        # The installed program replaces an unexpected error with a sentence. Here the test shows the error itself.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert code is None or result.exit_code == code, (
            f"exit code {result.exit_code}\n{result.stdout}\n{result.stderr}"
        )
        return subprocess.CompletedProcess(command, result.exit_code, result.stdout, result.stderr)


class RunningProcess:
    """A process of `FastForwardProgram`, with the methods of `subprocess.Popen` that tests need."""

    def __init__(self, process: Forked, output: Path, errors: Path) -> None:
        self._process, self._output, self._errors = process, output, errors

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that ended the process; None while it runs."""
        return self._process.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        self._process.send_signal(number)

    def communicate(self, timeout: float = HANG_SECONDS) -> tuple[str, str]:
        """Wait until the process ends, and return its standard output and standard error."""
        self._process.wait(timeout)
        return self._output.read_text(), self._errors.read_text()


@dataclass(frozen=True)
class FastForwardProgram(Program):
    """The program without waiting, in forked processes: see `tests/cli/fast_forward.py`."""

    def __call__(
        self, *arguments: str | Path, code: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the program until it exits, and check its exit code."""
        process = self.start(*arguments, **options)
        out, err = process.communicate()
        assert "Traceback" not in err
        assert code is None or process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess([*map(str, arguments)], process.returncode or 0, out, err)

    def start(  # type: ignore[override]
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        input: str = "",  # noqa: A002 - the name of the argument in subprocess
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> RunningProcess:
        """Start the program, and return while it runs."""
        output, errors, stdin = (Path(tempfile.mkstemp(dir=self.home.parent)[1]) for _ in range(3))
        stdin.write_text(input)
        with output.open("wb") as out, errors.open("wb") as err, stdin.open("rb") as inp:
            process = fork(
                "tests.cli.fast_forward",
                [*map(str, arguments)],
                self.environment({**(env or {})}),
                out if stdout is None else stdout,
                self.home,
                errors=err.fileno() if stderr is None else stderr,
                standard_input=inp.fileno(),
            )
        return RunningProcess(process, output, errors)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home directory."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def program(home: Path) -> Program:
    """The installed program."""
    return Program(home, {})


@pytest.fixture
def in_process(home: Path) -> InProcessProgram:
    """The program, called in the process of the tests."""
    return InProcessProgram(home, {})


@pytest.fixture
def qex(stage: Stage, home: Path) -> Qex:
    """`kubectl qex` of an administrator of the namespace."""
    return Qex(stage.cluster.kubeconfig, home, stage.namespace)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A private certificate authority and its certificates."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def sandbox(certificates: Certificates, tmp_path: Path) -> Iterator[SandboxThread]:
    """Nexthink and Qualtrics over HTTPS. Imports finish at once, and `FastForwardProgram` moves the clock."""
    account = Account.default()
    account.import_seconds = account.import_polls = 0
    with SandboxThread(SteeredClock(tmp_path / "clock"), certificates.server, account) as running:
        yield running
        assert running.recorder.errors == []


class LocalRun:
    """`qualtrics-exporter run` on the sample, against the sandbox."""

    def __init__(self, program: Program, sandbox: SandboxThread) -> None:
        self.program = program
        self.sandbox = sandbox
        self.exporter = program.home / "exporter.yaml"
        self.secrets = program.home / "secrets.yaml"
        self.journal = program.home / ".local/state/qualtrics-exporter/dex/teams-rollout.json"
        self.write(plain_yaml.read(SAMPLE.read_text()))
        self.secrets.write_text(
            yaml.safe_dump_all(
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}
                for name, keys in sandbox.secrets().items()
            )
        )

    def write(self, *documents: Any) -> None:
        """Write these documents to the file of the exporter."""
        self.exporter.write_text(yaml.safe_dump_all(documents, sort_keys=False))

    def change(self, **spec: Any) -> None:
        """Change fields of the spec."""
        body = plain_yaml.read(self.exporter.read_text())
        body["spec"].update(spec)
        self.write(body)

    def arguments(self, *more: str | Path) -> list[str | Path]:
        """The arguments of the command."""
        return ["run", self.exporter, "--secrets", self.secrets, "--allowed-host", "localhost", *more]

    def __call__(self, *more: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command until it exits."""
        return self.program(*self.arguments(*more), **options)

    def start(self, *more: str | Path, **options: Any) -> subprocess.Popen[str] | RunningProcess:
        """Start the program, and return while it runs."""
        return self.program.start(*self.arguments(*more), **options)

    def mailed(self) -> set[str]:
        """The people who got a mail, after checking that nobody got two."""
        mails = self.sandbox.recorder.mails()
        assert set(mails.values()) <= {1}, "somebody got two mails"
        return set(mails)


@pytest.fixture
def installed_run(program: Program, sandbox: SandboxThread, certificates: Certificates) -> LocalRun:
    """The command `run` of the installed program, on the sample."""
    program.variables["SSL_CERT_FILE"] = str(certificates.authority)
    return LocalRun(program, sandbox)


@pytest.fixture
def run(installed_run: LocalRun) -> LocalRun:
    """The command `run` on the sample, without waiting."""
    program = installed_run.program
    program.variables["QUALTRICS_EXPORTER_TEST_CLOCK"] = str(program.home.parent / "clock")
    return LocalRun(FastForwardProgram(program.home, program.variables), installed_run.sandbox)
