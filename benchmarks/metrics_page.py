"""The page with the metrics: how long a scrape takes, with how much memory, and how it delays everything else.

Each exporter has all its series, about 40. The scrape goes over a socket, from another process, as that of Prometheus.
"""

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Figure, Series, Target
from benchmarks.growth import growth
from benchmarks.processes import (
    HANG_SECONDS,
    Child,
    cpu_seconds,
    forget_peak,
    peak_memory,
    resident_memory,
    temporary_folder,
)
from benchmarks.registry import Bench, Result

NAME = "metrics-page"
SCRAPES = 5
CHUNK = 1 << 16
MEGA = 1e6


class Scrape(NamedTuple):
    """What one scrape took."""

    seconds: float
    cpu: float
    delay: float
    memory: float
    lines: int
    size: int


def measure(bench: Bench) -> Iterator[Result]:
    """Scrape servers with different numbers of exporters."""
    sizes = (*bench.sizes.growth, bench.sizes.exporters)
    with temporary_folder() as folder, bench.cpu_bound():
        scrapes = {number: _scrapes(number, folder / f"metrics-{number}.log") for number in sizes}
    largest = scrapes[sizes[-1]]
    what = f"page of {sizes[-1]:,} exporters"
    for name, unit, values, target in (
        ("duration", "s", [scrape.seconds for scrape in largest], 1.0),
        ("CPU of the operator", "s", [scrape.cpu for scrape in largest], None),
        ("longest delay of the event loop", "ms", [1000 * scrape.delay for scrape in largest], 10.0),
        ("peak memory above rest", "MB", [scrape.memory for scrape in largest], None),
    ):
        yield Figure(
            benchmark=NAME, name=f"{what}: {name}", unit=unit, values=tuple(values),
            target=None if target is None else Target(at_most=target),
            note=f"{largest[0].lines:,} lines, {largest[0].size / MEGA:.0f} MB" if name == "duration" else "",
        )  # fmt: skip
    points = tuple((float(number), min(scrape.cpu for scrape in found)) for number, found in scrapes.items())
    series = Series(benchmark=NAME, name="CPU of a scrape", unit="s", size="exporters", points=points)
    yield series
    yield growth(series)


def _scrapes(exporters: int, log: Path) -> list[Scrape]:
    with Child("benchmarks.metrics_process", str(exporters), log=log) as child:
        address = child.receive()["address"]
        _scrape(child, address)  # the first one also compiles and connects
        return [_scrape(child, address) for _ in range(SCRAPES)]


def _scrape(child: Child, address: str) -> Scrape:
    child.ask()
    forget_peak(child.pid)
    rest, cpu, began = resident_memory(child.pid), cpu_seconds(child.pid), time.monotonic()
    lines = size = 0
    with urllib.request.urlopen(f"{address}/metrics", timeout=HANG_SECONDS) as reply:  # noqa: S310  a local server
        while chunk := reply.read(CHUNK):
            lines += chunk.count(b"\n")
            size += len(chunk)
    seconds, cpu = time.monotonic() - began, cpu_seconds(child.pid) - cpu
    memory = (peak_memory(child.pid) - rest) / MEGA
    return Scrape(seconds, cpu, child.ask()["delay"], memory, lines, size)
