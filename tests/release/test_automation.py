"""The workflows of a public forge and the settings of Renovate: valid, and consistent with this repository."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hack import plain_yaml
from hack.files import ROOT
from hack.image.python import published_python
from hack.release import programs
from hack.release.steps import ARCHITECTURES
from tests.repository.test_files import targets, tracked_files

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {path.name: path for path in sorted(FOLDER.iterdir())}
RENOVATE = json.loads((ROOT / "renovate.json").read_text("utf-8"))


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = plain_yaml.read(WORKFLOWS[name].read_text("utf-8"))["jobs"]
    return found


def commands(name: str) -> list[str]:
    """The commands of all steps of a workflow."""
    steps = [step for job in jobs(name).values() for step in job.get("steps", [])]
    return [step["run"] for step in steps if "run" in step]


# Workflows


def actionlint(folder: Path) -> subprocess.CompletedProcess[str]:
    # Without shellcheck and pyflakes, which a machine can have in any version.
    command = [programs.actionlint(), "-shellcheck=", "-pyflakes=", *sorted(folder.glob("*.yml"))]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_actionlint_accepts_the_workflows() -> None:
    done = actionlint(FOLDER)
    assert (done.returncode, done.stdout) == (0, "")


def test_actionlint_finds_a_mistake(tmp_path: Path) -> None:
    text = WORKFLOWS["ci.yml"].read_text("utf-8")
    (tmp_path / "ci.yml").write_text(text.replace("matrix.python }}", "matrix.pyton }}"))
    assert 'property "pyton" is not defined' in actionlint(tmp_path).stdout


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_only_run_targets_of_the_makefile(name: str) -> None:
    targets_and_setup = re.compile(r"make ([a-z-]+)( [A-Z]+=.*)?|git config --global --add safe\.directory .*")
    for command in commands(name):
        found = targets_and_setup.fullmatch(command)
        assert found, command
        assert found[1] is None or found[1] in targets(), command


def test_ci_tests_each_supported_python_on_each_architecture() -> None:
    matrix = jobs("ci.yml")["test"]["strategy"]["matrix"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"PYTHONS := {' '.join(matrix['python'])}\n" in makefile
    minimum = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    assert minimum == f">={matrix['python'][0]}"
    assert published_python()[0] in matrix["python"]
    assert len(matrix["runner"]) == len(ARCHITECTURES)
    assert commands("ci.yml")[-1] == "make test"


def test_release_builds_the_image_of_each_architecture_on_the_published_python() -> None:
    job = jobs("release.yml")["image"]
    assert [entry["architecture"] for entry in job["strategy"]["matrix"]["include"]] == list(ARCHITECTURES)
    assert job["container"]["image"] == "python:{}-{}".format(*published_python())


def test_release_is_published_only_after_the_check_the_tests_and_the_images() -> None:
    release = jobs("release.yml")
    assert release["publish"]["needs"] == ["test", "image"]
    assert release["test"]["needs"] == release["image"]["needs"] == "check"
    assert "make check-release" in commands("release.yml")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_can_only_read_the_repository(name: str) -> None:
    workflow = plain_yaml.read(WORKFLOWS[name].read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    extra = {key: job["permissions"] for key, job in workflow["jobs"].items() if "permissions" in job}
    assert extra == ({"publish": {"contents": "read", "packages": "write"}} if name == "release.yml" else {})


# Renovate

BUILT_IN = {
    # The default file patterns of the managers, as Renovate documents them.
    "gomod": r"(^|/)go\.mod$",
    "pep621": r"(^|/)pyproject\.toml$",
    "dockerfile": r"(^|/|\.)([Dd]ocker|[Cc]ontainer)file$",
    "github-actions": r"(^|/)(workflow-templates|\.(?:github|gitea|forgejo)/(?:workflows|actions))/.+\.ya?ml$",
}


def managed(name: str) -> list[str]:
    """The managers of Renovate that update a file."""
    patterns = dict(BUILT_IN)
    (patterns["pip_requirements"],) = (text.strip("/") for text in RENOVATE["pip_requirements"]["managerFilePatterns"])
    return [manager for manager, pattern in patterns.items() if re.search(pattern, name)]


def test_renovate_updates_each_file_that_pins_versions() -> None:
    names = [str(path.relative_to(ROOT)) for path in tracked_files()]
    pins = [name for name in names if re.search(r"go\.mod$|^requirements/|^Containerfile$|^\.github/workflows/", name)]
    assert len(pins) >= 9
    assert [name for name in pins if not managed(name)] == []
