"""The installed program, started as users start it, and what it needs around it."""

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

from qualtrics_exporter.cli import program as commands
from qualtrics_exporter.sandbox import Account
from tests.environment import plain_yaml
from tests.environment.build import ROOT
from tests.environment.clock import SteeredClock
from tests.environment.forking import Forked, fork
from tests.environment.sandbox import Certificates, SandboxThread
from tests.environment.waiting import HANG_SECONDS

PROGRAM = Path(sysconfig.get_path("scripts")) / "qualtrics-exporter"
SAMPLE = ROOT / "samples" / "teams-rollout.yaml"
PEOPLE = {f"{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}
"""To mail, of the sandbox's eight rows."""


@dataclass(frozen=True)
class Program:
    """`qualtrics-exporter` in a home of its own, where any Python warning is an error."""

    home: Path
    variables: dict[str, str]
    command: tuple[str, ...] = (str(PROGRAM),)

    def __call__(
        self, *arguments: str | Path, code: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, and see that it ends as it should."""
        ended = subprocess.run(
            [*self.command, *map(str, arguments)],
            env=self.environment(options.pop("env", {})),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            **options,
        )
        assert "Traceback" not in ended.stderr
        assert code is None or ended.returncode == code, f"exit code {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        return ended

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start it and look at it later."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        command = [*self.command, *map(str, arguments)]
        return subprocess.Popen(command, env=self.environment({}), cwd=self.home, **options)

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """Nothing of the developer's own settings."""
        own = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONWARNINGS": "error"}
        return {**own, **self.variables, **more}


@dataclass(frozen=True)
class Called(Program):
    """The same without a process of its own: for commands that only read, and end. A process costs half a second."""

    def __call__(
        self, *arguments: str | Path, code: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Call it, and see that it ends as it should."""
        command = list(map(str, arguments))
        variables: dict[str, str | None] = dict.fromkeys(os.environ) | self.environment(options.pop("env", {}))
        with contextlib.chdir(self.home):
            ended = CliRunner().invoke(commands, command, prog_name="qualtrics-exporter", env=variables, **options)
        # The whole program tells such an error in a sentence; here it is to be seen.
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        assert code is None or ended.exit_code == code, f"exit code {ended.exit_code}\n{ended.stdout}\n{ended.stderr}"
        return subprocess.CompletedProcess(command, ended.exit_code, ended.stdout, ended.stderr)


class Started:
    """A process of `Hurried`; as far as it goes, with the methods of `subprocess.Popen`."""

    def __init__(self, process: Forked, output: Path, errors: Path) -> None:
        self._process, self._output, self._errors = process, output, errors

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal that ended it; None before that."""
        return self._process.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        self._process.send_signal(number)

    def communicate(self, timeout: float = HANG_SECONDS) -> tuple[str, str]:
        """Wait for its end; returns what it wrote."""
        self._process.wait(timeout)
        return self._output.read_text(), self._errors.read_text()


@dataclass(frozen=True)
class Hurried(Program):
    """The same without its pauses, in processes that need not load it: see `tests/cli/hurried.py`."""

    def __call__(
        self, *arguments: str | Path, code: int | None = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, and see that it ends as it should."""
        started = self.start(*arguments, **options)
        out, err = started.communicate()
        assert "Traceback" not in err
        assert code is None or started.returncode == code, f"exit code {started.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess([*map(str, arguments)], started.returncode or 0, out, err)

    def start(  # type: ignore[override]
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        input: str = "",  # noqa: A002 - as subprocess calls it
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> Started:
        """Start it and look at it later."""
        output, errors, given = (Path(tempfile.mkstemp(dir=self.home.parent)[1]) for _ in range(3))
        given.write_text(input)
        with output.open("wb") as out, errors.open("wb") as err, given.open("rb") as inp:
            process = fork(
                "tests.cli.hurried",
                [*map(str, arguments)],
                self.environment({**(env or {})}),
                out if stdout is None else stdout,
                self.home,
                errors=err.fileno() if stderr is None else stderr,
                standard_input=inp.fileno(),
            )
        return Started(process, output, errors)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home without anything in it."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def program(home: Path) -> Program:
    """The program, with no remote side that it could reach."""
    return Program(home, {})


@pytest.fixture
def called(home: Path) -> Called:
    """The program's commands, called where a process of its own would show no more."""
    return Called(home, {})


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A private authority."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def sandbox(certificates: Certificates, tmp_path: Path) -> Iterator[SandboxThread]:
    """Both remote sides over HTTPS, with imports that do not dawdle. `Hurried` makes their time pass."""
    account = Account.default()
    account.import_seconds = account.import_polls = 0
    with SandboxThread(SteeredClock(tmp_path / "clock"), certificates.server, account) as running:
        yield running
        assert running.ledger.errors == []


class Local:
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
        """Put these in the exporter's file."""
        self.exporter.write_text(yaml.safe_dump_all(documents, sort_keys=False))

    def change(self, **spec: Any) -> None:
        """Change fields of the spec."""
        body = plain_yaml.read(self.exporter.read_text())
        body["spec"].update(spec)
        self.write(body)

    def arguments(self, *more: str | Path) -> list[str | Path]:
        """The whole command but the program."""
        return ["run", self.exporter, "--secrets", self.secrets, "--allowed-host", "localhost", *more]

    def __call__(self, *more: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return self.program(*self.arguments(*more), **options)

    def start(self, *more: str | Path, **options: Any) -> subprocess.Popen[str] | Started:
        """Start it and look at it later."""
        return self.program.start(*self.arguments(*more), **options)

    def mailed(self) -> set[str]:
        """Who got mail; nobody ever gets two."""
        mails = self.sandbox.ledger.mails()
        assert set(mails.values()) <= {1}, "somebody was mailed twice"
        return set(mails)


@pytest.fixture
def as_installed(program: Program, sandbox: SandboxThread, certificates: Certificates) -> Local:
    """The command `run` on the sample."""
    program.variables["SSL_CERT_FILE"] = str(certificates.authority)
    return Local(program, sandbox)


@pytest.fixture
def run(as_installed: Local) -> Local:
    """The same without its pauses."""
    program = as_installed.program
    program.variables["QUALTRICS_EXPORTER_TEST_CLOCK"] = str(program.home.parent / "clock")
    return Local(Hurried(program.home, program.variables), as_installed.sandbox)
