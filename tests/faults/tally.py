"""The table at the end of `make test-long`: what was tried, and which promises were broken.

Tests write rows into their own reports, which also reach the process that gathers those of several test workers.
"""

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.oracle import Finding, Found

SEED_VARIABLE = "QUALTRICS_EXPORTER_TEST_SEED"
PROPERTY = "faults"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: which attack, on what."""

    matrix: str
    subject: str


@dataclass
class Tally:
    """What one test tried. A broken build is counted apart: there a finding is what is wanted."""

    node: pytest.Item
    failures: list[str] = field(default_factory=list)

    def add(self, matrix: str, subject: str, point: str, found: Sequence[Found], *, broken: str | None = None) -> None:
        """Count one scenario. `point` says which, so that a failure can be repeated by itself."""
        kinds = sorted({str(one.kind) for one in found})
        record = {"matrix": matrix, "subject": subject, "kinds": kinds, "broken": broken}
        self.node.user_properties.append((PROPERTY, json.dumps(record)))
        if broken is None:
            self.failures += [f"{matrix}, {subject}, {point}: {one.kind}: {one.what}" for one in found]

    def note(self, text: str) -> None:
        """A figure that stands below the table."""
        self.node.user_properties.append((PROPERTY, json.dumps({"note": text})))

    def clean(self) -> None:
        """Fail if anything was found since this test began."""
        assert not self.failures, "\n".join(self.failures)


def seed() -> int:
    """The seed of everything random here: of this test run, or the one that somebody wants to repeat."""
    return int(os.environ.setdefault(SEED_VARIABLE, str(random.randrange(10**6))))


def table(properties: Iterable[tuple[str, Any]]) -> list[str]:
    """The lines of the table, made from the properties of all reports; none if there is nothing to show."""
    tried: Counter[Row] = Counter()
    found: dict[Row, Counter[str]] = defaultdict(Counter)
    caught: dict[Row, list[bool]] = defaultdict(list)
    notes = []
    for name, text in properties:
        if name != PROPERTY:
            continue
        record = json.loads(text)
        if "note" in record:
            notes.append(record["note"])
            continue
        if record["broken"]:
            caught[Row(record["matrix"], record["broken"])].append(bool(record["kinds"]))
            continue
        row = Row(record["matrix"], record["subject"])
        tried[row] += 1
        found[row].update(record["kinds"])
    columns = [str(kind) for kind in Finding]
    rows = [
        [*_named(row), str(tried[row]), *(str(found[row][c]) for c in columns)] for row in sorted(tried, key=_named)
    ]
    total = ["all", "", str(tried.total()), *(str(sum(found[row][c] for row in tried)) for c in columns)]
    lines = _laid_out([["attack", "on", "tried", *columns], *rows, total]) if rows else []
    broken = [[*_named(row), str(len(hits)), str(sum(hits))] for row, hits in sorted(caught.items(), key=_first_named)]
    if broken:
        lines += ["", *_laid_out([["attack", "deliberately broken build", "tried", "caught"], *broken])]
    return lines + (["", *notes] if notes else [])


def _named(row: Row) -> tuple[str, str]:
    return row.matrix, row.subject


def _first_named(item: tuple[Row, list[bool]]) -> tuple[str, str]:
    return _named(item[0])


def _laid_out(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    ruler = ["-" * width for width in widths]

    def line(cells: Sequence[str]) -> str:
        shown = [c.ljust(w) if n < 2 else c.rjust(w) for n, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(shown) + " |"

    return [line(rows[0]), line(ruler), *(line(row) for row in rows[1:])]
