"""Prints the size of the code base: `make figures`.

- The *product* is the Python code in `operator/`, including comments and docstrings.
- A *long module* has more than 350 lines. A *long class* has more than 250 lines, without its decorators.
- An *import cycle* is a group of modules that import each other, directly or through others. Imports inside functions
  count, and so do imports that only a type checker executes.
- *Assertions* are `assert` statements in `tests/`. Calls such as `pytest.raises` do not count.
- The *path of a survey* begins with a watch event and ends with the request that sends the survey.
  `tests/simulation/survey_path.py` measures it and defines its numbers. It is a separate program because it needs the
  simulation.

Tests check the limits: `tests/hack/test_figures.py`, and for the call chain on that path (`CHAIN_MODULES`,
`CHAIN_STEPS_BACK`), `tests/repository/test_architecture.py`.
"""

import argparse
import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import grimp

from hack.files import ROOT

PACKAGE = "qualtrics_exporter"
PRODUCT = ROOT / "operator" / PACKAGE
MODULE_LINES = 350
CLASS_LINES = 250
CHAIN_MODULES = 20
CHAIN_STEPS_BACK = 1


def product() -> dict[str, str]:
    """The modules of the product: their texts by path in the package."""
    return {str(path.relative_to(PRODUCT)): path.read_text("utf-8") for path in sorted(PRODUCT.rglob("*.py"))}


def long_modules(modules: Mapping[str, str]) -> dict[str, int]:
    """The modules that are too long, with their number of lines."""
    lengths = {name: len(text.splitlines()) for name, text in modules.items()}
    return {name: length for name, length in lengths.items() if length > MODULE_LINES}


def long_classes(modules: Mapping[str, str]) -> dict[str, int]:
    """The classes that are too long, as `module:class`, with their number of lines."""
    lengths = {
        f"{name}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, text in modules.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    }
    return {name: length for name, length in lengths.items() if length > CLASS_LINES}


def imports() -> dict[str, set[str]]:
    """For each module of the product, the modules of the product that it imports."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in sorted(graph.modules)}


def cycles(imported: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other."""
    reached = {module: set(_reached(module, imported)) for module in imported}
    groups = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in imported
        if module in reached[module]
    }
    return [list(group) for group in sorted(groups)]


def _reached(module: str, imported: Mapping[str, set[str]]) -> Iterator[str]:
    seen: set[str] = set()
    waiting = [*imported[module]]
    while waiting:
        if (other := waiting.pop()) not in seen:
            seen.add(other)
            waiting += imported[other]
            yield other


def assertions(folder: Path) -> int:
    """The number of `assert` statements in all Python files of a folder."""
    trees = (ast.parse(path.read_text("utf-8")) for path in folder.rglob("*.py"))
    return sum(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree))


def main(arguments: list[str] | None = None) -> int:
    """Print the numbers."""
    parser = argparse.ArgumentParser(prog="python -m hack.figures", description=__doc__)
    parser.add_argument("--steps", action="store_true", help="also print the modules of the path, and the steps back")
    options = parser.parse_args(arguments)
    modules = product()
    lines = [line for text in modules.values() for line in text.splitlines()]
    non_empty = sum(bool(line.strip()) for line in lines)
    print(f"product: {len(lines)} lines ({non_empty} without empty lines) in {len(modules)} modules")
    _list(f"modules over {MODULE_LINES} lines", [f"{name} ({n})" for name, n in long_modules(modules).items()])
    _list(f"classes over {CLASS_LINES} lines", [f"{name} ({n})" for name, n in long_classes(modules).items()])
    _list("import cycles", [", ".join(group) for group in cycles(imports())])
    print(f"assertions in tests: {assertions(ROOT / 'tests')}", flush=True)
    path = [sys.executable, "-m", "tests.simulation.survey_path", *(["--steps"] if options.steps else [])]
    return subprocess.run(path, cwd=ROOT, check=False).returncode


def _list(title: str, found: list[str]) -> None:
    print(f"{title}: {len(found) or 'none'}")
    for line in found:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
