"""Figures: what a benchmark measured, next to its floor and its target. Plain data, a table and JSON.

    Figure ── ratio, is_met ──▶ table, as_json ◀── from_json

A floor is the same work, done by the plainest program in the same run, or computed from the limits of the vendors.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

HEADER = ("benchmark", "figure", "unit", "minimum", "median", "maximum", "floor", "ratio", "target", "met")
ON_TARGET, OFF_TARGET = "yes", "off target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The highest permitted value of a figure: as a factor of its floor, or by itself."""

    at_most: float
    of_floor: bool = False

    def __str__(self) -> str:
        return f"≤ {self.at_most:g} ×" if self.of_floor else f"≤ {self.at_most:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The lowest possible value, and where it comes from."""

    values: tuple[float, ...]
    source: str

    @property
    def value(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. `values` has a value for each repetition."""

    benchmark: str
    name: str
    unit: str
    values: tuple[float, ...]
    floor: Floor | None = None
    target: Target | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.name} has no value")
        if self.target and self.target.of_floor and not self.floor:
            raise ValueError(f"the target of {self.name} is a factor of its floor, which is missing")

    @property
    def value(self) -> float:
        """The value that counts: the median of all repetitions."""
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """How many times the floor this is; None without a floor, or with a floor of zero."""
        return self.value / self.floor.value if self.floor and self.floor.value else None

    @property
    def is_met(self) -> bool | None:
        """Whether the figure is on target; None without a target."""
        if self.target is None:
            return None
        if not self.target.of_floor:
            return self.value <= self.target.at_most
        assert self.floor  # noqa: S101  `__post_init__` checks this
        return self.value <= self.target.at_most * self.floor.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A figure at several sizes, for a plot and its slope."""

    benchmark: str
    name: str
    unit: str
    size: str
    """What the sizes count, such as exporters."""
    points: tuple[tuple[float, float], ...]
    """Pairs of a size and a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A benchmark that could not measure."""

    benchmark: str
    reason: str


def number(value: float | None) -> str:
    """A number with three significant digits; large ones have all digits before the point."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cells(figure: Figure) -> tuple[str, ...]:
    """One line of the table, with the columns of `HEADER`."""
    several = len(figure.values) > 1
    return (
        figure.benchmark,
        figure.name,
        figure.unit,
        number(min(figure.values)) if several else "",
        number(figure.value),
        number(max(figure.values)) if several else "",
        number(figure.floor.value) if figure.floor else "",
        number(figure.ratio),
        str(figure.target or ""),
        {None: "", True: ON_TARGET, False: OFF_TARGET}[figure.is_met],
    )


def aligned(rows: Sequence[Sequence[str]], *, left: int = 3) -> Iterable[str]:
    """Lines of text with aligned columns. The first columns are aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(padded).rstrip()


def table(figures: Sequence[Figure], failures: Sequence[Failure] = ()) -> str:
    """All figures as text, with a line for each benchmark that failed."""
    lines = list(aligned([HEADER, *map(cells, figures)])) if figures else []
    lines += [f"FAILED  {failure.benchmark}: {failure.reason}" for failure in failures]
    return "\n".join(lines)


def markdown(figures: Sequence[Figure]) -> str:
    """All figures as a Markdown table."""
    rows = [HEADER, ("---", "---", "---", *["---:"] * 6, "---"), *map(cells, figures)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def figure_json(figure: Figure) -> dict[str, Any]:
    """The figure as JSON, with what is computed from it, for readers that do not use this module."""
    return {**asdict(figure), "median": figure.value, "ratio": figure.ratio, "met": figure.is_met}


def figure_from_json(document: Mapping[str, Any]) -> Figure:
    """The figure that `figure_json` wrote."""
    floor, target = document["floor"], document["target"]
    return Figure(
        **{key: document[key] for key in ("benchmark", "name", "unit", "note")},
        values=tuple(document["values"]),
        floor=Floor(values=tuple(floor["values"]), source=floor["source"]) if floor else None,
        target=Target(**target) if target else None,
    )


def series_from_json(document: Mapping[str, Any]) -> Series:
    """The series that `asdict` wrote."""
    points = tuple((size, value) for size, value in document["points"])
    return Series(**{**document, "points": points})
