"""Provides programs from Debian packages, in a folder. Nothing is installed or changed on the machine.

Building an image needs a builder, and a node needs a container runtime. Debian has both, and the machine already has a
mirror, so no container registry is needed. The packages and their dependencies are extracted into a root file system
below `.tools/`, and the programs run there. The installed packages of the machine are not used, except apt, which
downloads the packages with separate lists and a separate cache, and a few programs that every Linux has.

mmdebstrap makes the base of the image from the same packages.
"""

import hashlib
import inspect
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hack.build import TOOLS, BuildError, call, create_once

PACKAGES = (
    "?essential",  # packages use these without a dependency: a shell, find, sed
    "buildah",  # builds images
    "catatonit",  # the pause container of a pod: holds its namespaces, and reaps its zombies
    "containerd",
    "containernetworking-plugins",  # gives each pod an address
    "iproute2",  # sets up the network of the node
    "mmdebstrap",  # makes the base of the image
    "mount",  # the kubelet uses it for volumes
    "nftables",  # kube-proxy uses it for its rules
    "runc",
)
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
EXCLUDED_PATHS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
REQUIRED_PROGRAMS = ("apt-get", "apt-config", "dpkg-deb", "tar", "unshare", "mount", "chroot")


def unsupported_reason() -> str | None:
    """Return why this machine cannot run these programs, or None if it can."""
    if reason := _missing(*REQUIRED_PROGRAMS):
        return reason
    if os.geteuid() != 0:
        return "root is required, for mounts and namespaces"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/tmp"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        return f"creating namespaces and mounts is not allowed: {tried.stderr.strip()}"
    return None


def download_unsupported_reason() -> str | None:
    """Return why this machine cannot download and extract packages, or None if it can. This does not require root."""
    return _missing("apt-get", "dpkg-deb")


def _missing(*programs: str) -> str | None:
    if platform.system() != "Linux":
        return f"Linux is required, this is {platform.system()}"
    if missing := [name for name in programs if not shutil.which(name)]:
        return f"{', '.join(missing)} is missing: Debian or a derivative is required"
    return None


def require() -> None:
    """Raise BuildError if this machine cannot run these programs."""
    if reason := unsupported_reason():
        raise BuildError(f"This machine cannot run programs from Debian packages: {reason}.")


def programs() -> Path:
    """Return the root file system with the programs, and create it first if it is missing."""
    require()
    place = TOOLS / f"debian-{fingerprint(PACKAGES)}"
    with create_once(place, "extracting Debian packages") as root:
        if root:
            unpack(root)
    return place


def base() -> Path:
    """Return the base for images, a tar archive, and create it first if it is missing."""
    inside = programs()
    place = TOOLS / f"base-{fingerprint(BASE_PACKAGES)}.tar"
    with create_once(place, "creating the base of the image") as result:
        if result:
            bootstrap(inside, result)
    return place


def extracted(kind: str, *packages: str, prepare: Callable[[Path], None] = lambda _root: None) -> Path:
    """Return a folder below `.tools/` with the files of these packages, and create it first if it is missing.

    Dependencies are not included, so the programs must need only what every machine has, such as the C library.
    `kind` is the beginning of the name of the folder. `prepare` gets the new folder.
    """
    if reason := download_unsupported_reason():
        raise BuildError(f"This machine cannot download Debian packages: {reason}.")
    place = TOOLS / f"{kind}-{release()[1]}-{platform.machine()}"
    with create_once(place, f"downloading {', '.join(packages)}") as root:
        if root:
            apt = Apt(root.parent)
            apt.get("update", "Updating the package lists", "--error-on=any")
            options = [part for option in apt._options for part in ("-o", option)]
            command = ["apt-get", "--quiet", *options, "download", *packages]  # without dependencies
            call(command, f"Downloading {', '.join(packages)}", folder=apt.archives)
            for package in apt.archives.glob("*.deb"):
                call(["dpkg-deb", "--extract", str(package), str(root)], f"Extracting {package.name}")
            prepare(root)
    return place


def release() -> tuple[str, str]:
    """Return the distribution of the machine and its code name, such as debian and bookworm."""
    os_release = platform.freedesktop_os_release()
    return os_release["ID"], os_release.get("VERSION_CODENAME", "")


