"""What is built, with what, and how often; that the result works is shown by the tests that run it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.environment import build
from tests.environment.waiting import HANG_SECONDS


@pytest.fixture
def machine_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, for the Go of the machine."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "go"


@pytest.mark.parametrize("version", ["go1.26.0", "go1.27", "go1.27rc1", "go2.0.1", "devel go1.28-4f2c"])
def test_a_go_that_is_new_enough_is_used(version: str, machine_go: Path) -> None:
    machine_go.write_text(f"#!/bin/sh\necho {version}\n")
    machine_go.chmod(0o755)

    assert build.go() == machine_go


@pytest.mark.parametrize("answer", ["echo go1.25.9", "echo nonsense", "exit 1"])
def test_any_other_is_passed_over_for_the_one_of_the_packages(answer: str, machine_go: Path) -> None:
    machine_go.write_text(f"#!/bin/sh\n{answer}\n")
    machine_go.chmod(0o755)

    assert build.go() == build.installed("go")


@pytest.mark.usefixtures("machine_go")
def test_a_machine_without_go_builds_with_the_one_of_the_packages() -> None:
    assert build.go() == build.installed("go")


def test_a_missing_development_package_is_told() -> None:
    with pytest.raises(build.BuildError, match=r"no-such-program is missing: install requirements/dev\.txt"):
        build.installed("no-such-program")


def test_another_source_or_another_flag_is_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    for name in ("main.go", "go.mod", "go.sum"):
        (tmp_path / name).write_text(name)
    fingerprints = {build.fingerprint(["-s"]), build.fingerprint(["-w"])}

    for name in ("main.go", "go.mod", "go.sum"):
        (tmp_path / name).write_text(f"{name} changed")
        fingerprints.add(build.fingerprint(["-s"]))

    assert len(fingerprints) == 5


def test_two_at_once_build_once_and_both_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited_for = threading.Event()
    builds = []

    def compile_when_waited_for(_flags: list[str], output: Path) -> None:
        assert waited_for.wait(HANG_SECONDS)
        builds.append(output)
        output.write_text("a program")

    monkeypatch.setattr(build, "TOOLS", tmp_path / "tools")
    monkeypatch.setattr(build, "compile_program", compile_when_waited_for)
    monkeypatch.setattr(build.Progress, "show", lambda _progress: waited_for.set())

    with ThreadPoolExecutor() as pool:
        first, second = pool.submit(build.build), pool.submit(build.build)

    assert first.result() == second.result()
    assert first.result().read_text() == "a program"
    assert len(builds) == 1
    assert sorted(path.name for path in (tmp_path / "tools").iterdir()) == sorted([first.result().name, "k8s.lock"])


def test_a_failed_build_has_the_compilers_words_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text("module broken\n\ngo 1.26.0\n\n// k8s.io/kubernetes v1.37.2\n")
    (source / "go.sum").write_text("")
    (source / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    monkeypatch.setattr(build, "SOURCE", source)
    monkeypatch.setattr(build, "TOOLS", tmp_path / "tools")

    with pytest.raises(build.BuildError, match="undefined: undefined"):
        build.build()

    assert [path.name for path in (tmp_path / "tools").iterdir()] == ["k8s.lock"]


def test_the_program_tells_the_version_of_its_modules() -> None:
    assert build.link_flags().split("-X k8s.io/component-base/version.")[1:] == [
        "gitVersion=v1.37.2 ",
        "gitMajor=1 ",
        "gitMinor=37",
    ]
