"""Builds results once, below the ignored folder `.tools/`, and shows the progress of commands that take long.

The name of a result contains a hash of everything that it depends on. So a change builds it again, and switching
branches costs nothing.
"""

import fcntl
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hack.files import ROOT

TOOLS = ROOT / ".tools"


class BuildError(Exception):
    """A result cannot be built. The message names what is missing, or contains the output of the failed command."""


def call(
    command: Sequence[str],
    what: str,
    detail: Callable[[str], str] = lambda _output: "",
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program that takes long, and return its output. Raise BuildError if it fails.

    While it runs, standard error shows the time and the progress, which `detail` computes from the output so far.
    """
    with tempfile.NamedTemporaryFile("w") as file:
        output = Path(file.name)
        progress = Progress(what, lambda: detail(output.read_text(errors="replace")))
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        ) as process:
            try:
                while process.poll() is None:
                    progress.show()
                    time.sleep(0.2)
            finally:
                process.kill()
                progress.end()
        text = output.read_text(errors="replace")
    if process.returncode != 0:
        raise BuildError(f"{' '.join(command)}{f' in {folder}' if folder else ''} failed:\n{text[-4000:]}")
    return text


@contextmanager
def create_once(place: Path, activity: str) -> Iterator[Path | None]:
    """Yield a path for a new file or folder, which is then moved to `place`. If `place` exists already, yield None.

    If several processes call this, one creates it and the others wait. The parent of the path is for intermediate
    files.
    """
    if not place.exists():
        kind = place.name.partition("-")[0]
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.parent / f"{kind}.lock", f"Another process is {activity}: waiting"):
            if not place.exists():  # another process may have created it in the meantime
                for leftover in place.parent.glob(f"making-{kind}-*"):  # left by a process that was killed
                    shutil.rmtree(leftover, ignore_errors=True)
                with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"making-{kind}-") as folder:
                    result = Path(folder) / place.name
                    yield result
                    result.replace(place)
                return
    yield None


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold a lock between processes. The kernel releases it when the process ends or is killed."""
    with path.open("w") as file:
        progress = Progress(waiting)
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress.show()
                time.sleep(0.2)
        progress.end()
        yield


@dataclass
class Progress:
    """Shows how long an operation takes: on a terminal as one line that is updated, otherwise as a line every 20 s."""

    what: str
    detail: Callable[[], str] = lambda: ""
    """Returns the progress, or an empty string."""
    started: float = field(default_factory=time.monotonic)
    shown: int = -1

    def show(self) -> None:
        """Show the elapsed seconds, if the next line is due. Call this often."""
        terminal = sys.stderr.isatty()
        seconds = int(time.monotonic() - self.started)
        if self.shown < 0 or seconds - self.shown >= (1 if terminal else 20):
            self.shown = seconds
            text = f"{self.what}: {', '.join(filter(None, [self.detail(), f'{seconds} s']))}"
            sys.stderr.write(f"\r\033[K{text}" if terminal else f"{text}\n")
            sys.stderr.flush()

    def end(self) -> None:
        """End the line on a terminal, if there is one."""
        if self.shown >= 0 and sys.stderr.isatty():
            sys.stderr.write("\n")
