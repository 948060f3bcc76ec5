"""Gathers what the image is made of: Python, what it is linked against, the packages, and nothing else.

Runs while the image is built, in a Debian base with Python, by that Python and without any package. The tree that it
writes becomes the whole file system of the image: what is not named here is not in it.

    gather.py VENV TREE              Python, the packages in VENV, and what the system has to have
    gather.py VENV TREE --onto BASE  only those files of VENV that BASE, an earlier tree, has not

The same input gives the same tree to the bit: compiled files are bound to no time of their source, every file has the
same age, and what pip notes about an installation is left out.
"""

import argparse
import fnmatch
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

USER = 65532
"""Who the image runs as: a number that no user of a node is likely to have. Kubernetes wants a number."""

NOT_FROM_THE_LIBRARY = (
    # For developers, for terminals, or to install more.
    *("__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "lib2to3", "pydoc_data"),
    *("ensurepip", "venv", "config-*", "site-packages", "dist-packages", "EXTERNALLY-MANAGED", "sitecustomize.py"),
    *("distutils", "_tkinter.*.so", "_curses*.so", "_test*.so", "_xx*.so", "_ctypes_test.*.so", "xxlimited*.so"),
    # Databases, line editing, yellow pages: nobody asks for them here, and some libraries behind them are GPL.
    *("readline.*.so", "_gdbm.*.so", "_dbm.*.so", "_sqlite3.*.so", "sqlite3", "nis.*.so"),
)
NOT_FROM_PACKAGES = (
    *("__pycache__", "*.pyc", "*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h", "*.hash"),
    # What pip notes about an installation: it names files that are left out here, and is of use to pip alone.
    *("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"),
)
GENERATED_CLIENTS = ("kubernetes/client", "kubernetes/aio/client")
"""Thousands of files, one for each kind and group of the API, twice: most of what all packages weigh. They are loaded
one by one when somebody asks for them; the operator speaks JSON to the API and asks for none, Kopf for a few."""

FILES = {
    "etc/passwd": f"root:x:0:0:root:/nonexistent:/nonexistent\nnonroot:x:{USER}:{USER}::/nonexistent:/nonexistent\n",
    "etc/group": f"root:x:0:\nnonroot:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LINKED_TO = re.compile(r"(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


class Tree:
    """A file system that grows by copies from the present one, each at its own path."""

    def __init__(self, root: Path, onto: Path | None) -> None:
        self.root = root
        self._onto = onto

    def has(self, path: str) -> bool:
        """Whether there is such a file already, in this tree or below it."""
        return any(os.path.lexists(f"{tree}{path}") for tree in (self.root, self._onto) if tree)

    def take(self, path: str | Path) -> None:
        """Copy one file. Each symbolic link on the way to it becomes one in the tree."""
        parts = Path(path).parts[1:]
        for length in range(1, len(parts) + 1):
            step = "/" + "/".join(parts[:length])
            if os.path.islink(step):
                if not self.has(step):
                    self.link(step, os.readlink(step))
                target = os.path.normpath(os.path.join(os.path.dirname(step), os.readlink(step)))
                self.take(os.path.join(target, *parts[length:]))
                return
        if not self.has(str(path)):
            place = self._place(str(path))
            shutil.copyfile(path, place)
            place.chmod(0o755 if os.access(path, os.X_OK) else 0o644)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        self._place(path).symlink_to(target)

    def write(self, path: str, content: str) -> None:
        """Write a file."""
        place = self._place(path)
        place.write_text(content)
        place.chmod(0o644)

    def finish(self) -> None:
        """Give everything the same age, what lies deepest first: a new file makes its folder younger."""
        for path in sorted([self.root, *self.root.rglob("*")], reverse=True):
            os.utime(path, (0, 0), follow_symlinks=False)

    def _place(self, path: str) -> Path:
        place = self.root / path.lstrip("/")
        for folder in reversed(place.relative_to(self.root).parents):
            if not (self.root / folder).exists():
                (self.root / folder).mkdir(mode=0o755)
        return place


def below(folder: Path, unwanted: Iterable[str]) -> Iterator[Path]:
    """The files below a folder, without those that have, or lie in a folder that has, an unwanted name."""
    for path in sorted(folder.iterdir()):
        if any(fnmatch.fnmatchcase(path.name, pattern) for pattern in unwanted):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from below(path, unwanted)
        else:
            yield path


def interpreter(tree: Tree) -> None:
    """Python itself and its standard library."""
    tree.take(os.path.realpath(sys.executable))
    for kind in sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}):
        for path in below(Path(os.path.realpath(kind)), NOT_FROM_THE_LIBRARY):
            tree.take(path)


def packages(tree: Tree, venv: Path) -> None:
    """A virtual environment without its tools: of its programs, Python and ours are left."""
    tree.take(venv / "pyvenv.cfg")
    for program in ("python", "python3", "qualtrics-exporter"):
        if (venv / "bin" / program).exists():
            tree.take(venv / "bin" / program)
    (library,) = venv.glob("lib/python3*/site-packages")
    loaded = loaded_of_the_generated(venv)
    for path in below(library, NOT_FROM_PACKAGES):
        name = str(path.relative_to(library))
        generated = any(name.startswith((f"{client}/api/", f"{client}/models/")) for client in GENERATED_CLIENTS)
        if not generated or name in loaded or path.name == "__init__.py":
            tree.take(path)


def loaded_of_the_generated(venv: Path) -> set[str]:
    """The modules of the Kubernetes client that are loaded as soon as it and Kopf are: those cannot be left out."""
    ask = "import sys, kopf, kubernetes.aio; print(*(m for m in sys.modules if m.startswith('kubernetes.')))"
    told = subprocess.run([venv / "bin" / "python3", "-c", ask], check=True, capture_output=True, text=True).stdout
    return {name.replace(".", "/") + ".py" for name in told.split()}


def libraries(tree: Tree) -> None:
    """What the programs and extension modules are linked against, as the linker itself tells it, and its cache."""
    binaries = [path for path in tree.root.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    told = subprocess.run(["ldd", *binaries], check=True, capture_output=True, text=True).stdout
    if "not found" in told:
        sys.exit(f"A library is missing in the base:\n{told}")
    found = set(LINKED_TO.findall(told))
    found |= found_beside("libgcc_s.so.1", found)  # glibc loads it when a thread is ended
    for path in sorted(found):
        if not path.startswith(str(tree.root)):  # a library that a package brought for itself
            tree.take(path)
    tree.write("/etc/ld.so.conf", "".join(f"{folder}\n" for folder in sorted({os.path.dirname(p) for p in found})))
    subprocess.run(["ldconfig", "-r", tree.root], check=True)
    (tree.root / "etc" / "ld.so.conf").unlink()
    shutil.rmtree(tree.root / "var" / "cache", ignore_errors=True)


def found_beside(name: str, libraries: Iterable[str]) -> set[str]:
    """A library by its name, from the folders in which others were found."""
    return {f"{folder}/{name}" for folder in map(os.path.dirname, libraries) if os.path.exists(f"{folder}/{name}")}


def system(tree: Tree) -> None:
    """What every program expects: users, names, certificates, a folder to write to."""
    for path, content in FILES.items():
        tree.write(f"/{path}", content)
    tree.take("/etc/os-release")
    tree.take(CERTIFICATES)
    wanted = ssl.get_default_verify_paths().openssl_cafile  # where OpenSSL looks, if nobody tells it anything else
    if not tree.has(wanted):
        tree.link(wanted, CERTIFICATES)
    (tree.root / "tmp").mkdir()
    (tree.root / "tmp").chmod(0o1777)


def origins(tree: Tree) -> None:
    """What Debian's packages that something was taken from say of themselves, where scanners of images look for it,
    and their licences.
    """
    found = (path for path in tree.root.rglob("*") if path.is_file() and not path.is_symlink())
    files = {f"/{path.relative_to(tree.root)}" for path in found}
    # A file in /usr/lib may be known to its package as one in /lib, from before these folders became one.
    names = sorted(files | {path.removeprefix("/usr") for path in files if path.startswith("/usr/lib")})
    told = subprocess.run(["dpkg-query", "--search", *names], check=False, capture_output=True, text=True).stdout
    owners = {line.split(":")[0] for line in told.splitlines() if not line.startswith("diversion ")}
    for package in sorted({*owners, "ca-certificates"}):  # its postinst makes the file with all certificates
        status = subprocess.run(["dpkg-query", "--status", package], check=True, capture_output=True, text=True).stdout
        tree.write(f"/var/lib/dpkg/status.d/{package}", status)
        licence = f"/usr/share/doc/{package}/copyright"
        if os.path.exists(licence):
            tree.write(licence, Path(licence).read_text("utf-8"))


def compiled(tree: Tree) -> None:
    """Compile all modules to files that are valid as they are: no time of a source is kept in them or compared."""
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", "-s", tree.root, "-p", "/"]
        + [str(path) for path in sorted(tree.root.iterdir()) if path.is_dir() and not path.is_symlink()],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )


def main() -> None:
    """Gather."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("venv", type=Path)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--onto", type=Path)
    wanted = parser.parse_args()
    wanted.tree.mkdir(mode=0o755)
    tree = Tree(wanted.tree, wanted.onto)
    if not wanted.onto:
        interpreter(tree)
    packages(tree, wanted.venv)
    if not wanted.onto:
        libraries(tree)
        system(tree)
        origins(tree)
    compiled(tree)
    tree.finish()


if __name__ == "__main__":
    main()
