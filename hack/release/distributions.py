"""Builds the wheel and the source distribution, and checks their metadata: `python -m hack.release packages`.

Both are reproducible: the build backend sets all times to SOURCE_DATE_EPOCH, or to a constant.
"""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from packaging.metadata import Metadata
from packaging.utils import parse_sdist_filename, parse_wheel_filename

from hack.build import BuildError
from hack.files import ROOT

NAME = "qualtrics-exporter"


def build(folder: Path, *, source: Path = ROOT) -> list[Path]:
    """Build both into a folder, check them, and return their paths: the source distribution and the wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    built = [*folder.glob("*.tar.gz"), *folder.glob("*.whl")]
    for path in built:
        check(path)
    return built


def wheel(built: Iterable[Path]) -> Path:
    """Return the wheel among the packages."""
    return next(path for path in built if path.suffix == ".whl")


def check(path: Path) -> None:
    """Raise BuildError if a package index would reject the distribution, or show its description as plain text."""
    try:
        metadata = Metadata.from_email(_metadata(path), validate=True)
    except ExceptionGroup as error:
        raise BuildError(f"{path.name} has invalid metadata: {'; '.join(map(str, error.exceptions))}") from error
    if path.suffix == ".whl":
        named, version, _, _ = parse_wheel_filename(path.name)
    else:
        named, version = parse_sdist_filename(path.name)
    if (metadata.name, metadata.version) != (named, version):
        raise BuildError(f"{path.name} contains {metadata.name} {metadata.version}.")
    if metadata.description_content_type != "text/markdown" or not (metadata.description or "").strip():
        raise BuildError(f"{path.name} has no description in Markdown: set `readme` in pyproject.toml.")


def checksums(paths: Iterable[Path]) -> str:
    """Return the text of a file for `sha256sum --check`."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(paths))


def _metadata(path: Path) -> bytes:
    """The metadata in a distribution."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")))
    with tarfile.open(path) as sdist:
        top = next(name for name in sdist.getnames() if PurePosixPath(name).match("*/PKG-INFO"))
        file = sdist.extractfile(top)
        assert file
        return file.read()
