"""Packages `kubectl qex` for krew: `python -m hack.release plugin`.

The result is one archive for each platform, and the manifest of the plugin with their checksums. An archive needs only
a Python on the PATH: it contains the package and all its dependencies, pinned by `requirements/runtime.txt`, with their
compiled modules for each supported version of Python. These are in one folder, because the name of a compiled module
contains the version. uv downloads the packages of all platforms on any machine.
"""

import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import yaml

from hack.build import TOOLS, BuildError, create_once
from hack.files import ROOT
from hack.programs import installed

NAME = "qex"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    ("linux", "amd64"): "x86_64-manylinux_2_28",
    ("linux", "arm64"): "aarch64-manylinux_2_28",
    ("darwin", "amd64"): "x86_64-apple-darwin",
    ("darwin", "arm64"): "aarch64-apple-darwin",
}
"""The platforms of the plugin, as krew names them, and their names for uv."""
Platform = tuple[str, str]

REQUIREMENTS = ROOT / "requirements" / "runtime.txt"
LAUNCHER = ROOT / "hack" / "release" / "launcher.py"
PROGRAM = "kubectl-qex"
DIFFERENT = frozenset({"RECORD", "WHEEL", "sboms", ".lock"})
"""Files and folders of an installed package that differ between versions of Python. Nothing reads them."""


def build(version: str, downloads: str, wheel: Path, folder: Path, platforms: Iterable[Platform]) -> list[Path]:
    """Write the archives and the manifest into a folder, and return their paths. `downloads` is where they will be."""
    archives = {platform: archive(platform, version, wheel, folder) for platform in platforms}
    path = folder / f"{NAME}.yaml"
    path.write_text(manifest(version, downloads, archives), "utf-8")
    return [*archives.values(), path]


def manifest(version: str, downloads: str, archives: Mapping[Platform, Path]) -> str:
    """The manifest of the plugin, from which krew installs it."""
    platforms = [
        {
            "selector": {"matchLabels": {"os": system, "arch": architecture}},
            "uri": f"{downloads.rstrip('/')}/{path.name}",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bin": PROGRAM,
        }
        for (system, architecture), path in archives.items()
    ]
    content = {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": NAME},
        "spec": {
            "version": f"v{version}",
            "shortDescription": "Test, run and suspend Qualtrics surveys",
            "description": "Shows the exporters of Qualtrics surveys in plain words, and tests, runs and suspends\n"
            "them. Needs qualtrics-exporter in the cluster. It acts with your own permissions, and asks\n"
            "before it sends e-mail.\n",
            "caveats": f"The plugin needs Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]} on the PATH.\n",
            "platforms": platforms,
        },
    }
    return str(yaml.safe_dump(content, sort_keys=False, width=120))


def archive(platform: Platform, version: str, wheel: Path, folder: Path) -> Path:
    """Write the archive of a platform, and return its path. Its bytes depend only on its content."""
    libraries = dependencies(platform)
    files = {
        PROGRAM: LAUNCHER.read_bytes(),
        "LICENSE": (ROOT / "LICENSE").read_bytes(),
        **{f"lib/{path.relative_to(libraries).as_posix()}": path.read_bytes() for path in _files(libraries)},
        **{f"lib/{name}": content for name, content in _wheel_files(wheel)},
    }
    if refused := [name for name in files if ".." in name]:
        raise BuildError(f"krew refuses archives with these names: {', '.join(refused)}")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755 if name == PROGRAM else 0o644
            tar.addfile(member, io.BytesIO(content))
    path = folder / f"{PROGRAM}-{version}-{'-'.join(platform)}.tar.gz"
    path.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    return path


def dependencies(platform: Platform) -> Path:
    """Return a folder with the dependencies for a platform and all versions of Python, and download them if needed."""
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + f"{PLATFORMS[platform]} {PYTHONS}".encode()).hexdigest()[:16]
    place = TOOLS / f"plugin-{'-'.join(platform)}-{key}"
    with create_once(place, "downloading the dependencies of the plugin") as result:
        if result:
            result.mkdir()
            for python in PYTHONS:
                merge(download(PLATFORMS[platform], python, result.parent / python), result)
    return place


def download(platform: str, python: str, folder: Path) -> Path:
    """Download the wheels of a platform and a version of Python, with the pinned hashes, and unpack them."""
    command = [
        *(str(installed("uv")), "pip", "install", "--quiet", "--target", str(folder), "--requirements"),
        *(str(REQUIREMENTS), "--require-hashes", "--no-deps", "--only-binary", ":all:", "--python-platform", platform),
        *("--python-version", python, "--no-compile-bytecode", "--link-mode", "copy"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr}")
    return folder


def merge(source: Path, target: Path) -> None:
    """Move the packages for another version of Python into a folder. Files of the same name must be the same."""
    for path in _files(source):
        name = path.relative_to(source)
        if name.parts[0] == "bin" or not DIFFERENT.isdisjoint(name.parts) or _is_operator_only(name):
            continue
        place = target / name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, place)
        elif place.read_bytes() != path.read_bytes():
            raise BuildError(f"{name} is different for another version of Python, so both cannot be in one archive.")


def _is_operator_only(name: Path) -> bool:
    """Whether only the operator uses a file: the clients in this package have 75 MB, and the plugin runs kubectl."""
    return name.parts[0] == "kubernetes" and len(name.parts) > 2


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _wheel_files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as content:
        for name in content.namelist():
            if not name.endswith("/") and PurePosixPath(name).name not in DIFFERENT:
                yield name, content.read(name)
