"""Gathers the contents of the image: Python, the libraries that it is linked against, and the packages.

This program runs during the build of the image, in a Debian base, with the Python of the base and without packages. The
tree that it writes is the file system of the image. It contains only the files that this program copies or writes.

    gather.py VENV TREE              Python, the packages in VENV, and required files of the system
    gather.py VENV TREE --onto BASE  only the files of VENV that are not in BASE, an earlier tree

The result is reproducible: compiled files do not contain the time of their source, all files have the same time, and
the metadata that pip writes during an installation is omitted.
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
"""The user id of the image, which is unlikely to be a user of a node. With runAsNonRoot, Kubernetes needs a number."""

EXCLUDED_FROM_LIBRARY = (
    # For development, for terminals, or for installing packages.
    *("__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "lib2to3", "pydoc_data"),
    *("ensurepip", "venv", "config-*", "site-packages", "dist-packages", "EXTERNALLY-MANAGED", "sitecustomize.py"),
    *("distutils", "_tkinter.*.so", "_curses*.so", "_test*.so", "_xx*.so", "_ctypes_test.*.so", "xxlimited*.so"),
    # Databases, line editing, NIS: the operator does not use them, and some of their libraries have the GPL.
    *("readline.*.so", "_gdbm.*.so", "_dbm.*.so", "_sqlite3.*.so", "sqlite3", "nis.*.so"),
)
EXCLUDED_FROM_PACKAGES = (
    *("__pycache__", "*.pyc", "*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h", "*.hash"),
    # The metadata of an installation. It lists files that are omitted here, and only pip uses it.
    *("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"),
)
GENERATED_CLIENTS = ("kubernetes/client", "kubernetes/aio/client")
"""Thousands of files, one for each kind and API group, in two versions: most of the size of all packages. They are
imported lazily. The operator uses none of them, because it sends and receives JSON. Kopf uses a few."""

FILES = {
    "etc/passwd": f"root:x:0:0:root:/nonexistent:/nonexistent\nnonroot:x:{USER}:{USER}::/nonexistent:/nonexistent\n",
    "etc/group": f"root:x:0:\nnonroot:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LINKED_TO = re.compile(r"(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


class Tree:
    """A file system that is filled with files of the current one, at the same paths."""

    def __init__(self, root: Path, onto: Path | None) -> None:
        self.root = root
        self._onto = onto

    def has(self, path: str) -> bool:
        """Return whether a path exists in this tree or in its base."""
        return any(os.path.lexists(f"{tree}{path}") for tree in (self.root, self._onto) if tree)

    def take(self, path: str | Path) -> None:
        """Copy a file, and the symbolic links in its path."""
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
            place = self._new_path(str(path))
            shutil.copyfile(path, place)
            place.chmod(0o755 if os.access(path, os.X_OK) else 0o644)

    def link(self, path: str, target: str) -> None:
        self._new_path(path).symlink_to(target)

    def write(self, path: str, content: str) -> None:
        place = self._new_path(path)
        place.write_text(content)
        place.chmod(0o644)

    def finish(self) -> None:
        """Set the same time on everything, deepest paths first."""
        for path in sorted([self.root, *self.root.rglob("*")], reverse=True):
            os.utime(path, (0, 0), follow_symlinks=False)

    def _new_path(self, path: str) -> Path:
        place = self.root / path.lstrip("/")
        for folder in reversed(place.relative_to(self.root).parents):
            if not (self.root / folder).exists():
                (self.root / folder).mkdir(mode=0o755)
        return place


def below(folder: Path, unwanted: Iterable[str]) -> Iterator[Path]:
    """Yield the files below a folder. Files and folders whose name matches an unwanted pattern are skipped."""
    for path in sorted(folder.iterdir()):
        if any(fnmatch.fnmatchcase(path.name, pattern) for pattern in unwanted):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from below(path, unwanted)
        else:
            yield path


def interpreter(tree: Tree) -> None:
    tree.take(os.path.realpath(sys.executable))
    for kind in sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}):
        for path in below(Path(os.path.realpath(kind)), EXCLUDED_FROM_LIBRARY):
            tree.take(path)


def packages(tree: Tree, venv: Path) -> None:
    """Add the packages of a virtual environment. Of its programs, add only Python and the operator."""
    tree.take(venv / "pyvenv.cfg")
    for program in ("python", "python3", "qualtrics-exporter"):
        if (venv / "bin" / program).exists():
            tree.take(venv / "bin" / program)
    (library,) = venv.glob("lib/python3*/site-packages")
    imported = imported_client_modules(venv)
    for path in below(library, EXCLUDED_FROM_PACKAGES):
        name = str(path.relative_to(library))
        generated = any(name.startswith((f"{client}/api/", f"{client}/models/")) for client in GENERATED_CLIENTS)
        if not generated or name in imported or path.name == "__init__.py":
            tree.take(path)


def imported_client_modules(venv: Path) -> set[str]:
    """Return the modules of the Kubernetes client that importing it and Kopf loads. They are required."""
    script = "import sys, kopf, kubernetes.aio; print(*(m for m in sys.modules if m.startswith('kubernetes.')))"
    output = subprocess.run([venv / "bin" / "python3", "-c", script], check=True, capture_output=True, text=True).stdout
    return {name.replace(".", "/") + ".py" for name in output.split()}


def libraries(tree: Tree) -> None:
    """Add the libraries that ldd finds for programs and extension modules, and the cache of the dynamic linker."""
    binaries = [path for path in tree.root.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    output = subprocess.run(["ldd", *binaries], check=True, capture_output=True, text=True).stdout
    if "not found" in output:
        sys.exit(f"A library is missing in the base:\n{output}")
    found = set(LINKED_TO.findall(output))
    found |= in_same_folders("libgcc_s.so.1", found)  # glibc loads this when a thread exits
    for path in sorted(found):
        if not path.startswith(str(tree.root)):  # except libraries that are part of a package
            tree.take(path)
    tree.write("/etc/ld.so.conf", "".join(f"{folder}\n" for folder in sorted({os.path.dirname(p) for p in found})))
    subprocess.run(["ldconfig", "-r", tree.root], check=True)
    (tree.root / "etc" / "ld.so.conf").unlink()
    shutil.rmtree(tree.root / "var" / "cache", ignore_errors=True)


def in_same_folders(name: str, libraries: Iterable[str]) -> set[str]:
    """Return the paths of a library in the folders of other libraries."""
    return {f"{folder}/{name}" for folder in map(os.path.dirname, libraries) if os.path.exists(f"{folder}/{name}")}


def system_files(tree: Tree) -> None:
    """Add files that programs expect: users, name resolution, certificates, a writable folder."""
    for path, content in FILES.items():
        tree.write(f"/{path}", content)
    tree.take("/etc/os-release")
    tree.take(CERTIFICATES)
    wanted = ssl.get_default_verify_paths().openssl_cafile  # the default of OpenSSL
    if not tree.has(wanted):
        tree.link(wanted, CERTIFICATES)
    (tree.root / "tmp").mkdir()
    (tree.root / "tmp").chmod(0o1777)


def debian_metadata(tree: Tree) -> None:
    """Add the metadata of the Debian packages that own files in the tree, where image scanners look for it, and their
    licences.
    """
    found = (path for path in tree.root.rglob("*") if path.is_file() and not path.is_symlink())
    files = {f"/{path.relative_to(tree.root)}" for path in found}
    # A package can list a file in /usr/lib as one in /lib, from the time before these folders were merged.
    names = sorted(files | {path.removeprefix("/usr") for path in files if path.startswith("/usr/lib")})
    output = subprocess.run(["dpkg-query", "--search", *names], check=False, capture_output=True, text=True).stdout
    owners = {line.split(":")[0] for line in output.splitlines() if not line.startswith("diversion ")}
    for package in sorted({*owners, "ca-certificates"}):  # its postinst script creates the file with all certificates
        status = subprocess.run(["dpkg-query", "--status", package], check=True, capture_output=True, text=True).stdout
        tree.write(f"/var/lib/dpkg/status.d/{package}", status)
        licence = f"/usr/share/doc/{package}/copyright"
        if os.path.exists(licence):
            tree.write(licence, Path(licence).read_text("utf-8"))


def compile_modules(tree: Tree) -> None:
    """Compile all modules. The compiled files do not depend on the time of the source."""
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", "-s", tree.root, "-p", "/"]
        + [str(path) for path in sorted(tree.root.iterdir()) if path.is_dir() and not path.is_symlink()],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )


def main() -> None:
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
        system_files(tree)
        debian_metadata(tree)
    compile_modules(tree)
    tree.finish()


if __name__ == "__main__":
    main()
