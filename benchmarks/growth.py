"""How a figure grows with a size: the slope of the line through the points, with both axes logarithmic.

A slope of 1 is linear growth, and 0 is none. A figure with a large constant part, such as the memory of an idle
process, has a slope far below 1.
"""

import math
import statistics
from collections.abc import Sequence

from benchmarks.figures import Figure, Series, Target

SIZES = (10, 100, 1_000, 10_000)
LINEAR = Target(at_most=1.05)
"""Linear or better, with room for the noise of a measurement."""


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the least squares line through the logarithms. Values must be positive."""
    if len(points) < 2:
        raise ValueError("a slope needs at least two points")
    sizes, values = ([math.log(coordinate) for coordinate in axis] for axis in zip(*points, strict=True))
    return statistics.linear_regression(sizes, values).slope


def growth(series: Series) -> Figure:
    """The slope of a series as a figure."""
    sizes = ", ".join(f"{size:,.0f}" for size, _ in series.points)
    return Figure(
        benchmark=series.benchmark,
        name=f"growth of {series.name} with {series.size}",
        unit="slope",
        values=(slope(series.points),),
        target=LINEAR,
        note=f"at {sizes} {series.size}",
    )
