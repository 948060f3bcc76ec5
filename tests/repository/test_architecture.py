"""docs/architecture.md matches the code, and the docstring of each package lists its modules."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from hack.figures import CHAIN_MODULES, CHAIN_STEPS_BACK, PRODUCT
from hack.files import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
MIN_BEHAVIORS = 60


def rows(heading: str) -> list[tuple[str, str, str]]:
    """The rows of the table in a section: the text, the path, and the name in that file, which may be empty."""
    lines = PAGE.split(f"\n## {heading}\n")[1].splitlines()
    section = takewhile(lambda line: not line.startswith("## "), lines)
    cells = [tuple(cell.strip().strip("`") for cell in line.split("|")[1:-1]) for line in section if line[:1] == "|"]
    return [(text, path, name) for text, path, name in cells[2:] if not text.startswith("**")]


STEPS = rows("The path of one survey")
BEHAVIORS = rows("Behaviors and their files")
PACKAGES = [path.parent for path in sorted(PRODUCT.rglob("__init__.py"))]
TOOLS = [ROOT / folder for folder in ("hack", "hack/image", "hack/node", "hack/release", "tests/support")]


def path_of(path: str) -> Path:
    """The file or folder that the page names: below the root of the repository, or else in the product."""
    return ROOT / path if (ROOT / path.split("/")[0]).exists() else PRODUCT / path


def defined_names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """The functions, classes, methods and constants that these statements define."""
    for node in body:
        match node:
            case ast.ClassDef():
                yield prefix + node.name
                yield from defined_names(node.body, f"{prefix}{node.name}.")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + node.name
            case ast.Assign():
                yield from (prefix + target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name


def defines(path: Path, name: str) -> bool:
    text = path.read_text("utf-8")
    return name in defined_names(ast.parse(text).body) if path.suffix == ".py" else f'define "{name}"' in text


def modules(package: Path) -> set[str]:
    """The modules, grammars and packages in a package."""
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    names = {path.stem for path in package.iterdir() if path.suffix in (".py", ".lark")}
    return packages | {name for name in names if not name.startswith("test_")} - {"__init__"}


def words_in_map(docstring: str) -> set[str]:
    """The words in the list of modules in a docstring: lines with columns, indented lines, and list items."""
    return set(re.findall(r"\w+", "\n".join(re.findall(r"^(?:- .*|.*\S {2,}.*| {2,}.*)$", docstring, re.MULTILINE))))


def docstring(package: Path) -> str:
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""


def test_table_of_behaviors_has_at_least_60_rows() -> None:
    assert len(BEHAVIORS) >= MIN_BEHAVIORS


def test_table_of_behaviors_has_each_question_once() -> None:
    questions = [question for question, _, _ in BEHAVIORS]
    assert [question for question in set(questions) if questions.count(question) > 1] == []


@pytest.mark.parametrize("row", [*STEPS, *BEHAVIORS], ids=lambda row: row[0])
def test_each_row_names_an_existing_file_and_a_definition_in_it(row: tuple[str, str, str]) -> None:
    _, path, name = row
    assert path_of(path).is_file(), path
    assert not name or defines(path_of(path), name), f"{path} has no {name}"


def test_every_path_on_the_architecture_page_exists() -> None:
    paths = re.findall(r"`([\w./-]+(?:/|\.py))`", PAGE)
    assert [path for path in paths if not path_of(path).exists()] == []


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != PRODUCT], ids=lambda path: path.name)
def test_table_of_behaviors_covers_each_package(package: Path) -> None:
    assert package in {path_of(path).parent for _, path, _ in BEHAVIORS}


@pytest.mark.parametrize("folder", ["charts", "hack", "tests/simulation"])
def test_table_of_behaviors_covers_the_chart_the_tools_and_the_simulation(folder: str) -> None:
    assert any(path.startswith(f"{folder}/") for _, path, _ in BEHAVIORS)


@pytest.fixture(scope="module")
def measured_path() -> str:
    """The path of a survey, as `hack.figures --steps` prints it."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation.survey_path", "--steps"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_call_chain_from_the_watch_event_to_the_post_does_not_exceed_its_limits(measured_path: str) -> None:
    chain = re.search(r"^call chain .*: (\d+) modules.*, (\d+) steps back$", measured_path, re.MULTILINE)
    assert chain
    number_of_modules, steps_back = map(int, chain.groups())
    assert number_of_modules <= CHAIN_MODULES
    assert steps_back <= CHAIN_STEPS_BACK


def test_path_of_a_survey_on_the_page_is_the_measured_one(measured_path: str) -> None:
    measured_modules = {
        "/".join(module.split(".")) for module in re.findall(r"^  ([\w.]+)(?: \(\w+\))?$", measured_path, re.MULTILINE)
    }
    files = {str(path_of(f"{module}.py").relative_to(PRODUCT)) for module in measured_modules}
    files |= {f"{module}/__init__.py" for module in measured_modules}
    # The API server, Kopf's watch and the sandbox are not part of the simulation.
    not_simulated = {"resource/crd.py", "controller/kube/namespace_watch.py"}
    files_on_page = {path for _, path, _ in STEPS if not path.startswith("sandbox/")} - not_simulated
    assert files_on_page - files == set()


@pytest.mark.parametrize("package", [*PACKAGES, *TOOLS], ids=lambda path: path.name)
def test_docstring_of_a_package_names_its_modules(package: Path) -> None:
    assert modules(package) - words_in_map(docstring(package)) == set()


@pytest.mark.parametrize("package", [*PACKAGES, *TOOLS], ids=lambda path: path.name)
def test_docstring_of_a_package_names_only_existing_files(package: Path) -> None:
    files = re.findall(r"(?<![\w/])(\w+\.(?:py|lark)|\w+/(?=\s))", docstring(package))
    assert [file for file in files if not (package / file).exists()] == []


def test_these_checks_find_missing_files_names_and_modules() -> None:
    page = ROOT / "docs" / "architecture.md"
    assert not path_of("export/nowhere.py").exists()
    assert not defines(PRODUCT / "export" / "steps.py", "nowhere")
    assert defines(PRODUCT / "export" / "steps.py", "STEPS")
    assert not defines(page, "nowhere")
    assert words_in_map("Sends all.\n\nrun.py  one\n- `check`: two") == {"run", "py", "one", "check", "two"}
