"""The plots of docs/performance.md, as SVG. The same figures give the same files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Series

FILES = ("ratios.svg", "growth.svg")
NEUTRAL, ON_TARGET, OFF_TARGET = "#4c72b0", "#55a868", "#c44e52"


def draw(figures: Sequence[Figure], series: Sequence[Series], folder: Path) -> None:
    """Write both plots into the folder."""
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    import matplotlib as mpl  # imported here because only this function needs the requirements of the plots

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "qualtrics-exporter", "svg.fonttype": "none", "font.family": "sans-serif"})
    folder.mkdir(parents=True, exist_ok=True)
    _ratios([figure for figure in figures if figure.ratio is not None], folder / FILES[0])
    _growth(series, folder / FILES[1])


def _ratios(figures: Sequence[Figure], file: Path) -> None:
    """How many times its floor each figure is, and its target."""
    from matplotlib import pyplot

    plot, axes = pyplot.subplots(figsize=(10, 1 + 0.4 * len(figures)), layout="constrained")
    colors = [{None: NEUTRAL, True: ON_TARGET, False: OFF_TARGET}[figure.is_met] for figure in figures]
    axes.barh(range(len(figures)), [figure.ratio or 0 for figure in figures], color=colors, height=0.6)
    for row, figure in enumerate(figures):
        axes.text(figure.ratio or 0, row, f" {figure.ratio:.3g} ×", va="center")
        if figure.target and figure.target.of_floor:
            axes.plot([figure.target.at_most] * 2, [row - 0.4, row + 0.4], color="black", linewidth=2)
    axes.set_yticks(range(len(figures)), [f"{one.benchmark}: {one.name} ({one.unit})" for one in figures])
    axes.invert_yaxis()
    axes.axvline(1, color="gray", linewidth=1)
    axes.set_xscale("log")
    axes.set_xmargin(0.15)
    axes.set_xlabel("multiple of the floor; black: target; green: on target; red: off target")
    _save(plot, file)


def _growth(series: Sequence[Series], file: Path) -> None:
    """How figures grow with a size, both on logarithmic axes."""
    from matplotlib import pyplot

    columns = max(1, min(3, len(series)))
    rows = max(1, -(-len(series) // columns))
    plot, grid = pyplot.subplots(rows, columns, figsize=(4 * columns, 3 * rows), layout="constrained", squeeze=False)
    for axes in grid.flat[len(series) :]:
        axes.set_visible(False)
    for axes, one in zip(grid.flat, series, strict=False):
        sizes, values = zip(*one.points, strict=True)
        axes.loglog(sizes, values, marker="o", color=NEUTRAL)
        axes.set_title(f"{one.benchmark}: {one.name}", fontsize=10)
        axes.set_xlabel(one.size)
        axes.set_ylabel(one.unit)
        axes.grid(visible=True, which="both", linewidth=0.3)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, min(values) / 3), max(high, max(values) * 3))
    _save(plot, file)


def _save(plot: Any, file: Path) -> None:
    from matplotlib import pyplot

    plot.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(plot)
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")