def fingerprint(packages: Sequence[str]) -> str:
    """A hash of everything that a folder depends on, except the versions of packages: the current ones are used."""
    recipe = [inspect.getsource(part) for part in (unpack, bootstrap, Apt)]
    parts = [*packages, *EXCLUDED_PATHS, *recipe, *release(), platform.machine()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


# Packages


def sources(folder: Path = Path("/etc/apt")) -> dict[str, str]:
    """Return the package sources of the machine that belong to its release, by file name. They name the mirror.

    Other sources, such as those of a vendor, are not needed and may be unreachable.
    """
    found = {}
    for path in sorted([*folder.glob("sources.list"), *folder.glob("sources.list.d/*")]):
        text = path.read_text(errors="replace")
        if path.suffix == ".sources":
            chosen = "\n\n".join(part for part in text.split("\n\n") if belongs_to_release(suites(part), part))
        elif path.suffix == ".list":
            chosen = "\n".join(line for line in text.splitlines() if belongs_to_release(line.split(), line))
        else:
            continue
        if chosen.strip():
            found[path.name] = chosen + "\n"
    if not found:
        raise BuildError(f"{folder} has no package source for {release()[1] or 'this release'}.")
    return found


def suites(stanza: str) -> list[str]:
    """The suites in a stanza of a .sources file."""
    return next((line.split()[1:] for line in stanza.splitlines() if line.startswith("Suites:")), [])


def belongs_to_release(words: Sequence[str], text: str) -> bool:
    """Return whether a source belongs to the distribution: it names the release, and only the key of the archive."""
    codename = release()[1]
    own_suites = {codename, f"{codename}-updates", f"{codename}-security"} & set(words) and not text.startswith("#")
    return bool(codename and own_suites) and ("signed-by" not in text.lower() or "archive-keyring" in text)


def unpack(root: Path) -> None:
    """Download the packages and their dependencies, and extract them into a root file system."""
    apt = Apt(root.parent)
    apt.get("update", "Updating the package lists", "--error-on=any")
    # Apt assumes that nothing is installed, so it downloads all dependencies.
    apt.get("install", "Downloading Debian packages", "--yes", "--download-only", *PACKAGES)
    for folder in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    excluded = shlex.join(f"--exclude=.{pattern}" for pattern in EXCLUDED_PATHS)
    unpacked = f'dpkg-deb --fsys-tarfile "$package" | tar --extract --keep-directory-symlink {excluded}'
    script = f"for package in {shlex.quote(str(apt.archives))}/*.deb; do {unpacked} || exit; done"
    call(["bash", "-o", "pipefail", "-c", script], "Extracting Debian packages", folder=root)
    (root / "packages").write_text("".join(f"{path.stem}\n" for path in sorted(apt.archives.glob("*.deb"))))
    for folder in ("dev", "given", "node", "proc", "run", "sys", "tmp", "var"):  # mount points
        (root / folder).mkdir(exist_ok=True)
    for path, content in {
        # The scripts of packages, which do not run, would create these.
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
        # Mount points.
        "etc/resolv.conf": "",
        "etc/hosts": "",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    for keys in ("/usr/share/keyrings", "/etc/apt/keyrings", "/etc/apt/trusted.gpg.d"):  # of the package sources
        if Path(keys).is_dir():
            shutil.copytree(keys, root / keys[1:], dirs_exist_ok=True)


class Apt:
    """The apt of the machine, with separate lists, cache and sources. It assumes that nothing is installed."""

    def __init__(self, folder: Path) -> None:
        self.archives = folder / "archives"
        for path in ("archives/partial", "lists/partial", "sources"):
            (folder / path).mkdir(parents=True)
        (folder / "status").touch()
        for name, text in sources().items():
            (folder / "sources" / name).write_text(text)
        self._options = [
            f"Dir::State={folder}",
            f"Dir::State::lists={folder / 'lists'}",
            f"Dir::State::status={folder / 'status'}",
            f"Dir::Cache={folder}",
            f"Dir::Cache::archives={self.archives}",
            "Dir::Etc::SourceList=/dev/null",
            f"Dir::Etc::SourceParts={folder / 'sources'}",
            "APT::Sandbox::User=root",  # another user cannot write there
            "APT::Install-Recommends=false",
            "APT::Keep-Downloaded-Packages=true",
            "Acquire::Languages=none",
            "Acquire::Retries=3",
            "Debug::NoLocking=true",
        ]

    def get(self, command: str, what: str, *arguments: str) -> None:
        options = [part for option in self._options for part in ("-o", option)]
        call(["apt-get", "--quiet", *options, command, *arguments], what)


# Running

START = """\
set -e
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
for folder in sys dev; do mount --rbind "/$folder" "$ROOT/$folder"; done
for folder in run tmp given; do mount -t tmpfs tmpfs "$ROOT/$folder"; done
for file in etc/resolv.conf etc/hosts; do mount --bind "/$file" "$ROOT/$file"; done
{folders}
exec chroot "$ROOT" "$@"
"""
"""Runs the command in its arguments with the root file system `ROOT`. The mounts end with the mount namespace."""


def command(root: Path, arguments: Sequence[str], folders: Mapping[str, Path]) -> list[str]:
    """Return the command that runs a program in the root file system. `folders` are below /given there, by name."""
    mounts = [
        f'mkdir "$ROOT/given/{name}"; mount --bind {shlex.quote(str(path))} "$ROOT/given/{name}"'
        for name, path in folders.items()
    ]
    script = START.format(folders="\n".join(mounts))
    namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return ["unshare", *namespaces, "sh", "-c", script, "sh", *arguments]


def environment(root: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for that command. Of the current environment, it has only the proxies."""
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return {
        **proxies,
        "ROOT": str(root),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        **(more or {}),
    }


def bootstrap(root: Path, result: Path) -> None:
    """Create a base system as a tar archive: the variant minbase of mmdebstrap, and Python."""
    for name, text in sources().items():
        (result.parent / name).write_text(text)
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED_PATHS]
    arguments = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}"),
        *('--aptopt=Acquire::Languages "none"', *options, "--dpkgopt=path-include=/usr/share/doc/*/copyright"),
        *(release()[1], f"/given/folder/{result.name}", *(f"/given/folder/{name}" for name in sources())),
    ]
    call(
        command(root, arguments, {"folder": result.parent}),
        "Creating the base of the image (once)",
        environment=environment(root),
    )


if __name__ == "__main__":
    try:
        print(programs())
        print(base())
    except BuildError as error:
        sys.exit(str(error))
