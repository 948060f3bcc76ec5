"""Builds the operator's image from `Containerfile` on a machine that has neither a container engine nor a registry.

buildah, from Debian's packages (`debian.py`), builds it on a base that is made from Debian's packages too. All that it
keeps is below `.tools/image`: its layers, so that a change of the operator costs seconds, and each image that was
built, by a hash of all that went into it, so that no change costs nothing.

`python -m tests.environment.image` builds it into `dist/` and tells what came out: what `make image` does unless it is
told to use another engine.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.environment import debian
from tests.environment.build import ROOT, TOOLS, BuildError, call, made

STORE = TOOLS / "image"
BUILT = STORE / "built"
NAME = "localhost/qualtrics-exporter"
REVISION = "org.opencontainers.image.revision"
SBOM = "usr/share/sbom/qualtrics-exporter.cdx.json"
KEPT = 4
"""How many images are kept: branches that are switched between."""
LAYERS_KEPT = 150
"""How many layers: beyond that all are forgotten, and the next build is one from nothing. Each change adds some six, of
which one has 12 MB."""

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
"""What holds the namespaces of a pod while its containers come and go."""


@dataclass(frozen=True)
class Image:
    """An image in an OCI archive."""

    archive: Path

    @property
    def digest(self) -> str:
        """The digest of its manifest: by this it is pinned."""
        digest: str = self._json("index.json")["manifests"][0]["digest"]
        return digest

    @property
    def name(self) -> str:
        """The name that it has in the archive."""
        name: str = self._json("index.json")["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
        return name

    @property
    def configuration_digest(self) -> str:
        """The digest of its configuration: by this a container runtime knows it."""
        return str(self._manifest()["config"]["digest"])

    @property
    def configuration(self) -> dict[str, Any]:
        """How a container of it runs, its labels, and the digests of its layers unpacked."""
        found: dict[str, Any] = self._json(_blob(self._manifest()["config"]))
        return found

    @property
    def compressed(self) -> int:
        """Bytes that are transferred: all layers, compressed."""
        return sum(layer["size"] for layer in self._manifest()["layers"])

    @property
    def layers(self) -> list[str]:
        """Where its layers are in the archive, the lowest first."""
        return [_blob(layer) for layer in self._manifest()["layers"]]

    def files(self) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """Everything in it, layer by layer; the content is empty for what is no file."""
        with tarfile.open(self.archive) as archive:
            for layer in self.layers:
                with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                    for member in files:
                        content = files.extractfile(member) if member.isfile() else None
                        yield member, content.read() if content else b""

    def sbom(self) -> bytes:
        """The list of its parts, CycloneDX."""
        return next(content for member, content in self.files() if member.name.removeprefix("./") == SBOM)

    def _manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = self._json(_blob(self._json("index.json")["manifests"][0]))
        return found

    def _json(self, member: str) -> Any:
        with tarfile.open(self.archive) as archive:
            file = archive.extractfile(member)
            assert file
            return json.load(file)


def _blob(descriptor: dict[str, Any]) -> str:
    return "blobs/" + str(descriptor["digest"]).replace(":", "/")


def image(*, revision: str = "") -> Image:
    """Return the image of the present source, and build it first if it isn't there yet."""
    programs, base = debian.programs(), debian.base()
    place = BUILT / f"image-{fingerprint(base, revision)}.tar"
    with made(place, "building the image") as result:
        if result:
            Builder(programs).build(base, result, revision=revision)
            forget_old()
    os.utime(place)  # used today
    return Image(place)


def rebuilt(folder: Path, *, revision: str = "") -> Image:
    """Build the image once more, into a folder, from nothing but the base: no layer of an earlier build is used."""
    programs, base = debian.programs(), debian.base()
    with made(folder / "image-rebuilt.tar", "building the image") as result:
        if result:
            Builder(programs).build(base, result, revision=revision, cached=False)
    return Image(folder / "image-rebuilt.tar")


def pause() -> Image:
    """Return the image that holds the namespaces of pods."""
    programs = debian.programs()
    place = BUILT / f"pause-{hashlib.sha256((PAUSE + programs.name).encode()).hexdigest()[:16]}.tar"
    with made(place, "building an image") as result:
        if result:
            (result.parent / "Containerfile").write_text(PAUSE)
            shutil.copy(programs / "usr/bin/catatonit", result.parent)
            builder = Builder(programs)
            builder.run("build", "--tag", "localhost/pause:1", "/given/folder", folder=result.parent)
            builder.archive("localhost/pause:1", result)
    return Image(place)


