"""The wheel and the source distribution are reproducible and have valid metadata."""

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from hack.build import BuildError
from hack.files import ROOT
from hack.release import distributions

SOURCE = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "crds", "operator", ".gitignore")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return distributions.build(tmp_path_factory.mktemp("dist"))


def test_second_build_from_a_copy_has_the_same_bytes(built: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, copy_function=shutil.copyfile)  # with new times
        else:
            copy.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    again = distributions.build(tmp_path, source=copy)
    assert {path.suffix for path in again} == {".gz", ".whl"}
    assert digests(again) == digests(built)


def digests(paths: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_checksums_are_those_that_sha256sum_checks(built: list[Path]) -> None:
    folder = built[0].parent
    (folder / "SHA256SUMS").write_text(distributions.checksums(built))
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Version: ", "Version: not a version ", "invalid metadata"),
        ("Name: qualtrics-exporter", "Name: another", "contains another"),
        (
            "Description-Content-Type: text/markdown",
            "Description-Content-Type: text/plain",
            "no description in Markdown",
        ),
    ],
    ids=["invalid version", "another name", "no Markdown"],
)
def test_wheel_with_wrong_metadata_is_refused(
    built: list[Path], tmp_path: Path, old: str, new: str, message: str
) -> None:
    (wheel,) = (path for path in built if path.suffix == ".whl")
    changed = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("METADATA"):
                assert old.encode() in content
                content = content.replace(old.encode(), new.encode(), 1)
            target.writestr(name, content)
    with pytest.raises(BuildError, match=message):
        distributions.check(changed)
