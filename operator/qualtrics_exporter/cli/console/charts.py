"""The history of an exporter as shapes of two charts, in units of an SVG, as functions of the entries."""

from collections.abc import Sequence
from dataclasses import dataclass

from qualtrics_exporter.resource.status import Delivery, HistoryEntry, RecipientCounts

WIDTH, HEIGHT = 640, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 10, 24
"""Margins for the numbers of the axes."""

NESTED = ("accepted", "sent", "opened", "started", "finished")
"""Each is a part of the one before, so its bar is in front of it."""
LOST = ("bounced", "blocked")
"""These bars stand on each other, beside the others."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the chart."""

    kind: str
    value: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A label of an axis, and where it is."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Point:
    """The response rate of one run, from 0 to 1."""

    x: float
    y: float
    rate: float


@dataclass(frozen=True, slots=True)
class Group:
    """One run: its entry, its bars, and its response rate if it is known."""

    entry: HistoryEntry
    middle: float
    bars: Sequence[Bar]
    point: Point | None


@dataclass(frozen=True, slots=True)
class Chart:
    """The history, oldest run first. The second chart has the same x axis."""

    groups: Sequence[Group]
    people: Sequence[Tick]
    rates: Sequence[Tick]
    line: str
    """The points of the response rate, for a polyline."""

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of bars that are there, for the legend."""
        there = {bar.kind for group in self.groups for bar in group.bars}
        return [kind for kind in (*NESTED, *LOST) if kind in there]


def response_rate(entry: HistoryEntry) -> float | None:
    """Finished surveys per sent mail; None if it is not known."""
    figures = entry.delivery
    if figures is None or not figures.sent or figures.finished is None:
        return None
    return min(1.0, figures.finished / figures.sent)


def chart(entries: Sequence[HistoryEntry]) -> Chart | None:
    """The chart of the entries that reached people; None if there are none."""
    shown = sorted(
        (entry for entry in entries if _values(entry).get("accepted")), key=lambda each: each.completion_time
    )
    if not shown:
        return None
    ticks = _ticks(max(max(_values(entry).values()) for entry in shown))
    top = ticks[-1]
    step = (WIDTH - LEFT - RIGHT) / max(len(shown), 5)
    groups = [_group(entry, LEFT + step * n, step, top) for n, entry in enumerate(shown)]
    points = [group.point for group in groups if group.point]
    return Chart(
        groups,
        [Tick(f"{tick:,}".replace(",", "\u202f"), round(_y(tick / top), 1)) for tick in ticks],
        [Tick(f"{percent} %", round(_y(percent / 100), 1)) for percent in (0, 50, 100)],
        " ".join(f"{point.x},{point.y}" for point in points),
    )


def _values(entry: HistoryEntry) -> dict[str, int]:
    counts, figures = entry.recipients or RecipientCounts(), entry.delivery or Delivery()
    values = {"accepted": counts.accepted, **{kind: getattr(figures, kind) for kind in (*NESTED[1:], *LOST)}}
    return {kind: value for kind, value in values.items() if value is not None}


def _group(entry: HistoryEntry, left: float, step: float, top: int) -> Group:
    values, wide = _values(entry), step * 0.55
    bars = []
    for n, kind in enumerate(NESTED):
        if values.get(kind):
            inset = n * wide * 0.08
            bars.append(_bar(kind, values[kind], left + step * 0.08 + inset, wide - 2 * inset, 0, top))
    below = 0
    for kind in LOST:
        if values.get(kind):
            bars.append(_bar(kind, values[kind], left + step * 0.68, step * 0.18, below, top))
            below += values[kind]
    middle = round(left + step * 0.08 + wide / 2, 1)
    rate = response_rate(entry)
    return Group(entry, middle, bars, None if rate is None else Point(middle, round(_y(rate), 1), rate))


def _bar(kind: str, value: int, x: float, width: float, below: int, top: int) -> Bar:
    height = (HEIGHT - TOP - BOTTOM) * value / top
    return Bar(kind, value, round(x, 1), round(_y(below / top) - height, 1), round(width, 1), round(height, 1))


def _y(share: float) -> float:
    """The y coordinate of a share of the axis, from 0 (bottom) to 1 (top)."""
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _ticks(largest: int) -> list[int]:
    """From 0 to at least the largest value, in steps of 1, 2 or 5 times a power of ten, at most five."""
    step, factors = 1, (2, 2.5, 2)
    n = 0
    while step * 4 < largest:
        step = int(step * factors[n % 3])
        n += 1
    return list(range(0, -(-largest // step) * step + 1, step))
