"""The first step of a release refuses a commit that is not a release, and says what to do."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from hack.files import ROOT
from hack.release.version import CHANGELOG, CHART, NAMED, PAGES, PROJECT, ReleaseError, check

VERSION = "0.7.0"
ARGO_CD = "samples/gitops/clusters/argocd/operator.yaml"
SECTION = f"## [{VERSION}] - 2026-01-31\n\n- A change.\n\n"


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the files of this one, as a tagged release of 0.7.0."""
    current = tomllib.loads((ROOT / PROJECT).read_text("utf-8"))["project"]["version"]
    for name in (PROJECT, CHART, CHANGELOG, *PAGES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    replace(tmp_path / PROJECT, f'version = "{current}"', f'version = "{VERSION}"')
    replace(tmp_path / CHART, f"ersion: {current}", f"ersion: {VERSION}")
    for name in PAGES:
        replace(tmp_path / name, current, VERSION)
    changelog = (tmp_path / CHANGELOG).read_text("utf-8")
    (tmp_path / CHANGELOG).write_text(changelog.replace("## [", f"{SECTION}## [", 1), "utf-8")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    git(tmp_path, "tag", f"v{VERSION}")
    return tmp_path


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "All")


def test_tagged_commit_with_one_version_everywhere_is_a_release(repository: Path) -> None:
    assert check(repository) == VERSION


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (CHART, "\nversion: 0.7.0", "\nversion: 0.6.0", f"{CHART} has version 0.6.0, and {PROJECT} has 0.7.0"),
        (CHART, "appVersion: 0.7.0", "appVersion: 0.6.0", f"{CHART} has appVersion 0.6.0, and {PROJECT} has 0.7.0"),
        ("README.md", "--version 0.7.0", "--version 0.6.0", r"README\.md is for 0\.6\.0: write 0\.7\.0"),
        ("docs/image.md", "exporter:0.7.0", "exporter:0.6.0", r"docs/image\.md is for 0\.6\.0"),
        ("docs/image.md", "exporter-0.7.0.oci", "exporter-0.6.0.oci", r"docs/image\.md is for 0\.6\.0"),
        ("docs/releasing.md", "VERSION=0.7.0", "VERSION=0.6.0", r"docs/releasing\.md is for 0\.6\.0"),
        ("docs/gitops.md", "?ref=v0.7.0", "?ref=v0.6.0", r"docs/gitops\.md is for 0\.6\.0"),
        ("samples/gitops/operator/chart.yaml", "tag: 0.7.0", "tag: 0.6.0", r"operator/chart\.yaml is for 0\.6\.0"),
        (ARGO_CD, "targetRevision: 0.7.0", "targetRevision: 0.6.0", r"argocd/operator\.yaml is for 0\.6\.0"),
        (CHANGELOG, f"[{VERSION}]", "[0.6.9]", r"no section \[0.7.0\]: move the entries of \[Unreleased\] into one"),
        (CHANGELOG, f"[{VERSION}] - 2026-01-31", f"[{VERSION}]", "has no date: write `## .0.7.0. - 2026-01-31`"),
        (CHANGELOG, SECTION, f"## [{VERSION}] - 2026-01-31\n\n", "is empty: say what changed"),
    ],
    ids=[
        "version of the chart",
        "app version of the chart",
        "command",
        "name of the image",
        "archive of the image",
        "argument of make",
        "reference of Git",
        "chart of Flux",
        "chart of Argo CD",
        "no section",
        "no date",
        "empty section",
    ],
)
def test_release_is_refused_if_a_file_does_not_belong_to_the_version(
    repository: Path, file: str, old: str, new: str, message: str
) -> None:
    replace(repository / file, old, new)
    commit(repository)
    git(repository, "tag", "--force", f"v{VERSION}")
    with pytest.raises(ReleaseError, match=message):
        check(repository)


def test_every_page_and_sample_that_names_a_version_is_checked() -> None:
    """Otherwise the release after this one would install this one."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md", "samples", "charts/*/README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    pages = [name for name in listed.stdout.splitlines() if (ROOT / name).suffix in (".md", ".yaml")]
    assert {name for name in pages if NAMED.search((ROOT / name).read_text("utf-8"))} == set(PAGES)


def test_release_is_refused_with_uncommitted_changes(repository: Path) -> None:
    (repository / "new").touch()
    with pytest.raises(ReleaseError, match="There are uncommitted changes: commit them"):
        check(repository)


def test_release_is_refused_without_a_tag(repository: Path) -> None:
    git(repository, "tag", "--delete", f"v{VERSION}")
    with pytest.raises(ReleaseError, match=f"The commit has no tag v{VERSION}: run `git tag"):
        check(repository)


def test_release_is_refused_if_the_tag_is_at_another_commit(repository: Path) -> None:
    (repository / "new").touch()
    commit(repository)
    with pytest.raises(ReleaseError, match=f"The tag v{VERSION} is at another commit: check out v{VERSION}"):
        check(repository)


def test_refusal_lists_all_problems_at_once(repository: Path) -> None:
    replace(repository / CHART, "appVersion: 0.7.0", "appVersion: 0.6.0")
    git(repository, "tag", "--delete", f"v{VERSION}")
    with pytest.raises(ReleaseError, match=r"(?s)appVersion 0\.6\.0.*uncommitted changes.*has no tag"):
        check(repository)


def test_version_that_a_chart_cannot_have_is_refused(repository: Path) -> None:
    replace(repository / PROJECT, 'version = "0.7.0"', 'version = "0.7"')
    with pytest.raises(ReleaseError, match=r"0\.7 is not a semantic version"):
        check(repository, rehearsal=True)


def test_rehearsal_needs_neither_a_tag_nor_a_section_in_the_changelog() -> None:
    assert check(rehearsal=True) == tomllib.loads((ROOT / PROJECT).read_text("utf-8"))["project"]["version"]
