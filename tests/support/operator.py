"""The operator as a separate process, as users run it, but with a clock that the test controls.

As a program, this module is the `controller` command with such a clock. `Operator` starts, kills and stops it.
"""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from hack.files import ROOT
from tests.support import guarded
from tests.support.forking import Forked, fork
from tests.support.waiting import HANG_SECONDS, eventually


class Operator:
    """One operator process. Its complete log is kept, for tests that search it for secrets."""

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        *arguments: str,
        clock: Path | None = None,
        ca: Path | None = None,
        environment: Mapping[str, str] | None = None,
        forked: bool = True,
    ) -> None:
        """Without `forked`, start a new Python process, as users do. Measurements and tests of the start need that."""
        self._forked = forked
        self._kubeconfig = kubeconfig
        self.folder = folder
        """Its logs, home and temporary files: everything that it can write to the disk."""
        self._arguments = arguments
        self._clock = clock
        self._ca = ca
        self._environment = environment or {}
        self._process: Forked | subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._stopped = False
        self.address = ""
        self._address_file = folder / "address"
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.alive:
            self.kill()
        if self._output:
            self._output.close()  # the process may have exited without `kill`

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def exited_with_error(self) -> bool:
        """Whether it exited with an error. The kubelet would restart it."""
        return self._process is not None and (self._process.poll() or 0) > 0

    @property
    def log(self) -> str:
        """The output of all its processes so far."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def start(self, *, ready: bool = True) -> None:
        """Start the process. With `ready`, wait until it is ready."""
        if self._output:
            self._output.close()
        number = len(list(self.folder.glob("*.log")))
        self._output = (self.folder / f"{number:02d}.log").open("wb")
        address_file = self.folder / f"{number:02d}.address"
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "QUALTRICS_EXPORTER_TEST_ADDRESS_FILE": str(address_file),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            # A restarted process has the same pod name, so it resumes its runs at once. Another operator waits.
            "POD_NAME": self.folder.name,
            **self._environment,
        }
        if self._clock:
            environment["QUALTRICS_EXPORTER_TEST_CLOCK"] = str(self._clock)
        if self._ca:
            environment["SSL_CERT_FILE"] = str(self._ca)
        arguments = ["--http-address", "127.0.0.1:0", *self._arguments]
        if self._forked:
            self._process = fork("tests.support.operator", arguments, environment, self._output, ROOT)
        else:
            command = [sys.executable, "-m", __name__, *arguments]
            self._process = guarded.start(command, env=environment, stdout=self._output, stderr=self._output, cwd=ROOT)
        self._address_file = address_file
        if ready:
            self.serves()
            eventually(lambda: self.get("/readyz") == 200, "the operator is ready")

    def serves(self) -> None:
        """Wait until it serves its probes, also if they fail."""
        self.address = eventually(self._address, "the operator has written the address of its probes")

    def kill(self) -> None:
        """Kill it, as if the node loses power."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop it as the kubelet does, and return the exit code."""
        return self._end(signal.SIGTERM)

    def terminate(self) -> None:
        """Request it to stop as the kubelet does, without waiting."""
        self.send(signal.SIGTERM)

    def wait(self, timeout: float = HANG_SECONDS) -> int:
        """Wait until it exits, and return the exit code."""
        assert self._process
        assert self._output
        code = self._process.wait(timeout)
        if isinstance(self._process, subprocess.Popen):
            guarded.ended(self._process)
        self._output.close()
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal, for example SIGSTOP."""
        assert self._process
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self._stopped = number == signal.SIGSTOP
        self._process.send_signal(number)

    def wait_for_event_loop(self) -> None:
        """Wait until its event loop has responded once, if the process is running."""
        if self.address and self.alive and not self._stopped:
            self.get("/livez")

    def get(self, path: str) -> int:
        """Return the HTTP status of one of its probes, or 0 without a response."""
        try:
            with urllib.request.urlopen(f"{self.address}{path}", timeout=HANG_SECONDS) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def metrics(self) -> str:
        """Return its metrics page."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=HANG_SECONDS) as reply:
            return str(reply.read().decode())

    def all_output(self) -> dict[str, str]:
        """Return all its output by name: its logs, its metrics, and the files below its home."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        left = {f"{self.folder.name}/{path.name}": path.read_bytes().decode(errors="replace") for path in files}
        left[f"{self.folder.name}'s metrics"] = eventually(self._last_metrics, "it serves its metrics, or has ended")
        return left

    def _last_metrics(self) -> str:
        """Its metrics page; a blank if it has ended, and nothing while it ends."""
        if not self.alive:
            return " "
        try:
            return self.metrics()
        except OSError:
            return ""

    def peak_memory(self) -> int:
        """Return the peak of the memory of the process, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise LookupError("VmHWM")

    def _end(self, number: signal.Signals) -> int:
        assert self._process
        if self._process.poll() is None:
            self.send(signal.SIGCONT)
            self._process.send_signal(number)
        return self.wait()

    def _address(self) -> str | None:
        assert self._process
        if self._process.poll() is not None:
            raise AssertionError(f"the operator ended with {self._process.returncode}:\n{self.log}")
        return f"http://{self._address_file.read_text()}" if self._address_file.exists() else None


def main(arguments: Sequence[str]) -> int:
    """Run `controller` with the clock of the test, and write the address of the probes, which use a free port."""
    from qualtrics_exporter.cli import main as command
    from qualtrics_exporter.controller import app
    from qualtrics_exporter.controller.election.leader_election import LeaderElection
    from tests.faults import mutants
    from tests.support.clock import SteeredClock
    from tests.support.lease_time import LEASE_SECONDS, RETRY_SECONDS, LeasedClock, LeaseLoop

    clock_file, address_file = (os.environ.get(f"QUALTRICS_EXPORTER_TEST_{n}") for n in ("CLOCK", "ADDRESS_FILE"))
    leases_file = os.environ.get("QUALTRICS_EXPORTER_TEST_LEASES")
    clock = SteeredClock(Path(clock_file)) if clock_file else None
    parts = app.Parts(on_listening=lambda host, port: _write(Path(address_file or os.devnull), f"{host}:{port}"))
    if in_progress := os.environ.get("QUALTRICS_EXPORTER_TEST_IN_PROGRESS"):
        parts = replace(parts, max_in_progress=int(in_progress))
    if leases_file:
        deadline, leases = LEASE_SECONDS * 2 / 3, SteeredClock(Path(leases_file))
        elect = partial(LeaderElection, lease=LEASE_SECONDS, deadline=deadline, retry=RETRY_SECONDS)
        parts = replace(parts, loop=partial(LeaseLoop, leases), elect=elect, max_write_seconds=deadline)
        clock = LeasedClock(Path(clock_file), leases) if clock_file else None
    sys.argv = ["qualtrics-exporter", "controller", *arguments]
    with mutants.applied(os.environ.get("QUALTRICS_EXPORTER_TEST_MUTANT")):
        command(partial(app.run, clock=clock, parts=parts))
    return 0


def _write(file: Path, text: str) -> None:
    """Write a file in one step, so that no reader sees a part of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
