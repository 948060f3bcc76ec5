"""Builds the Go programs that tests and the demo need, once, into the ignored folder `.tools/`.

etcd and kube-apiserver are published as container images and as downloads from sites that many a company network does
not let through; as Go modules they come by the same way as every other dependency. So a small program of ours
(`tests/programs`) links them, and this module compiles it: some minutes for the first time, nothing afterwards.
The file's name carries a hash of all that goes into it: a changed version is built anew, a switch of branches is free.

`python -m tests.environment.build` builds what is missing and prints the path.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "programs"
TOOLS = ROOT / ".tools"

VERSION_PACKAGE = "k8s.io/component-base/version"


class BuildError(Exception):
    """A program could not be built; the message says what is missing or has the compiler's own words."""


def build() -> Path:
    """Return the path of the program for the present source, and build it first if it isn't there yet.

    Safe to be called by several processes at once: one builds, the others wait. The file appears whole or not at all.
    """
    flags = ["-trimpath", "-buildvcs=false", f"-ldflags={link_flags()}"]
    program = TOOLS / f"k8s-{fingerprint(flags)}"
    with made(program, "building the control plane for tests") as result:
        if result:
            compile_program(flags, result)
    return program


def link_flags() -> str:
    """Return the linker's flags: no debug information, and the version that the API server tells.

    Without these a kube-apiserver built from modules calls itself v0.0.0-master, by which clients choose what they do.
    """
    module_file = (SOURCE / "go.mod").read_text()
    version = re.search(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.\S+", module_file)
    if not version:
        raise BuildError(f"{SOURCE / 'go.mod'} requires no k8s.io/kubernetes")
    values = {"gitVersion": version[0].split()[1], "gitMajor": version[1], "gitMinor": version[2]}
    return " ".join(["-s", "-w", *(f"-X {VERSION_PACKAGE}.{name}={value}" for name, value in values.items())])


def fingerprint(flags: list[str]) -> str:
    """Return a short hash of all that makes one build differ from another: source, dependencies, flags, machine."""
    parts = [" ".join(flags), platform.system(), platform.machine()]
    for path in sorted([*SOURCE.glob("*.go"), SOURCE / "go.mod", SOURCE / "go.sum"]):
        parts += [path.name, path.read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def installed(name: str) -> Path:
    """Return a program that a package of this Python environment brought: the pinned one, never the machine's own."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise BuildError(f"{path} is missing: install requirements/dev.txt into this environment")
    return path


def go() -> Path:
    """Return the Go to build with: the machine's if it is new enough, otherwise the one from the development packages.

    The machine's own comes first because its build cache is likely warm.
    """
    required = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?$", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    machine = shutil.which("go")
    if machine and required:
        asked = subprocess.run([machine, "env", "GOVERSION"], capture_output=True, text=True, env=go_environment())
        found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", asked.stdout)
        if found and version_numbers(found) >= version_numbers(required):
            return Path(machine)
    return installed("go")


def version_numbers(match: re.Match[str]) -> tuple[int, ...]:
    """Return a matched version as numbers that compare: 1.26 is 1.26.0."""
    return tuple(int(number or 0) for number in match.groups())


def go_environment() -> dict[str, str]:
    """Return the environment for Go: it neither changes go.mod, nor fetches another Go, nor needs a C compiler.

    Everything else, such as the module proxy and the caches, is the developer's own setting.
    """
    return {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}


def without_collection(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a Go program that ends soon does not collect garbage: up to a third of its work.

    One that needs more memory than usual collects all the same.
    """
    return {"GOGC": "off", "GOMEMLIMIT": "512MiB", **environment}


def compile_program(flags: list[str], output: Path) -> None:
    """Compile `tests/programs` into `output`, telling on standard error how long it has been at it."""
    command = [str(go()), "build", *flags, "-o", str(output), "."]
    what = "Building the control plane for tests (once, takes some minutes)"
    call(command, what, folder=SOURCE, environment=go_environment())


def call(
    command: Sequence[str], what: str, *, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Run a program that takes long, telling on standard error how long it has been at it; BuildError if it fails."""
    progress = Progress(what)
    with tempfile.TemporaryFile("w+") as messages:
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages
        ) as process:
            try:
                while process.poll() is None:
                    progress.show()
                    time.sleep(0.2)
            finally:
                process.kill()
                progress.end()
        if process.returncode != 0:
            messages.seek(0)
            raise BuildError(
                f"{' '.join(command)}{f' in {folder}' if folder else ''} failed:\n{messages.read()[-4000:]}"
            )


@contextmanager
def made(place: Path, doing: str) -> Iterator[Path | None]:
    """Give a path to make something at, which then gets its place whole or not at all; None if it is there already.

    Of several processes one makes it, the others wait. The path's parent is a folder for what is needed on the way.
    """
    if not place.exists():
        kind = place.name.partition("-")[0]
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.parent / f"{kind}.lock", f"Another process is {doing}: waiting"):
            if not place.exists():  # another process may have made it while this one waited
                for left in place.parent.glob(f"making-{kind}-*"):  # by a process that was killed
                    shutil.rmtree(left, ignore_errors=True)
                with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"making-{kind}-") as folder:
                    result = Path(folder) / place.name
                    yield result
                    result.replace(place)
                return
    yield None


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold a lock between processes. The kernel frees it when its holder ends, however that ends."""
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


class Progress:
    """Says that something takes long: one line that counts on a terminal, a plain line now and then in a pipe."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.started = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.interval = 1 if self.terminal else 20
        self.shown = -1

    def show(self) -> None:
        """Show the seconds gone by, if it is time to; to be called often."""
        seconds = int(time.monotonic() - self.started)
        if self.shown < 0 or seconds - self.shown >= self.interval:
            self.shown = seconds
            sys.stderr.write(f"\r{self.what}: {seconds} s" if self.terminal else f"{self.what}: {seconds} s\n")
            sys.stderr.flush()

    def end(self) -> None:
        """Leave the terminal's line, if anything was shown."""
        if self.terminal and self.shown >= 0:
            sys.stderr.write("\n")


if __name__ == "__main__":
    try:
        print(build())
    except BuildError as error:
        sys.exit(str(error))
