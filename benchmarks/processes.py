"""Child processes of a benchmark: their CPU time, their memory, and an exchange of lines of JSON."""

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent
CPU_CLOCK = 2
"""The kind of the clock in its id, as clock_getcpuclockid(3) has it: the scheduler's time, in nanoseconds."""
HANG_SECONDS = 600.0
"""A child that does not answer for this time hangs."""


class ProcessFailed(Exception):
    """A child ended or did not answer. The message has the end of its standard error."""


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process since its start."""
    try:
        return time.clock_gettime(~pid << 3 | CPU_CLOCK)
    except OSError:
        raise ProcessFailed(f"process {pid} has ended") from None


def resident_memory(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    return _memory(pid, "VmRSS:")


def peak_memory(pid: int) -> int:
    """The highest resident memory of a process since its start, or since `forget_peak`, in bytes."""
    return _memory(pid, "VmHWM:")


def forget_peak(pid: int) -> None:
    """Start over with the peak of the memory of a process."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ProcessFailed(f"process {pid} has ended")


_running: "set[subprocess.Popen[str]]" = set()
_folders: set[Path] = set()


def clean_up() -> None:
    """Kill all children of this process, and remove all its temporary folders."""
    for process in tuple(_running):
        process.kill()
        process.wait()
    for folder in tuple(_folders):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the files of a benchmark."""
    with tempfile.TemporaryDirectory(prefix="qualtrics-exporter-bench-") as name:
        folder = Path(name)
        _folders.add(folder)
        yield folder
    _folders.discard(folder)


class Child:
    """A Python module in a process of its own, as a context manager. Each line that it prints is a JSON document."""

    def __init__(self, module: str, *arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._name = module
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  only modules of this repository
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                text=True,
            )
        _running.add(self._process)
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, name=f"output of {module}", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def receive(self, timeout: float = HANG_SECONDS) -> Any:
        """The next document that the child prints."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise ProcessFailed(f"{self._name} printed nothing for {timeout:g} s\n{self.errors()}") from None
        if line is None:
            raise ProcessFailed(f"{self._name} ended with {self._process.wait()}\n{self.errors()}")
        return json.loads(line)

    def ask(self, **question: Any) -> Any:
        """Send a document to the child, and return its answer."""
        assert self._process.stdin  # noqa: S101  it is a pipe
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ProcessFailed(f"{self._name} ended with {self._process.wait()}\n{self.errors()}") from None
        return self.receive()

    def end(self) -> None:
        """Kill the child, if it still runs."""
        self._process.kill()
        self._process.wait()
        _running.discard(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _read(self) -> None:
        assert self._process.stdout  # noqa: S101  it is a pipe
        try:
            for line in self._process.stdout:
                self._lines.put(line)
        except ValueError:
            pass  # `end` closed the pipe
        self._lines.put(None)

    def errors(self) -> str:
        """The last lines of the standard error."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


def outcome(module: str, *arguments: str, timeout: float = HANG_SECONDS) -> Any:
    """Run a Python module in a process of its own, and return the document that it prints."""
    with temporary_folder() as folder, Child(module, *arguments, log=folder / "child.log") as child:
        return child.receive(timeout)
