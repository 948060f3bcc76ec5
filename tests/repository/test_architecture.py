"""docs/architecture.md agrees with the code, and each package of the product has a map of its modules."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from hack.figures import PRODUCT
from tests.environment.build import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ENOUGH_ROWS = 60


def rows(heading: str) -> list[tuple[str, str, str]]:
    """The rows of the table in a section: the text, the path, and the name in that file, which may be empty."""
    lines = PAGE.split(f"\n## {heading}\n")[1].splitlines()
    section = takewhile(lambda line: not line.startswith("## "), lines)
    cells = [tuple(cell.strip().strip("`") for cell in line.split("|")[1:-1]) for line in section if line[:1] == "|"]
    return [(text, path, name) for text, path, name in cells[2:] if not text.startswith("**")]


STEPS = rows("The path of one survey")
BEHAVIORS = rows("Behaviors and their files")
PACKAGES = [path.parent for path in sorted(PRODUCT.rglob("__init__.py"))]


def located(path: str) -> Path:
    """The file or folder that the page names: below the root of the repository, or else in the product."""
    return ROOT / path if (ROOT / path.split("/")[0]).exists() else PRODUCT / path


def names(body: list[ast.stmt], inside: str = "") -> Iterator[str]:
    """The functions, classes, methods and constants that these statements define."""
    for node in body:
        match node:
            case ast.ClassDef():
                yield inside + node.name
                yield from names(node.body, f"{inside}{node.name}.")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield inside + node.name
            case ast.Assign():
                yield from (inside + target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield inside + name


def has_name(path: Path, name: str) -> bool:
    text = path.read_text("utf-8")
    return name in names(ast.parse(text).body) if path.suffix == ".py" else f'define "{name}"' in text


def modules(package: Path) -> set[str]:
    """The modules, grammars and packages in a package."""
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    return packages | {path.stem for path in package.iterdir() if path.suffix in (".py", ".lark")} - {"__init__"}


def named_in_map(docstring: str) -> set[str]:
    """The words in the lines of a map: lines with columns, indented lines, and items of a list."""
    return set(re.findall(r"\w+", "\n".join(re.findall(r"^(?:- .*|.*\S {2,}.*| {2,}.*)$", docstring, re.MULTILINE))))


def docstring(package: Path) -> str:
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""


def test_table_has_enough_behaviors() -> None:
    assert len(BEHAVIORS) >= ENOUGH_ROWS


def test_table_asks_each_question_once() -> None:
    questions = [question for question, _, _ in BEHAVIORS]
    assert [question for question in set(questions) if questions.count(question) > 1] == []


@pytest.mark.parametrize("row", [*STEPS, *BEHAVIORS], ids=lambda row: row[0])
def test_row_names_a_file_and_what_is_in_it(row: tuple[str, str, str]) -> None:
    _, path, name = row
    assert located(path).is_file(), path
    assert not name or has_name(located(path), name), f"{path} has no {name}"


def test_every_path_in_the_text_exists() -> None:
    paths = re.findall(r"`([\w./-]+(?:/|\.py))`", PAGE)
    assert [path for path in paths if not located(path).exists()] == []


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != PRODUCT], ids=lambda path: path.name)
def test_table_has_a_behavior_of_each_package(package: Path) -> None:
    assert package in {located(path).parent for _, path, _ in BEHAVIORS}


@pytest.mark.parametrize("folder", ["charts", "hack", "tests/simulation"])
def test_table_has_a_behavior_of_what_is_around_the_product(folder: str) -> None:
    assert any(path.startswith(f"{folder}/") for _, path, _ in BEHAVIORS)


def test_path_of_a_survey_is_the_one_that_is_measured() -> None:
    measured = subprocess.run(
        [sys.executable, "-m", "tests.simulation.survey_path", "--steps"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = {"/".join(module.split(".")) for module in re.findall(r"^  ([\w.]+)(?: \(\w+\))?$", measured, re.MULTILINE)}
    files = {str(located(f"{module}.py").relative_to(PRODUCT)) for module in found}
    files |= {f"{module}/__init__.py" for module in found}
    # The API server, Kopf's watch and the sandbox are not part of the simulation.
    outside = {"resource/crd.py", "controller/kube/namespace_watch.py"}
    named = {path for _, path, _ in STEPS if not path.startswith("sandbox/")} - outside
    assert named - files == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_map_of_a_package_names_its_modules(package: Path) -> None:
    assert modules(package) - named_in_map(docstring(package)) == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_map_of_a_package_names_only_files_that_exist(package: Path) -> None:
    files = re.findall(r"(?<![\w/])(\w+\.(?:py|lark)|\w+/(?=\s))", docstring(package))
    assert [file for file in files if not (package / file).exists()] == []


def test_missing_names_and_modules_are_found() -> None:
    page = ROOT / "docs" / "architecture.md"
    assert not located("export/nowhere.py").exists()
    assert not has_name(PRODUCT / "export" / "steps.py", "nowhere")
    assert has_name(PRODUCT / "export" / "steps.py", "STEPS")
    assert not has_name(page, "nowhere")
    assert named_in_map("Sends all.\n\nrun.py  one\n- `check`: two") == {"run", "py", "one", "check", "two"}
