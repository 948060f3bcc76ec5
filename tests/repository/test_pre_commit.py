"""The pre-commit hook that other repositories use."""

import os
import re
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hack import plain_yaml
from hack.files import ROOT
from tests.support.waiting import HANG_SECONDS

(HOOK,) = plain_yaml.read((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
SAMPLE = (ROOT / "samples" / "teams-rollout.yaml").read_text("utf-8")
SCRIPTS = Path(sysconfig.get_path("scripts"))

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command in another repository, which has a valid manifest, an invalid one and other files."""
    repository = tmp_path / "gitops"
    (repository / "chart").mkdir(parents=True)
    (repository / "good.yaml").write_text(SAMPLE)
    (repository / "bad.yaml").write_text(SAMPLE.replace("| list", "| lst").replace("focus < 1min", "focus <"))
    (repository / "chart" / "template.yaml").write_text("metadata: {{ include metadata }}\n")
    (repository / "notes.txt").write_text("QualtricsExporter\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PRE_COMMIT"))},
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PRE_COMMIT_HOME": str(tmp_path / "cache"),
        "PRE_COMMIT_COLOR": "never",
    }

    def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )

    assert run_command("git", "init", "--quiet").returncode == 0
    assert run_command("git", "add", "--all").returncode == 0
    return run_command


def test_pre_commit_accepts_the_definition_of_the_hook(run: Run) -> None:
    result = run("pre-commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml"))
    assert (result.returncode, result.stderr) == (0, "")


def test_the_hook_rejects_only_invalid_manifests(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "gitops" / ".pre-commit-config.yaml"
    # The definition of the hook, but with the installed program, so that nothing is downloaded.
    config.write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": [{**HOOK, "language": "system"}]}]}))
    result = run("pre-commit", "run", "--all-files")
    assert result.returncode == 1
    assert re.search(
        r"^bad\.yaml:\d+:22: error QueryInvalid: a field or a value is missing", result.stdout, re.MULTILINE
    )
    assert re.search(
        r"^bad\.yaml:\d+:9: warning QueryNotVerified: 'lst' is not a known clause", result.stdout, re.MULTILINE
    )
    assert run("pre-commit", "run", "--files", "good.yaml", "chart/template.yaml").returncode == 0
    assert "no files to check" in run("pre-commit", "run", "--files", "notes.txt").stdout


@pytest.mark.long
def test_pre_commit_installs_and_runs_the_hook_from_this_repository(run: Run) -> None:
    result = run("pre-commit", "try-repo", str(ROOT), HOOK["id"], "--files", "good.yaml", "bad.yaml")
    assert result.returncode == 1
    assert re.search(r"^bad\.yaml:\d+:22: error QueryInvalid", result.stdout, re.MULTILINE)
    assert "good.yaml" not in result.stdout
