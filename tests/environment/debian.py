"""Programs of Debian for tests, in a folder: nothing is installed, nothing of the machine is changed.

An image wants a builder, and a node wants a container runtime. Debian has both, and its packages come by the mirror
that the machine has anyway; no container registry is asked. They are unpacked into a root file system of their own
below `.tools/`, with all that they depend on, and run in it: what the machine itself has installed plays no part, but
for apt, which fetches them with lists and a cache of our own, and for a few programs that every Linux has.

The same packages make the base of the image that is built here, by mmdebstrap.
"""

import hashlib
import inspect
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.environment.build import TOOLS, BuildError, call, made

PACKAGES = (
    "?essential",  # packages rely on these without saying so: a shell, find, sed
    "buildah",  # builds images
    "catatonit",  # holds the namespaces of a pod, and reaps
    "containerd",
    "containernetworking-plugins",  # an address for each pod
    "iproute2",  # the node's own network
    "mmdebstrap",  # makes the base of the image
    "mount",  # the kubelet mounts volumes by it
    "nftables",  # kube-proxy writes its rules by it
    "runc",
)
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
NO_DOCUMENTS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
NEEDED = ("apt-get", "apt-config", "dpkg-deb", "tar", "unshare", "mount", "chroot")


def obstacle() -> str | None:
    """Why this machine cannot run Debian's programs that way, as a clause; None if it can."""
    if platform.system() != "Linux":
        return f"it needs Linux, this is {platform.system()}"
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        return f"it needs {', '.join(missing)}: a Debian or one of its relatives"
    if os.geteuid() != 0:
        return "it needs to be root, for mounts and namespaces of its own"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/tmp"],
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        return f"it may not make namespaces and mounts here: {tried.stderr.strip()}"
    return None


def require() -> None:
    """BuildError if this machine cannot do it."""
    if reason := obstacle():
        raise BuildError(f"This cannot be done here: {reason}.")


def programs() -> Path:
    """Return the root file system with the programs, and make it first if it isn't there yet."""
    require()
    place = TOOLS / f"debian-{fingerprint(PACKAGES)}"
    with made(place, "unpacking programs of Debian") as root:
        if root:
            unpack(root)
    return place


def base() -> Path:
    """Return the base for images, a tar archive, and make it first if it isn't there yet."""
    inside = programs()
    place = TOOLS / f"base-{fingerprint(BASE_PACKAGES)}.tar"
    with made(place, "making the base of the image") as result:
        if result:
            bootstrap(inside, result)
    return place


def release() -> tuple[str, str]:
    """Return the machine's distribution and its code name: debian, bookworm."""
    told = platform.freedesktop_os_release()
    return told["ID"], told.get("VERSION_CODENAME", "")


