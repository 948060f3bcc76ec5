"""The file system of the image, unpacked, and a way to run programs in it like in a container."""

import shlex
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from hack.image.archive import Image
from tests.support.waiting import HANG_SECONDS

START = """\
set -e
mount --bind "$ROOT" "$ROOT"
mount -o remount,bind,ro "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/dev/shm"
ip link set lo up
exec env -i {variables} "$(command -v chroot)" --userspec=65532:65532 "$ROOT" "$@"
"""
"""A read-only root file system, only the loopback interface, and the user and environment of the image."""


class Unpacked:
    """The file system of an image, in a folder."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.image = image
        self._folder = folder
        with tarfile.open(image.archive) as archive:
            for layer in image.layers:
                with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                    files.extractall(folder, filter="fully_trusted")
        folder.chmod(0o755)  # as in a container; the folder of a test is readable only by its owner
        for name in ("proc", "dev"):
            (folder / name).mkdir()

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the file system."""
        variables = [*self.image.configuration["config"]["Env"], *(f"{k}={v}" for k, v in (environment or {}).items())]
        isolation = ("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation=private")
        done = subprocess.run(
            [*isolation, "sh", "-c", START.format(variables=shlex.join(variables)), "sh", *command],
            env={"ROOT": str(self._folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
        if check:
            assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
        return done

    def python(self, script: str) -> str:
        """Run a script with the Python of the image; returns its output."""
        return self.run("python3", "-W", "error", "-c", script).stdout.strip()


@pytest.fixture(scope="module")
def unpacked(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    """The file system of the image, as a container sees it."""
    return Unpacked(image, tmp_path_factory.mktemp("image"))
