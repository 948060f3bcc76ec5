"""Builds the Go programs that tests and the demo need: Kubernetes and Helm.

etcd and kube-apiserver are published as container images and on download sites, which many company networks block. Go
modules come from the module proxy, like every other dependency. So the programs in `tests/programs` link them, and this
module compiles them: `k8s` has everything that the tests run, `controlplane` only what the demo needs. Packages that
both need are compiled once, for Go's build cache.

`python -m hack.programs` builds `k8s` if it is missing and prints its path.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hack.build import TOOLS, BuildError, call, create_once
from hack.files import ROOT

SOURCE = ROOT / "tests" / "programs"

VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Program:
    """A main package of `tests/programs`, or of another Go module of this repository."""

    package: str
    file: str
    """The prefix of the file name. Its first word names the lock, so that only one program is built at a time."""
    title: str
    module: Path | None = None
    """The folder of go.mod, if it is not `tests/programs`."""

    @property
    def folder(self) -> Path:
        """The folder of go.mod."""
        return self.module or SOURCE

    @property
    def flags(self) -> list[str]:
        """The flags of `go build` and `go list`."""
        linked = "-s -w" if self.module else link_flags()
        return ["-trimpath", "-buildvcs=false", f"-ldflags={linked}"]

    @property
    def path(self) -> Path:
        """The path of the program for the current source."""
        return TOOLS / f"{self.file}-{fingerprint(self.flags, self.package, self.module)}"


EVERYTHING = Program("./k8s", "k8s", "Kubernetes and Helm")
CONTROL_PLANE = Program("./controlplane", "k8s-controlplane", "the API server and etcd")


def build() -> Path:
    """Return the path of the program with all components, and build it first if it is missing."""
    return built(EVERYTHING)


def control_plane_command() -> list[str]:
    """Return the command that runs the control plane, and build a program for it first if it is missing.

    The program with all components is used if it exists. Otherwise, only the control plane is built.
    """
    if EVERYTHING.path.exists():
        return [str(EVERYTHING.path), "controlplane"]
    return [str(built(CONTROL_PLANE))]


def built(program: Program) -> Path:
    """Return the path of the program, and build it first if it is missing.

    Several processes can call this at once: one builds, the others wait. An incomplete file never appears.
    """
    path = program.path
    with create_once(path, f"building {program.title}") as result:
        if result:
            compile_program(program, result)
    return path


def link_flags() -> str:
    """Return the linker's flags: no debug information, and the version that the API server reports.

    Without these flags, a kube-apiserver built from modules reports v0.0.0-master. Clients depend on the version.
    """
    module_file = (SOURCE / "go.mod").read_text()
    version = re.search(r"k8s\.io/kubernetes v(\d+)\.(\d+)\.\S+", module_file)
    if not version:
        raise BuildError(f"{SOURCE / 'go.mod'} requires no k8s.io/kubernetes")
    values = {"gitVersion": version[0].split()[1], "gitMajor": version[1], "gitMinor": version[2]}
    return " ".join(["-s", "-w", *(f"-X {VERSION_PACKAGE}.{name}={value}" for name, value in values.items())])


def fingerprint(flags: list[str], package: str = ".", module: Path | None = None) -> str:
    """Return a short hash of everything that the build of a package depends on: source, modules, flags, machine."""
    folder = module or SOURCE
    parts = [" ".join(flags), platform.system(), platform.machine()]
    sources = [*(folder / package).rglob("*.go"), *(folder / "internal").rglob("*.go")]
    for path in sorted({*sources, folder / "go.mod", folder / "go.sum"}):
        parts += [str(path.relative_to(folder)), path.read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def installed(name: str) -> Path:
    """Return the path of a pinned program from a package of this Python environment."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise BuildError(f"{path} is missing: install requirements/dev.txt into this environment")
    return path


def go() -> Path:
    """Return the path of Go: that of the machine if it is new enough, otherwise that of the development packages.

    The Go of the machine is preferred because its build cache is likely warm.
    """
    required = re.search(r"^go (\d+)\.(\d+)(?:\.(\d+))?$", (SOURCE / "go.mod").read_text(), re.MULTILINE)
    machine = shutil.which("go")
    if machine and required:
        command = [machine, "env", "GOVERSION"]
        result = subprocess.run(command, capture_output=True, text=True, env=go_environment(), check=False)
        found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", result.stdout)
        if found and version_numbers(found) >= version_numbers(required):
            return Path(machine)
    return installed("go")


def version_numbers(match: re.Match[str]) -> tuple[int, ...]:
    """Return a matched version as numbers that can be compared: 1.26 is 1.26.0."""
    return tuple(int(number or 0) for number in match.groups())


def go_environment() -> dict[str, str]:
    """Return the environment for Go: it does not change go.mod, download another Go, or need a C compiler.

    The other settings, such as the module proxy and the caches, are those of the developer.
    """
    return {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}


def without_collection(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a short-lived Go program does not collect garbage, which saves up to a third of
    its processor time. A program that needs more memory than usual still collects.
    """
    return {"GOGC": "off", "GOMEMLIMIT": "512MiB", **environment}


def compile_program(program: Program, output: Path) -> None:
    """Compile the program into `output`, and show the progress on standard error."""
    command, environment = str(go()), go_environment()
    listing = [command, "list", *program.flags, "-deps", "-f", LISTED, program.package]
    reading = f"Reading the source of {program.title}"
    listed = call(listing, reading, downloads, folder=program.folder, environment=environment)
    packages = Packages.parse(listed)
    building = [command, "build", "-v", *program.flags, "-o", str(output), program.package]
    call(building, f"Building {program.title}", packages.progress, folder=program.folder, environment=environment)


LISTED = "package {{.ImportPath}} {{.Stale}}"
"""The line of `go list` for a package: its name, and whether the build compiles it or finds it in Go's cache."""


def downloads(output: str) -> str:
    """Return how many modules Go has downloaded, from its output."""
    count = output.count("go: downloading ")
    return f"{count:,} modules downloaded" if count else ""


@dataclass(frozen=True)
class Packages:
    """The packages of a program: how many there are, those that the build compiles, and the main package."""

    total: int
    stale: frozenset[str]
    main: str

    @classmethod
    def parse(cls, output: str) -> Self:
        """Read the output of `go list -deps`, which lists each package after those that it imports."""
        listed = [line.split() for line in output.splitlines() if line.startswith("package ")]
        stale = frozenset(name for _, name, state in listed if state == "true")
        return cls(len(listed), stale, listed[-1][1])

    def progress(self, output: str) -> str:
        """Return the progress of `go build -v`, from its output: the name of each package that it starts to compile."""
        started = self.stale.intersection(output.splitlines())
        if self.stale <= started | {self.main}:
            return "linking"
        return f"package {self.total - len(self.stale) + len(started):,} of {self.total:,}"


if __name__ == "__main__":
    try:
        print(build())
    except BuildError as error:
        sys.exit(str(error))
