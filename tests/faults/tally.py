"""Counts the scenarios of the attacks, and collects the promises that they broke.

Each test gives its verdict itself, with `assert tally.violations == [], tally.how_to_repeat`. In addition, the counts
of all tests are shown as a table at the end of `make test-long`. A test writes its rows into its own report, so that
they also arrive from other test workers.
"""

import json
import os
import random
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.assertions import Violation, ViolationKind

SEED_VARIABLE = "QUALTRICS_EXPORTER_TEST_SEED"
PROPERTY = "faults"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: the attack, and what it attacks."""

    attack: str
    target: str


@dataclass
class Tally:
    """The scenarios of one test. Those with a mutant are counted separately, because they must violate a promise."""

    node: pytest.Item
    violations: list[str] = field(default_factory=list)
    """What was violated without a mutant, with the name of the scenario."""
    caught: list[str] = field(default_factory=list)
    """What was violated with a mutant."""
    scenarios: int = 0

    def add(
        self,
        attack: str,
        target: str,
        scenario: str,
        violations: Sequence[Violation],
        *,
        mutant: str | None = None,
    ) -> None:
        """Count one scenario. `scenario` names it, so that a failure can be repeated on its own."""
        kinds = sorted({str(one.kind) for one in violations})
        record = {"attack": attack, "target": target, "kinds": kinds, "mutant": mutant}
        self.node.user_properties.append((PROPERTY, json.dumps(record)))
        self.scenarios += 1
        described = [f"{attack}, {target}, {scenario}: {one.kind}: {one.description}" for one in violations]
        if mutant is None:
            self.violations += described
        else:
            self.caught += described
        for line in described:
            print(line)  # pytest shows it even if the test ends before its verdict

    def note(self, text: str) -> None:
        """Show a figure below the table."""
        self.node.user_properties.append((PROPERTY, json.dumps({"note": text})))

    @property
    def how_to_repeat(self) -> str:
        """The message of a failed verdict."""
        return (
            f"Violations: {len(self.violations)}, in {self.scenarios} scenarios. Repeat them with: "
            f"{SEED_VARIABLE}={seed()} .venv/bin/pytest -m 'long or not long' {shlex.quote(self.node.nodeid)}"
        )


def seed() -> int:
    """The seed of everything random here: that of the variable, otherwise a new one for this run of the tests."""
    return int(os.environ.setdefault(SEED_VARIABLE, str(random.randrange(10**6))))


def table(properties: Iterable[tuple[str, Any]]) -> list[str]:
    """The lines of the table, from the properties of all reports. Empty if no attack ran."""
    tried: Counter[Row] = Counter()
    violated: dict[Row, Counter[str]] = defaultdict(Counter)
    caught: dict[Row, list[bool]] = defaultdict(list)
    notes = []
    for name, text in properties:
        if name != PROPERTY:
            continue
        record = json.loads(text)
        if "note" in record:
            notes.append(record["note"])
            continue
        if record["mutant"]:
            caught[Row(record["attack"], record["mutant"])].append(bool(record["kinds"]))
            continue
        row = Row(record["attack"], record["target"])
        tried[row] += 1
        violated[row].update(record["kinds"])
    columns = [str(kind) for kind in ViolationKind]
    rows = [
        [*_cells(row), str(tried[row]), *(str(violated[row][c]) for c in columns)] for row in sorted(tried, key=_cells)
    ]
    total = ["all", "", str(tried.total()), *(str(sum(violated[row][c] for row in tried)) for c in columns)]
    lines = _formatted([["attack", "on", "tried", *columns], *rows, total]) if rows else []
    mutants = [[*_cells(row), str(len(hits)), str(sum(hits))] for row, hits in sorted(caught.items(), key=_first_cells)]
    if mutants:
        lines += ["", *_formatted([["attack", "mutant", "tried", "caught"], *mutants])]
    return lines + (["", *notes] if notes else [])


def _cells(row: Row) -> tuple[str, str]:
    return row.attack, row.target


def _first_cells(item: tuple[Row, list[bool]]) -> tuple[str, str]:
    return _cells(item[0])


def _formatted(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    ruler = ["-" * width for width in widths]

    def line(cells: Sequence[str]) -> str:
        shown = [c.ljust(w) if n < 2 else c.rjust(w) for n, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(shown) + " |"

    return [line(rows[0]), line(ruler), *(line(row) for row in rows[1:])]
