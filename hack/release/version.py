"""Checks the version of a release before anything is built: `python -m hack.release check`.

pyproject.toml, Chart.yaml, the commands in the documentation, the samples, the changelog and the tag of the commit have
the same version, and nothing is uncommitted.
A rehearsal checks only the files that are published: it needs no section in the changelog and no tag.
"""

import re
import subprocess
import tomllib
from pathlib import Path

from hack import plain_yaml
from hack.build import BuildError
from hack.files import ROOT

PROJECT = "pyproject.toml"
CHART = "charts/qualtrics-exporter/Chart.yaml"
CHANGELOG = "CHANGELOG.md"
PAGES = (
    "README.md",
    "charts/qualtrics-exporter/README.md",
    "docs/gitops.md",
    "docs/image.md",
    "docs/operating.md",
    "docs/releasing.md",
    "samples/gitops/clusters/argocd/operator.yaml",
    "samples/gitops/operator/chart.yaml",
    "samples/kustomize/kustomization.yaml",
)
"""The pages and samples that name a version, in one of these forms."""
NAMED = re.compile(
    r"(?:/qualtrics-exporter(?: --version |:)|qualtrics-exporter-(?=[\d.]+\.oci)|\?ref=v|\bVERSION=|^ *targetRevision: "
    r"|^ *tag: )v?(\d+\.\d+(?:\.\d+)?(?:-[0-9A-Za-z.-]+)?)",
    re.MULTILINE,
)
"""A version in a command or a sample: `qualtrics-exporter --version 0.1.0`, `?ref=v0.1.0`, or `tag: 0.1.0`."""
SEMANTIC = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?")


class ReleaseError(BuildError):
    """The release is refused. The message says why, and what to do."""


def check(root: Path = ROOT, *, rehearsal: bool = False) -> str:
    """Return the version of the release, or raise ReleaseError with everything that is wrong."""
    version = str(tomllib.loads((root / PROJECT).read_text("utf-8"))["project"]["version"])
    problems = list(_file_problems(root, version))
    if not rehearsal:
        problems += [
            *_changelog_problems((root / CHANGELOG).read_text("utf-8"), version),
            *_git_problems(root, version),
        ]
    if problems:
        raise ReleaseError(f"Version {version} cannot be released:\n" + "".join(f"- {text}\n" for text in problems))
    return version


def _file_problems(root: Path, version: str) -> list[str]:
    chart = plain_yaml.read((root / CHART).read_text("utf-8"))
    problems = [
        f"{CHART} has {key} {chart[key]}, and {PROJECT} has {version}: set both to the same version."
        for key in ("version", "appVersion")
        if str(chart[key]) != version
    ]
    for page in PAGES:
        named = NAMED.findall((root / page).read_text("utf-8"))
        if other := sorted(set(named) - {version}):
            problems.append(f"{page} is for {', '.join(other)}: write {version}.")
    if not SEMANTIC.fullmatch(version):
        problems.append(f"{version} is not a semantic version, which charts need: use a version such as 0.2.0.")
    return problems


def _changelog_problems(changelog: str, version: str) -> list[str]:
    section = re.search(rf"^## \[{re.escape(version)}\](.*)\n((?:(?!## ).*\n?)*)", changelog, re.MULTILINE)
    if not section:
        return [f"{CHANGELOG} has no section [{version}]: move the entries of [Unreleased] into one."]
    if not re.fullmatch(r" - \d{4}-\d\d-\d\d", section[1].rstrip()):
        return [f"The section [{version}] of {CHANGELOG} has no date: write `## [{version}] - 2026-01-31`."]
    if not section[2].strip():
        return [f"The section [{version}] of {CHANGELOG} is empty: say what changed."]
    return []


def _git_problems(root: Path, version: str) -> list[str]:
    problems = []
    if _git(root, "status", "--porcelain"):
        problems.append("There are uncommitted changes: commit them, or remove them.")
    tag = f"v{version}"
    if tag not in _git(root, "tag", "--points-at", "HEAD").split():
        tagged = bool(_git(root, "tag", "--list", tag))
        problems.append(
            f"The tag {tag} is at another commit: check out {tag}, or release a new version."
            if tagged
            else f"The commit has no tag {tag}: run `git tag --sign {tag}`."
        )
    return problems


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout.strip()
