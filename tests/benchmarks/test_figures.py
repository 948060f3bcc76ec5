"""Figures of benchmarks: ratios, targets, the table and its JSON."""

import json
from dataclasses import asdict

import pytest

from benchmarks.figures import (
    HEADER,
    Failure,
    Figure,
    Floor,
    Series,
    Target,
    cells,
    figure_from_json,
    figure_json,
    markdown,
    number,
    series_from_json,
    table,
)
from benchmarks.growth import growth, slope

FLOOR = Floor(values=(4.0, 5.0, 9.0), source="a plain loop")
TWICE = Target(at_most=2, of_floor=True)


def figure(*values: float, floor: Floor | None = FLOOR, target: Target | None = TWICE) -> Figure:
    return Figure(benchmark="large", name="run", unit="s", values=values, floor=floor, target=target)


def test_value_and_floor_of_a_figure_are_medians() -> None:
    measured = figure(30.0, 8.0, 9.0)
    assert (measured.value, FLOOR.value, measured.ratio) == (9.0, 5.0, 1.8)


@pytest.mark.parametrize(
    ("measured", "met"),
    [
        (figure(10.0), True),
        (figure(10.1), False),
        (figure(10.0, target=Target(at_most=9)), False),
        (figure(9.0, target=Target(at_most=9)), True),
        (figure(9.0, floor=None, target=None), None),
        (figure(0.0, floor=Floor(values=(0.0,), source="nothing")), True),
        (figure(0.1, floor=Floor(values=(0.0,), source="nothing")), False),
    ],
)
def test_figure_is_on_target_up_to_its_target(measured: Figure, met: bool | None) -> None:
    assert measured.is_met is met


def test_figure_with_a_floor_of_zero_has_no_ratio() -> None:
    assert figure(1.0, floor=Floor(values=(0.0,), source="nothing")).ratio is None


def test_figure_without_a_value_or_without_the_floor_of_its_target_is_rejected() -> None:
    with pytest.raises(ValueError, match="run has no value"):
        figure()
    with pytest.raises(ValueError, match="floor, which is missing"):
        figure(1.0, floor=None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (0.012345, "0.0123"),
        (1.5, "1.5"),
        (99.96, "100"),
        (123.4, "123"),
        (1234567.0, "1,234,567"),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_line_of_the_table_shows_values_floor_ratio_and_target() -> None:
    assert cells(figure(8.0, 9.0, 30.0)) == ("large", "run", "s", "8", "9", "30", "5", "1.8", "≤ 2 ×", "yes")
    assert cells(figure(30.0, floor=None, target=Target(at_most=9))) == (
        "large", "run", "s", "", "30", "", "", "", "≤ 9", "off target",
    )  # fmt: skip


def test_table_has_aligned_columns_and_the_reasons_of_failures() -> None:
    lines = table([figure(9.0), figure(1234.0)], [Failure(benchmark="idle", reason="the API server ended")]).split("\n")
    assert lines[0].split() == list(HEADER)
    assert lines[1].index("≤") == lines[2].index("≤")
    assert lines[-1] == "FAILED  idle: the API server ended"


def test_markdown_table_has_one_line_for_each_figure() -> None:
    lines = markdown([figure(9.0)]).split("\n")
    assert lines[2] == "| large | run | s |  | 9 |  | 5 | 1.8 | ≤ 2 × | yes |"
    assert {line.count("|") for line in lines} == {len(HEADER) + 1}


@pytest.mark.parametrize("measured", [figure(1.0, 2.0), figure(1.0, floor=None, target=None)])
def test_figure_survives_json(measured: Figure) -> None:
    document = json.loads(json.dumps(figure_json(measured)))
    assert figure_from_json(document) == measured
    assert (document["median"], document["ratio"], document["met"]) == (measured.value, measured.ratio, measured.is_met)


def test_series_survives_json() -> None:
    series = Series(benchmark="idle", name="memory", unit="MB", size="exporters", points=((10.0, 80.0), (100.0, 81.0)))
    assert series_from_json(json.loads(json.dumps(asdict(series)))) == series


@pytest.mark.parametrize(("power", "met"), [(0.0, True), (1.0, True), (1.1, False), (2.0, False)])
def test_slope_is_the_power_of_the_growth(power: float, met: bool) -> None:
    points = tuple((size, 7 * size**power) for size in (10.0, 100.0, 1_000.0, 10_000.0))
    series = Series(benchmark="idle", name="memory", unit="MB", size="exporters", points=points)
    assert slope(points) == pytest.approx(power, abs=1e-9)
    assert growth(series).is_met is met


def test_slope_of_a_single_point_is_rejected() -> None:
    with pytest.raises(ValueError, match="two points"):
        slope([(1.0, 1.0)])
