"""The contents of the wheel and the source distribution."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from hack.files import ROOT

PACKAGE = ROOT / "operator" / "qualtrics_exporter"


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True)
    return folder


def test_the_wheel_contains_only_the_package(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {PurePosixPath(name) for name in archive.namelist()}
    modules = {PurePosixPath("qualtrics_exporter") / path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    other_files = {name for name in names - modules if not name.parts[0].endswith(".dist-info")}
    assert modules - names == set()
    of_pages = {name for name in other_files if name.parent.name in ("assets", "templates")}
    assert {name.name for name in of_pages} >= {"base.html", "style.css", "page.js", "icon.svg", "outbox.html"}
    assert {name.suffix for name in of_pages} == {".html", ".css", ".js", ".svg"}
    assert {str(name) for name in other_files - of_pages} == {
        *("qualtrics_exporter/py.typed", "qualtrics_exporter/nql/grammar.lark")
    }
    assert [name for name in names if name.stem in ("generate", "figures")] == []


def test_the_source_distribution_contains_neither_tests_nor_tools(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]) for name in archive.getnames()}
    assert {name.parts[0] for name in names} == {
        *("operator", "crds", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore")
    }
