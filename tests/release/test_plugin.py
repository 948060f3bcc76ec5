"""The plugin for krew: its manifest, the program that finds a Python, and its installation with krew."""

import hashlib
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from hack import plain_yaml
from hack.build import BuildError
from hack.files import ROOT
from hack.image.builder import version
from hack.programs import installed
from hack.release import distributions, plugin, programs
from tests.support.stage import Stage
from tests.support.waiting import HANG_SECONDS

DOWNLOADS = "https://downloads.example.com/v1"
THIS_MACHINE = ("linux", {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()])


def test_manifest_has_each_platform_with_the_checksum_of_its_archive(tmp_path: Path) -> None:
    archives = {platform: tmp_path / f"{'-'.join(platform)}.tar.gz" for platform in plugin.PLATFORMS}
    for path in archives.values():
        path.write_bytes(path.name.encode())

    manifest = plain_yaml.read(plugin.manifest("1.2.3", f"{DOWNLOADS}/", archives))

    assert (manifest["metadata"]["name"], manifest["spec"]["version"]) == ("qex", "v1.2.3")
    platforms = manifest["spec"]["platforms"]
    assert [tuple(each["selector"]["matchLabels"].values()) for each in platforms] == list(plugin.PLATFORMS)
    for each, path in zip(platforms, archives.values(), strict=True):
        assert each["uri"] == f"{DOWNLOADS}/{path.name}"
        assert each["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_plugin_supports_the_pythons_of_the_tests() -> None:
    assert f"PYTHONS := {' '.join(plugin.PYTHONS)}\n" in (ROOT / "Makefile").read_text("utf-8")
    launcher = plugin.LAUNCHER.read_text("utf-8")
    others = tuple(f"python{python}" for python in reversed(plugin.PYTHONS))
    assert f"OTHERS = {others}".replace("'", '"') in launcher
    assert f"{', '.join(plugin.PYTHONS[:-1])} or {plugin.PYTHONS[-1]}" in launcher


# Packages for several versions of Python in one folder


def package(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_compiled_modules_of_several_pythons_are_in_one_folder(tmp_path: Path) -> None:
    target = tmp_path / "target"
    for number in ("311", "312"):
        files = {"__init__.py": "the same", f"compiled.cpython-{number}.so": number, "RECORD": number}
        plugin.merge(package(tmp_path / number, **files), target)
    names = {path.name for path in (target / "package").iterdir()}
    assert names == {"__init__.py", "compiled.cpython-311.so", "compiled.cpython-312.so"}


def test_packages_that_differ_between_pythons_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    plugin.merge(package(tmp_path / "311", **{"__init__.py": "one"}), target)
    with pytest.raises(BuildError, match=r"package/__init__\.py is different for another version of Python"):
        plugin.merge(package(tmp_path / "312", **{"__init__.py": "other"}), target)


# The program that finds a Python


@dataclass
class Launcher:
    """The program in an archive whose command prints its arguments."""

    folder: Path
    path: Path

    def __call__(self, *arguments: str, name: str = plugin.PROGRAM) -> subprocess.CompletedProcess[str]:
        """Start the program by the link of krew, with this Python and another PATH."""
        link = self.folder / name
        if not link.is_symlink():
            link.symlink_to(self.folder / "store" / plugin.PROGRAM)
        command = [sys.executable, str(link), *arguments]
        environment = {"PATH": str(self.path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS)

    def supports(self, suffix: str) -> None:
        """Add a compiled module with this suffix to the archive."""
        place = self.folder / "store" / "lib" / "pydantic_core"
        place.mkdir()
        (place / f"_pydantic_core{suffix}").touch()


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    command = tmp_path / "store" / "lib" / "qualtrics_exporter" / "cli" / "qex"
    command.mkdir(parents=True)
    for folder in (command.parent.parent, command.parent):
        (folder / "__init__.py").touch()
    (command / "__init__.py").write_text("import sys\ndef main(): print('qex', *sys.argv[1:])\n")
    (command / "completion.py").write_text("import sys\ndef main(): print('complete', *sys.argv[1:])\n")
    (tmp_path / "store" / plugin.PROGRAM).write_bytes(plugin.LAUNCHER.read_bytes())
    path = tmp_path / "path"
    path.mkdir()
    return Launcher(tmp_path, path)


def test_launcher_runs_the_command_or_its_completion_by_the_name_of_the_link(launcher: Launcher) -> None:
    launcher.supports(EXTENSION_SUFFIXES[0])
    assert launcher("list", "-A").stdout == "qex list -A\n"
    assert launcher("re", name="kubectl_complete-qex").stdout == "complete re\n"


def test_launcher_starts_another_python_if_this_one_does_not_fit(launcher: Launcher) -> None:
    launcher.supports(".of-another-python.so")
    other = launcher.path / "python3.12"
    other.write_text('#!/bin/sh\necho "$0" "$@"\n')
    other.chmod(0o755)
    assert launcher("list").stdout.split() == [str(other), str(launcher.folder / plugin.PROGRAM), "list"]


def test_launcher_tries_each_python_once_and_says_what_is_missing(launcher: Launcher) -> None:
    launcher.supports(".of-another-python.so")
    for name in ("python3.14", "python3.11"):
        (launcher.path / name).symlink_to(sys.executable)
    done = launcher("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: kubectl qex needs Python 3.11, 3.12, 3.13 or 3.14 on the PATH")


# Installation with krew


@dataclass
class Krew:
    """krew in an empty home directory, with kubectl and the Python of this machine."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        folder = self.home / "programs"
        if not folder.exists():
            folder.mkdir()
            (folder / "kubectl").symlink_to(installed("kubectl"))
            (folder / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
        path = os.pathsep.join([str(self.home / "krew" / "bin"), str(folder), "/usr/bin", "/bin"])
        krew = {"KREW_ROOT": str(self.home / "krew"), "KREW_NO_UPGRADE_CHECK": "1"}
        return {"PATH": path, "HOME": str(self.home), "KUBERC": "off", **krew}

    def run(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **more}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_SECONDS)

    def install(self, manifest: Path, archive: Path) -> subprocess.CompletedProcess[str]:
        return self.run(programs.krew(), "install", f"--manifest={manifest}", f"--archive={archive}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The archive for this machine, and the manifest."""
    folder = tmp_path_factory.mktemp("plugin")
    wheel = distributions.wheel(distributions.build(folder))
    archive, manifest = plugin.build(version(), DOWNLOADS, wheel, folder, [THIS_MACHINE])
    return archive, manifest


@pytest.mark.long
def test_plugin_that_krew_installs_works_with_kubectl(built: tuple[Path, Path], stage: Stage, tmp_path: Path) -> None:
    archive, manifest = built
    stage.exporter()
    krew = Krew(tmp_path)

    done = krew.install(manifest, archive)
    assert done.returncode == 0, done.stderr
    assert f"The plugin needs Python {', '.join(plugin.PYTHONS[:-1])}" in done.stderr

    assert "Usage: kubectl qex" in krew.run("kubectl", "qex", "--help").stdout
    assert krew.run("kubectl", "qex", "--version").stdout == f"kubectl qex {version()}\n"

    def qex(*arguments: str) -> str:
        command = ("kubectl", "qex", *arguments, "-n", stage.namespace)
        done = krew.run(*command, KUBECONFIG=str(stage.cluster.kubeconfig))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "teams-rollout" in qex("list")
    assert "teams-rollout is suspended now" in qex("suspend", "teams-rollout")
    assert "suspended: no slot runs until you resume it" in qex("status", "teams-rollout")

    (tmp_path / "krew" / "bin" / "kubectl_complete-qex").symlink_to("kubectl-qex")
    assert krew.run("kubectl", "__complete", "qex", "re").stdout.split()[:1] == ["resume"]


@pytest.mark.long
def test_krew_refuses_an_archive_that_was_changed(built: tuple[Path, Path], tmp_path: Path) -> None:
    archive, manifest = built
    changed = tmp_path / archive.name
    changed.write_bytes(archive.read_bytes() + b"changed")
    done = Krew(tmp_path).install(manifest, changed)
    assert done.returncode == 1
    assert "checksum does not match" in done.stderr
    assert not (tmp_path / "krew" / "bin" / "kubectl-qex").exists()


@pytest.mark.long
def test_archives_of_the_same_source_have_the_same_bytes(built: tuple[Path, Path], tmp_path: Path) -> None:
    archive, _ = built
    wheel = distributions.wheel(archive.parent.iterdir())
    assert plugin.archive(THIS_MACHINE, version(), wheel, tmp_path).read_bytes() == archive.read_bytes()