def fingerprint(packages: Sequence[str]) -> str:
    """A hash of what makes one folder differ from another. Versions are not in it: they are those of the day."""
    recipe = [inspect.getsource(part) for part in (unpack, bootstrap, Apt)]
    parts = [*packages, *NO_DOCUMENTS, *recipe, *release(), platform.machine()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


# Packages


def sources(folder: Path = Path("/etc/apt")) -> dict[str, str]:
    """Return the machine's own package sources of its release, file by file: they name the mirror.

    Others, of a vendor for example, have nothing to give here and may not be within reach.
    """
    found = {}
    for path in sorted([*folder.glob("sources.list"), *folder.glob("sources.list.d/*")]):
        text = path.read_text(errors="replace")
        if path.suffix == ".sources":
            chosen = "\n\n".join(part for part in text.split("\n\n") if is_of_the_release(suites(part), part))
        elif path.suffix == ".list":
            chosen = "\n".join(line for line in text.splitlines() if is_of_the_release(line.split(), line))
        else:
            continue
        if chosen.strip():
            found[path.name] = chosen + "\n"
    if not found:
        raise BuildError(f"{folder} names no source of packages for {release()[1] or 'this release'}.")
    return found


def suites(stanza: str) -> list[str]:
    """The suites of one stanza of a .sources file."""
    return next((line.split()[1:] for line in stanza.splitlines() if line.startswith("Suites:")), [])


def is_of_the_release(words: Sequence[str], text: str) -> bool:
    """Whether a source is the distribution's own: it names the release, and no key but that of the archive."""
    codename = release()[1]
    ours = {codename, f"{codename}-updates", f"{codename}-security"} & set(words) and not text.startswith("#")
    return bool(codename and ours) and ("signed-by" not in text.lower() or "archive-keyring" in text)


def unpack(root: Path) -> None:
    """Fetch the packages with all that they depend on, and unpack them into a root file system."""
    apt = Apt(root.parent)
    apt.get("update", "Reading which packages there are", "--error-on=any")
    # Without a machine: nothing counts as installed, so that everything is fetched that is needed.
    apt.get("install", "Fetching programs of Debian", "--yes", "--download-only", *PACKAGES)
    for folder in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / folder).mkdir(parents=True)
        (root / folder).symlink_to(f"usr/{folder}")
    excluded = shlex.join(f"--exclude=.{pattern}" for pattern in NO_DOCUMENTS)
    unpacked = f'dpkg-deb --fsys-tarfile "$package" | tar --extract --keep-directory-symlink {excluded}'
    script = f"for package in {shlex.quote(str(apt.archives))}/*.deb; do {unpacked} || exit; done"
    call(["bash", "-o", "pipefail", "-c", script], "Unpacking programs of Debian", folder=root)
    (root / "packages").write_text("".join(f"{path.stem}\n" for path in sorted(apt.archives.glob("*.deb"))))
    for folder in ("dev", "given", "node", "proc", "run", "sys", "tmp", "var"):  # to be mounted over
        (root / folder).mkdir(exist_ok=True)
    for path, content in {
        # What a package's script would have done.
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
        # To be mounted over.
        "etc/resolv.conf": "",
        "etc/hosts": "",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    for keys in ("/usr/share/keyrings", "/etc/apt/keyrings", "/etc/apt/trusted.gpg.d"):  # of the machine's sources
        if Path(keys).is_dir():
            shutil.copytree(keys, root / keys[1:], dirs_exist_ok=True)


class Apt:
    """The machine's apt with lists, a cache and sources of our own, which believes that nothing is installed."""

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
            "APT::Sandbox::User=root",  # another user could not write there
            "APT::Install-Recommends=false",
            "APT::Keep-Downloaded-Packages=true",
            "Acquire::Languages=none",
            "Acquire::Retries=3",
            "Debug::NoLocking=true",
        ]

    def get(self, command: str, what: str, *arguments: str) -> None:
        """Run apt-get."""
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
"""What gives a program the root file system, in a mount namespace that ends with it: `ROOT`, then the command."""


def command(root: Path, arguments: Sequence[str], folders: Mapping[str, Path]) -> list[str]:
    """Return the command that runs a program inside. `folders` are seen there below /given, by their names."""
    mounts = [
        f'mkdir "$ROOT/given/{name}"; mount --bind {shlex.quote(str(path))} "$ROOT/given/{name}"'
        for name, path in folders.items()
    ]
    script = START.format(folders="\n".join(mounts))
    namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return ["unshare", *namespaces, "sh", "-c", script, "sh", *arguments]


def environment(root: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for that command: nothing of ours but how to reach the network."""
    ours = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return {
        **ours,
        "ROOT": str(root),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        **(more or {}),
    }


def bootstrap(root: Path, result: Path) -> None:
    """Make a base system, as a tar archive: what mmdebstrap calls minimal, and Python."""
    for name, text in sources().items():
        (result.parent / name).write_text(text)
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in NO_DOCUMENTS]
    arguments = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}"),
        *('--aptopt=Acquire::Languages "none"', *options, "--dpkgopt=path-include=/usr/share/doc/*/copyright"),
        *(release()[1], f"/given/folder/{result.name}", *(f"/given/folder/{name}" for name in sources())),
    ]
    call(
        command(root, arguments, {"folder": result.parent}),
        "Making a base for the image (once)",
        environment=environment(root),
    )


if __name__ == "__main__":
    try:
        print(programs())
        print(base())
    except BuildError as error:
        sys.exit(str(error))
