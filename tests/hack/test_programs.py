"""Building the Go programs: the Go that is used, when a program is built again, and the progress.

Other tests run the programs.
"""

import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hack import build, programs
from tests.support.waiting import HANG_SECONDS


@pytest.fixture
def machine_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of Go on the machine. PATH contains only its folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "go"


@pytest.mark.parametrize("version", ["go1.26.0", "go1.27", "go1.27rc1", "go2.0.1", "devel go1.28-4f2c"])
def test_a_recent_go_of_the_machine_is_used(version: str, machine_go: Path) -> None:
    machine_go.write_text(f"#!/bin/sh\necho {version}\n")
    machine_go.chmod(0o755)

    assert programs.go() == machine_go


@pytest.mark.parametrize("script", ["echo go1.25.9", "echo nonsense", "exit 1"])
def test_an_old_or_broken_go_of_the_machine_is_replaced_by_the_development_package(
    script: str, machine_go: Path
) -> None:
    machine_go.write_text(f"#!/bin/sh\n{script}\n")
    machine_go.chmod(0o755)

    assert programs.go() == programs.installed("go")


@pytest.mark.usefixtures("machine_go")
def test_a_machine_without_go_uses_the_go_of_the_development_package() -> None:
    assert programs.go() == programs.installed("go")


def test_a_missing_development_package_is_named_in_the_error() -> None:
    with pytest.raises(build.BuildError, match=r"no-such-program is missing: install requirements/dev\.txt"):
        programs.installed("no-such-program")


def test_a_change_of_source_or_flags_changes_the_fingerprint_of_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SOURCE", tmp_path)
    for name in ("main.go", "go.mod", "go.sum"):
        (tmp_path / name).write_text(name)
    fingerprints = {programs.fingerprint(["-s"]), programs.fingerprint(["-w"])}

    for name in ("main.go", "go.mod", "go.sum"):
        (tmp_path / name).write_text(f"{name} changed")
        fingerprints.add(programs.fingerprint(["-s"]))

    assert len(fingerprints) == 5


def test_a_change_of_one_program_does_not_rebuild_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "SOURCE", tmp_path)
    for name in ("go.mod", "go.sum", "k8s/helm.go", "controlplane/main.go", "internal/controlplane/controlplane.go"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    before = [programs.fingerprint([], "./k8s"), programs.fingerprint([], "./controlplane")]

    (tmp_path / "k8s/helm.go").write_text("changed")
    after = [programs.fingerprint([], "./k8s"), programs.fingerprint([], "./controlplane")]
    (tmp_path / "internal/controlplane/controlplane.go").write_text("changed")

    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True]
    assert programs.fingerprint([], "./controlplane") != after[1]


def test_two_concurrent_builds_compile_once_and_return_the_same_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_waits = threading.Event()
    builds = []

    def compile_when_second_waits(_program: programs.Program, output: Path) -> None:
        assert second_waits.wait(HANG_SECONDS)
        builds.append(output)
        output.write_text("a program")

    monkeypatch.setattr(programs, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(programs, "compile_program", compile_when_second_waits)
    monkeypatch.setattr(build.Progress, "show", lambda _progress: second_waits.set())

    with ThreadPoolExecutor() as pool:
        first, second = pool.submit(programs.build), pool.submit(programs.build)

    assert first.result() == second.result()
    assert first.result().read_text() == "a program"
    assert len(builds) == 1
    assert sorted(path.name for path in (tmp_path / "tools").iterdir()) == sorted([first.result().name, "k8s.lock"])


def test_a_failed_build_reports_the_compiler_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    (source / "k8s").mkdir(parents=True)
    (source / "go.mod").write_text("module broken\n\ngo 1.26.0\n\n// k8s.io/kubernetes v1.37.2\n")
    (source / "go.sum").write_text("")
    (source / "k8s" / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    monkeypatch.setattr(programs, "SOURCE", source)
    monkeypatch.setattr(programs, "TOOLS", tmp_path / "tools")

    with pytest.raises(build.BuildError, match="undefined: undefined"):
        programs.build()

    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["k8s.lock"]


LISTED_PACKAGES = (
    "go: downloading k8s.io/api v0.37.2\npackage unsafe false\npackage errors true\npackage x/controlplane true\n"
)


@pytest.mark.parametrize(
    ("output", "progress"),
    [
        ("", "package 1 of 3"),
        ("go: downloading k8s.io/api v0.37.2\n", "package 1 of 3"),
        ("errors\n", "linking"),
        ("errors\nx/controlplane\n", "linking"),
    ],
)
def test_progress_counts_cached_and_compiled_packages(output: str, progress: str) -> None:
    assert programs.Packages.parse(LISTED_PACKAGES).progress(output) == progress


def test_progress_counts_the_downloads_so_far() -> None:
    assert [programs.downloads(""), programs.downloads(LISTED_PACKAGES)] == ["", "1 modules downloaded"]


def test_the_small_control_plane_is_built_only_if_the_complete_program_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = []

    def compile_program(program: programs.Program, output: Path) -> None:
        builds.append(program)
        output.write_text("a program")

    monkeypatch.setattr(programs, "TOOLS", tmp_path)
    monkeypatch.setattr(programs, "compile_program", compile_program)

    assert programs.control_plane_command() == [str(programs.CONTROL_PLANE.path)]
    assert programs.control_plane_command() == [str(programs.CONTROL_PLANE.path)]
    assert builds == [programs.CONTROL_PLANE]

    everything = programs.build()

    assert programs.control_plane_command() == [str(everything), "controlplane"]
    assert builds == [programs.CONTROL_PLANE, programs.EVERYTHING]


def test_the_small_control_plane_contains_no_package_of_helm_or_a_node() -> None:
    command = [str(programs.go()), "list", "-deps", programs.CONTROL_PLANE.package]
    packages = subprocess.run(
        command, cwd=programs.SOURCE, env=programs.go_environment(), check=True, capture_output=True, text=True
    ).stdout

    assert "k8s.io/kubernetes/cmd/kube-apiserver/app\n" in packages
    assert not re.search(
        r"^(helm\.sh|github\.com/(containerd|coredns)|k8s\.io/kubernetes/cmd/kubelet)/", packages, re.MULTILINE
    )


def test_the_link_flags_set_the_version_of_kubernetes() -> None:
    assert programs.link_flags().split("-X k8s.io/component-base/version.")[1:] == [
        "gitVersion=v1.37.2 ",
        "gitMajor=1 ",
        "gitMinor=37",
    ]
