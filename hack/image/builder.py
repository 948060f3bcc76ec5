"""Builds the image of the operator from `Containerfile`.

buildah, from Debian packages (`debian.py`), builds the image on a base that is also made from Debian packages.
`.tools/image` caches the layers, so that a build after a change of the operator takes seconds. It also caches the
latest images, by a hash of their sources: without a change, nothing is built.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from hack import debian
from hack.build import TOOLS, BuildError, call, create_once
from hack.files import ROOT
from hack.image.archive import Image

STORE = TOOLS / "image"
BUILT = STORE / "built"
NAME = "localhost/qualtrics-exporter"
REVISION = "org.opencontainers.image.revision"
MAX_IMAGES = 4
"""How many images the cache keeps, for example of several branches."""
MAX_LAYERS = 150
"""How many layers the cache keeps. With more layers, it is deleted, and the next build starts from scratch. Each change
adds about six layers. One of them has 12 MB."""

STORAGE = """\
[storage]
driver = "{driver}"
runroot = "/run/containers"
graphroot = "/given/store/layers"
"""
BASE = """\
FROM scratch
ADD base.tar /
CMD ["/bin/sh"]
"""
PAUSE = """\
FROM scratch
COPY catatonit /
USER 65535:65535
ENTRYPOINT ["/catatonit", "-P"]
"""
"""The pause container of a pod: it holds the namespaces while other containers start and stop."""


def image(*, revision: str = "") -> Image:
    """Return the image of the current source, and build it first if it is missing."""
    programs, base = debian.programs(), debian.base()
    place = BUILT / f"image-{fingerprint(base, revision)}.tar"
    with create_once(place, "building the image") as result:
        if result:
            Builder(programs).build(base, result, revision=revision)
            remove_old()
    os.utime(place)  # the time of the last use, for `remove_old`
    return Image(place)


def rebuilt(folder: Path, *, revision: str = "") -> Image:
    """Build the image again, from only the base and into a folder. No cached layer is used."""
    programs, base = debian.programs(), debian.base()
    with create_once(folder / "image-rebuilt.tar", "building the image") as result:
        if result:
            Builder(programs).build(base, result, revision=revision, cached=False)
    return Image(folder / "image-rebuilt.tar")


def pause() -> Image:
    """Return the image of the pause container, and build it first if it is missing."""
    programs = debian.programs()
    place = BUILT / f"pause-{hashlib.sha256((PAUSE + programs.name).encode()).hexdigest()[:16]}.tar"
    with create_once(place, "building the image of the pause container") as result:
        if result:
            (result.parent / "Containerfile").write_text(PAUSE)
            shutil.copy(programs / "usr/bin/catatonit", result.parent)
            builder = Builder(programs)
            builder.run("build", "--tag", "localhost/pause:1", "/given/folder", folder=result.parent)
            builder.archive("localhost/pause:1", result)
    return Image(place)


def version() -> str:
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def revision() -> str:
    """The current commit, or an empty string if there are uncommitted changes."""
    commands = [["git", "status", "--porcelain"], ["git", "rev-parse", "HEAD"]]
    try:
        changed, commit = (
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return "" if changed else commit


def sources() -> list[Path]:
    """The files that go into the image: .dockerignore includes them with patterns that start with `!`."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    found = [ROOT / "Containerfile", ROOT / ".dockerignore"]
    for name in (line[1:] for line in lines if line.startswith("!")):
        path = ROOT / name
        found += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(path for path in found if path.suffix != ".pyc" and ".egg-info" not in str(path))


def fingerprint(base: Path, revision: str) -> str:
    """A hash of everything that an image depends on."""
    content = hashlib.sha256(f"{base.name}\0{revision}\0".encode())
    for path in sources():
        content.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return content.hexdigest()[:16]


def remove_old() -> None:
    """Remove all images except those that were used most recently."""
    built = sorted(BUILT.glob("image-*.tar"), key=lambda path: path.stat().st_mtime)
    for path in built[:-MAX_IMAGES]:
        path.unlink(missing_ok=True)


