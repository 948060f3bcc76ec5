"""The Python of the published image, with the pinned dependencies, to test behavior that differs between versions.

The tests build `Containerfile` on the Debian release of the machine. Its Python can be older than that of the base in
`Containerfile`. So this module downloads that Python from its Debian release, with its C library, OpenSSL and loader.
It does not need root, and everything is below `.tools/`.
"""

import hashlib
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack import debian
from hack.build import TOOLS, BuildError, call, create_once
from hack.files import ROOT
from hack.image import builder
from hack.limits import HANG_SECONDS

LOADERS = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}
"""The loader of programs, for each architecture of the image."""
REQUIREMENTS = ROOT / "requirements" / "runtime.txt"


def published_python() -> tuple[str, str]:
    """Return the version of Python and the Debian release of the published image, such as 3.13 and trixie."""
    named = re.search(r"^ARG BASE=python:(\d+\.\d+)-slim-(\w+)$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert named, "The default base in Containerfile is not python:VERSION-slim-RELEASE"
    return named[1], named[2]


def unsupported_reason() -> str | None:
    """Return why this machine cannot run that Python, or None if it can."""
    if platform.machine() not in LOADERS:
        return f"{' or '.join(LOADERS)} is required, this is {platform.machine()}"
    if reason := debian.download_unsupported_reason():
        return reason
    return None if debian.release()[0] == "debian" else f"Debian is required, this is {debian.release()[0]}"


class ImagePython:
    """That Python, in the file system `root`, with the dependencies in `packages`."""

    def __init__(self, place: Path) -> None:
        self._root = place / "root"
        self._packages = place / "packages"

    def run(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with only the given environment, and wait until it exits."""
        variables = {
            "PYTHONHOME": str(self._root / "usr"),
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}:{self._packages}",
            **(environment or {}),
        }
        return subprocess.run(
            [*self._command(), *map(str, arguments)],
            env=variables, cwd=folder, capture_output=True, text=True, timeout=HANG_SECONDS, check=False,
        )  # fmt: skip

    def _command(self) -> Sequence[str]:
        machine = platform.machine()
        libraries = [self._root / folder / f"{machine}-linux-gnu" for folder in ("usr/lib", "lib")]
        program = self._root / "usr" / "bin" / f"python{published_python()[0]}"
        return [str(self._root / LOADERS[machine]), "--library-path", ":".join(map(str, libraries)), str(program)]


def image_python() -> ImagePython:
    """Return the Python of the image, and download it first if it is missing."""
    if reason := unsupported_reason():
        raise BuildError(f"This machine cannot run the Python of the image: {reason}.")
    version, suite = published_python()
    operator_version = builder.version()
    recipe = f"{version} {suite} {REQUIREMENTS.read_text()} {platform.machine()} {operator_version}"
    place = TOOLS / f"python-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    with create_once(place, "downloading the Python of the image") as result:
        if result:
            result.mkdir()
            _extract(result / "root", version, suite)
            _install(result / "packages", version)
            # The operator runs from its source, and reads its version from this metadata.
            metadata_folder = result / "packages" / f"qualtrics_exporter-{operator_version}.dist-info"
            metadata_folder.mkdir()
            (metadata_folder / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: qualtrics-exporter\nVersion: {operator_version}\n"
            )
    return ImagePython(place)


def _extract(root: Path, version: str, suite: str) -> None:
    apt = debian.Apt(root.parent.parent)
    for source in (root.parent.parent / "sources").iterdir():
        source.write_text(re.sub(rf"\b{debian.release()[1]}\b", suite, source.read_text()))
    apt.get("update", "Updating the package lists", "--error-on=any")
    apt.get("install", "Downloading the Python of the image", "--yes", "--download-only", f"python{version}")
    for folder in ("lib", "lib64"):
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    for package in apt.archives.glob("*.deb"):
        script = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink'
        call(["bash", "-o", "pipefail", "-c", script, "bash", str(package)], "Extracting that Python", folder=root)


def _install(packages: Path, version: str) -> None:
    """Install the pinned dependencies, as wheels for that Python."""
    call(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
            *("--target", str(packages), "--python-version", version, "--implementation", "cp"),
            *(part for tag in ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_34")
              for part in ("--platform", f"{tag}_{platform.machine()}")),
            *("--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)),
        ],
        "Downloading its dependencies",
    )  # fmt: skip
