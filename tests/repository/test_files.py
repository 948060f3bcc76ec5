"""The files of the repository: local details, pinned packages, CI, links in the documentation."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hack import plain_yaml
from hack.files import ROOT
from qualtrics_exporter.resource.exporter import Exporter

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKED = {name: (ROOT / "requirements" / f"{name}.txt").read_text() for name in ("runtime", "dev", "build", "bench")}
LOCAL_DETAIL = re.compile(
    r"/home/[a-z]\w*|/Users/[A-Za-z]\w*|(?<![\w.])/root/|(?<![\w.$])/(?:work|workspace|mnt|srv)/[a-z]"
    r"|--(?:extra-)?index-url|--find-links|--trusted-host|GOPROXY=|\bhttps?://[\w.-]*(?:pypi|artifactory|nexus|jfrog)"
)
"""A path on the machine of a developer, or a setting of a package index."""


def tracked_files() -> Iterator[Path]:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return (ROOT / name for name in files.stdout.split("\0") if name)


def lines_with_local_details(text: str) -> list[str]:
    return [line for line in text.splitlines() if LOCAL_DETAIL.search(line) or str(ROOT) in line]


def test_no_file_contains_local_paths_or_package_indexes() -> None:
    found = {}
    for path in tracked_files():
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if lines := lines_with_local_details(text):
            found[str(path.relative_to(ROOT))] = lines
    assert found == {}


@pytest.mark.parametrize(
    # The lines are assembled here, so that this file does not contain them.
    "line",
    [
        "/".join(("", "home", "ana", "project")),
        "--index" + "-url https://example.com",
        "see " + "/".join(("", "root", "x")),
        f"{ROOT}/x",
        "https://" + "py" + "pi.org/x",
    ],
)
def test_a_line_with_a_local_path_or_a_package_index_is_found(line: str) -> None:
    assert lines_with_local_details(line)


@pytest.mark.parametrize("name", LOCKED)
def test_every_package_is_pinned_with_hashes(name: str) -> None:
    packages = re.split(r"\n(?=\S)", LOCKED[name].replace("\\\n", ""))
    for package in packages:
        if not package.startswith("#"):
            assert re.match(r"[a-z0-9-]+==\S+( ; .*?)? +--hash=sha256:[0-9a-f]{64}", package), package[:80]


@pytest.mark.parametrize(
    ("name", "required"),
    [
        ("runtime", PROJECT["project"]["dependencies"]),
        ("dev", PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]),
        ("build", PROJECT["dependency-groups"]["build"] + PROJECT["build-system"]["requires"]),
        ("bench", PROJECT["dependency-groups"]["bench"]),
    ],
)
def test_pinned_versions_satisfy_pyproject(name: str, required: list[str]) -> None:
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", LOCKED[name], re.MULTILINE))
    for text in required:
        requirement = Requirement(text)
        version = pinned.get(requirement.name.lower())
        assert version, f"{requirement.name} is missing in requirements/{name}.txt: make requirements"
        assert requirement.specifier.contains(version), f"{text}, but {version} is pinned: make requirements"


def test_each_package_has_the_same_version_in_all_requirement_files() -> None:
    pins: dict[str, set[str]] = {}
    for text in LOCKED.values():
        for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", text, re.MULTILINE):
            pins.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}


def test_ci_runs_make_test() -> None:
    commands = [
        line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and not line.startswith(("#", "set"))
    ]
    assert commands == ['cd "$(dirname "${BASH_SOURCE[0]}")/.."', "exec make test"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_without_a_target_shows_every_target() -> None:
    output = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make (\S+)", output.stdout, re.MULTILINE)) == targets()


PAGES = sorted(
    path for pattern in ("*.md", "docs/*.md", "docs/alerts/*.md", "docs/nql/*.md") for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_make_targets_in_the_documentation_exist(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_in_the_documentation_exist(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        target = (page.parent / link) if link else page
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{link}#{anchor}"


def test_the_exporter_in_the_readme_is_valid() -> None:
    (text,) = re.findall(r"<<'END'\n(.*?)^END$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    exporter = Exporter.from_object(plain_yaml.read(text))
    assert exporter.spec, exporter.spec_error


def test_the_changelog_has_a_section_for_the_current_or_unreleased_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version = PROJECT["project"]["version"]
    assert re.search(rf"^## \[(Unreleased|{re.escape(version)})\]", changelog, re.MULTILINE)
