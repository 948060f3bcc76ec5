"""The Python of the published image, with the operator's dependencies: for what another Python does differently.

`Containerfile` is built here on the machine's own Debian, whose Python may be older than that of the base that it
names. So that version is fetched from its Debian, with the C library and the OpenSSL that belong to it, and runs by its
own loader; the dependencies are the pinned ones. Nothing of it needs root, and all of it is below `.tools/`.
"""

import hashlib
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.environment import debian, image, proxy
from tests.environment.build import ROOT, TOOLS, BuildError, call, made
from tests.environment.waiting import HANG_SECONDS

LOADER = "lib64/ld-linux-x86-64.so.2"
REQUIREMENTS = ROOT / "requirements" / "runtime.txt"


def wanted() -> tuple[str, str]:
    """The version of Python and the Debian that the image is published with: 3.13, trixie."""
    named = re.search(r"^ARG BASE=python:(\d+\.\d+)-slim-(\w+)$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert named, "Containerfile names another kind of base"
    return named[1], named[2]


def obstacle() -> str | None:
    """Why this machine cannot have it, as a clause; None if it can."""
    if platform.machine() != "x86_64":
        return f"it needs x86_64, this is {platform.machine()}"
    if reason := proxy.obstacle():
        return reason
    return None if debian.release()[0] == "debian" else f"it needs a Debian, this is {debian.release()[0]}"


class ImagePython:
    """That Python. `root` is a file system with it, `packages` is where the dependencies are."""

    def __init__(self, place: Path) -> None:
        self._root = place / "root"
        self._packages = place / "packages"

    def run(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end with nothing of the environment but what is given."""
        variables = {
            "PYTHONHOME": str(self._root / "usr"),
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}:{self._packages}",
            **(environment or {}),
        }
        return subprocess.run(
            [*self._command(), *map(str, arguments)],
            env=variables, cwd=folder, capture_output=True, text=True, timeout=HANG_SECONDS,
        )  # fmt: skip

    def _command(self) -> Sequence[str]:
        libraries = [self._root / folder for folder in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")]
        program = self._root / "usr" / "bin" / f"python{wanted()[0]}"
        return [str(self._root / LOADER), "--library-path", ":".join(map(str, libraries)), str(program)]


def image_python() -> ImagePython:
    """Return it, and fetch it first if it isn't there yet."""
    if reason := obstacle():
        raise BuildError(f"The image's Python cannot be had here: {reason}.")
    version, suite = wanted()
    ours = image.version()
    recipe = f"{version} {suite} {REQUIREMENTS.read_text()} {platform.machine()} {ours}"
    place = TOOLS / f"python-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    with made(place, "fetching the image's Python") as result:
        if result:
            result.mkdir()
            _unpack(result / "root", version, suite)
            _install(result / "packages", version)
            # The operator is run from its source, and asks for its own version.
            described = result / "packages" / f"qualtrics_exporter-{ours}.dist-info"
            described.mkdir()
            (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: qualtrics-exporter\nVersion: {ours}\n")
    return ImagePython(place)


def _unpack(root: Path, version: str, suite: str) -> None:
    apt = debian.Apt(root.parent.parent)
    for source in (root.parent.parent / "sources").iterdir():
        source.write_text(re.sub(rf"\b{debian.release()[1]}\b", suite, source.read_text()))
    apt.get("update", "Reading which packages there are", "--error-on=any")
    apt.get("install", "Fetching the image's Python", "--yes", "--download-only", f"python{version}")
    for folder in ("lib", "lib64"):
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    for package in apt.archives.glob("*.deb"):
        script = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink'
        call(["bash", "-o", "pipefail", "-c", script, "bash", str(package)], "Unpacking it", folder=root)


def _install(packages: Path, version: str) -> None:
    """The pinned dependencies, as wheels for that Python."""
    call(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
            *("--target", str(packages), "--python-version", version, "--implementation", "cp"),
            *(part for tag in ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_34")
              for part in ("--platform", f"{tag}_x86_64")),
            *("--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)),
        ],
        "Fetching the dependencies for it",
    )  # fmt: skip