def version() -> str:
    """The version of the project."""
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def revision() -> str:
    """The commit that is checked out, if nothing differs from it; empty otherwise."""
    asked = [["git", "status", "--porcelain"], ["git", "rev-parse", "HEAD"]]
    try:
        changed, commit = (
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
            for command in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return "" if changed else commit


def sources() -> list[Path]:
    """The files that go into the image, by the rules of .dockerignore: a pattern with `!` lets something in."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    found = [ROOT / "Containerfile", ROOT / ".dockerignore"]
    for name in (line[1:] for line in lines if line.startswith("!")):
        path = ROOT / name
        found += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(path for path in found if path.suffix != ".pyc" and ".egg-info" not in str(path))


def fingerprint(base: Path, revision: str) -> str:
    """A hash of all that makes one image differ from another."""
    content = hashlib.sha256(f"{base.name}\0{revision}\0".encode())
    for path in sources():
        content.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return content.hexdigest()[:16]


def forget_old() -> None:
    """Remove images that have not been used for long."""
    built = sorted(BUILT.glob("image-*.tar"), key=lambda path: path.stat().st_mtime)
    for path in built[:-KEPT]:
        path.unlink(missing_ok=True)


class Builder:
    """buildah, in a root file system and a mount namespace of its own, with its layers below `.tools/image`."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        STORE.mkdir(parents=True, exist_ok=True)
        kind = subprocess.run(["stat", "--file-system", "--format=%T", STORE], capture_output=True, text=True).stdout
        # An overlay cannot lie on an overlay, which is what the root of a container mostly is.
        driver = "vfs" if kind.strip() == "overlayfs" else "overlay"
        if (layers := STORE / "layers" / driver).is_dir() and len(list(layers.iterdir())) > LAYERS_KEPT:
            shutil.rmtree(STORE / "layers")
        (STORE / "storage.conf").write_text(STORAGE.format(driver=driver))

    def build(self, base: Path, result: Path, *, revision: str, cached: bool = True) -> None:
        """Build the operator's image into an archive."""
        on = self._import(base, result.parent)
        tag = f"{NAME}:{version()}"
        self.run(
            *("build", "--file", "/given/context/Containerfile", "--tag", tag),
            *("--layers", *([] if cached else ["--no-cache"])),
            # What makes it come out the same: no time, no label with the builder's own version.
            *("--timestamp", "0", "--identity-label=false"),
            *(f"--build-arg={name}={value}" for name, value in arguments(on).items()),
            *([f"--label={REVISION}={revision}"] if revision else []),
            *self._way_to_the_index(result.parent),
            "/given/context",
            context=ROOT,
            folder=result.parent,
        )
        self.archive(tag, result)

    def archive(self, tag: str, result: Path) -> None:
        """Write an image to an archive."""
        self.run("push", "--quiet", tag, f"oci-archive:/given/folder/{result.name}:{tag}", folder=result.parent)

    def run(self, *arguments: str, **folders: Path) -> None:
        """Run buildah; folders are at /given by their names."""
        command = debian.command(self._programs, ["buildah", *arguments], {"store": STORE, **folders})
        environment = {"CONTAINERS_STORAGE_CONF": "/given/store/storage.conf", "BUILDAH_ISOLATION": "chroot"}
        call(command, "Building the image", environment=debian.environment(self._programs, environment))

    def _import(self, base: Path, folder: Path) -> str:
        """Make the base an image, if it is none yet; return its name."""
        tag = f"localhost/debian:{debian.release()[1]}-{base.stem.removeprefix('base-')}"
        try:
            self.run("inspect", "--type=image", tag)
        except BuildError:  # there is no such image
            (folder / "Containerfile").write_text(BASE)
            os.link(base, folder / "base.tar")
            self.run("build", "--timestamp", "0", "--tag", tag, "/given/folder", folder=folder)
        return tag

    def _way_to_the_index(self, folder: Path) -> list[str]:
        """Let pip in the build go the way that pip on this machine goes: its settings, and whom the machine trusts."""
        asked = [sys.executable, "-m", "pip", "config", "list"]
        told = subprocess.run(asked, capture_output=True, text=True).stdout.splitlines()
        settings = dict(line.split("=", 1) for line in told if "=" in line)
        wanted = {}
        for name, value in settings.items():
            key = name.rpartition(".")[2].lower().replace("_", "-")
            if key in ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries"):
                wanted[key] = value.strip("'")
            elif key == "cert":
                wanted["cert"] = value.strip("'")
        authorities = Path(wanted.pop("cert", os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")))
        if authorities.is_file():
            shutil.copyfile(authorities, folder / "ca.pem")
            wanted["cert"] = "/etc/pip-ca.pem"
        (folder / "pip.conf").write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in wanted.items()))
        secrets = {"pip": "pip.conf", "ca": "ca.pem"}
        return [
            f"--secret=id={id_},src=/given/folder/{file}" for id_, file in secrets.items() if (folder / file).exists()
        ]


def arguments(base: str) -> dict[str, str]:
    """The build arguments of Containerfile."""
    return {"BASE": base, "VERSION": version()}


def main() -> None:
    """Build it into dist/."""
    built = image(revision=revision())
    folder = ROOT / "dist"
    folder.mkdir(exist_ok=True)
    archive, parts = (folder / f"qualtrics-exporter-{version()}.{kind}" for kind in ("oci.tar", "cdx.json"))
    shutil.copyfile(built.archive, archive)
    parts.write_bytes(built.sbom())
    unpacked = sum(member.size for member, _ in built.files())
    print(f"image   {archive.relative_to(ROOT)}")
    print(f"name    {built.name}")
    print(f"digest  {built.digest}")
    print(f"size    {built.compressed / 1e6:.1f} MB to transfer, {unpacked / 1e6:.1f} MB unpacked")
    print(f"parts   {parts.relative_to(ROOT)}, {len(json.loads(built.sbom())['components'])} of them")


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        sys.exit(str(error))