class Builder:
    """buildah, with its own root file system and mount namespace. Its layers are below `.tools/image`."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        STORE.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = ["stat", "--file-system", "--format=%T", STORE]
        kind = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        # An overlay cannot be on top of an overlay, which most containers have as their root file system.
        driver = "vfs" if kind.strip() == "overlayfs" else "overlay"
        if (layers := STORE / "layers" / driver).is_dir() and len(list(layers.iterdir())) > MAX_LAYERS:
            shutil.rmtree(STORE / "layers")
        (STORE / "storage.conf").write_text(STORAGE.format(driver=driver))

    def build(self, base: Path, result: Path, *, revision: str, cached: bool = True) -> None:
        """Build the image of the operator into an archive."""
        base_name = self._import(base, result.parent)
        tag = f"{NAME}:{version()}"
        self.run(
            *("build", "--file", "/given/context/Containerfile", "--tag", tag),
            *("--layers", *([] if cached else ["--no-cache"])),
            # For a reproducible build: no time, and no label with the version of the builder.
            *("--timestamp", "0", "--identity-label=false"),
            *(f"--build-arg={name}={value}" for name, value in arguments(base_name).items()),
            *([f"--label={REVISION}={revision}"] if revision else []),
            *self._pip_settings(result.parent),
            "/given/context",
            context=ROOT,
            folder=result.parent,
        )
        self.archive(tag, result)

    def archive(self, tag: str, result: Path) -> None:
        """Write an image into an archive."""
        self.run("push", "--quiet", tag, f"oci-archive:/given/folder/{result.name}:{tag}", folder=result.parent)

    def run(self, *arguments: str, **folders: Path) -> None:
        """Run buildah. It sees the folders below /given, by their names."""
        command = debian.command(self._programs, ["buildah", *arguments], {"store": STORE, **folders})
        environment = {"CONTAINERS_STORAGE_CONF": "/given/store/storage.conf", "BUILDAH_ISOLATION": "chroot"}
        call(command, "Building the image", environment=debian.environment(self._programs, environment))

    def _import(self, base: Path, folder: Path) -> str:
        """Create an image from the base if it does not exist yet, and return its name."""
        tag = f"localhost/debian:{debian.release()[1]}-{base.stem.removeprefix('base-')}"
        try:
            self.run("inspect", "--type=image", tag)
        except BuildError:  # the image does not exist
            (folder / "Containerfile").write_text(BASE)
            os.link(base, folder / "base.tar")
            self.run("build", "--timestamp", "0", "--tag", tag, "/given/folder", folder=folder)
        return tag

    def _pip_settings(self, folder: Path) -> list[str]:
        """Return flags that give pip in the build the settings and certificate authorities of pip on this machine."""
        command = [sys.executable, "-m", "pip", "config", "list"]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        settings = dict(line.split("=", 1) for line in lines if "=" in line)
        pip_config = {}
        for name, value in settings.items():
            key = name.rpartition(".")[2].lower().replace("_", "-")
            if key in ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries"):
                pip_config[key] = value.strip("'")
            elif key == "cert":
                pip_config["cert"] = value.strip("'")
        authorities = Path(
            pip_config.pop("cert", os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
        )
        if authorities.is_file():
            shutil.copyfile(authorities, folder / "ca.pem")
            pip_config["cert"] = "/etc/pip-ca.pem"
        (folder / "pip.conf").write_text(
            "[global]\n" + "".join(f"{key} = {value}\n" for key, value in pip_config.items())
        )
        secrets = {"pip": "pip.conf", "ca": "ca.pem"}
        return [
            f"--secret=id={id_},src=/given/folder/{file}" for id_, file in secrets.items() if (folder / file).exists()
        ]


def arguments(base: str) -> dict[str, str]:
    """The build arguments of Containerfile."""
    return {"BASE": base, "VERSION": version()}
