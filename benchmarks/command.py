"""`python -m benchmarks`: runs the benchmarks, prints the table, and writes it as JSON.

    python -m benchmarks [--only NAME ...] [--json dist/bench.json] [--tiny]

Benchmarks run in phases. The lanes of a phase run at the same time, and the benchmarks of a lane one after the other.
Work that uses a whole core takes turns (`Bench.cpu_bound`), so lanes only wait at the same time. A figure that misses
its target does not change the exit code: 0 if everything was measured, 1 if a benchmark failed.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import (
    burst,
    day,
    idle,
    large_run,
    metrics_page,
    new_exporters,
    shared_list,
    side_by_side,
    small_run,
)
from benchmarks.figures import Failure, Figure, Series, figure_json, table
from benchmarks.machine import describe
from benchmarks.processes import clean_up
from benchmarks.registry import TINY, Bench, Benchmark, Sizes

BENCHMARKS: Mapping[str, Benchmark] = {
    burst.OWN: burst.own_brands,
    burst.HANGING: burst.hanging_tenant,
    burst.ONE: burst.one_brand,
    shared_list.NAME: shared_list.measure,
    new_exporters.NAME: new_exporters.measure,
    large_run.REALISTIC: large_run.realistic,
    idle.NAME: idle.measure,
    small_run.NAME: small_run.measure,
    large_run.INSTANT: large_run.instant,
    small_run.GROWTH: small_run.measure_growth,
    side_by_side.NAME: side_by_side.measure,
    day.NAME: day.measure,
    metrics_page.NAME: metrics_page.measure,
}
PHASES: Sequence[Sequence[Sequence[str]]] = (
    # The bursts need the whole machine: the operator, the API server and the services.
    [[burst.OWN, burst.HANGING]],
    # These mostly wait: ten minutes for Qualtrics, ten minutes for imports, five minutes for nothing. The simulations
    # only use processors that nothing else uses.
    [
        [burst.ONE],
        [large_run.REALISTIC],
        [idle.NAME],
        [small_run.NAME, large_run.INSTANT, small_run.GROWTH, side_by_side.NAME, metrics_page.NAME],
        [day.NAME, shared_list.NAME, new_exporters.NAME],
    ],
)
STAGGER_SECONDS = 1.0
"""The pause between the starts of two lanes, so that they queue for the processor in the order above."""


@dataclass(slots=True)
class Report:
    """What was measured so far. Lanes add to it in their threads."""

    figures: list[Figure]
    series: list[Series]
    failures: list[Failure]
    times: dict[str, tuple[float, float]]
    """When each benchmark began and ended, in seconds since the start."""


def overlaps(times: Mapping[str, tuple[float, float]]) -> dict[str, list[str]]:
    """Which other benchmarks ran at some time during each of them."""
    return {
        name: [other for other, (a, b) in times.items() if other != name and a < ended and began < b]
        for name, (began, ended) in times.items()
    }


class Runner:
    """Runs benchmarks and collects their results."""

    def __init__(self, sizes: Sizes, benchmarks: Mapping[str, Benchmark] = BENCHMARKS) -> None:
        self._bench = Bench(sizes)
        self._benchmarks = benchmarks
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.report = Report([], [], [], {})

    def run(self, phases: Sequence[Sequence[Sequence[str]]]) -> Report:
        for lanes in phases:
            with ThreadPoolExecutor(max(1, len(lanes))) as pool:
                for number, lane in enumerate(lanes):
                    pool.submit(self._lane, lane, number * STAGGER_SECONDS)
        order = list(self._benchmarks)
        self.report.figures.sort(key=lambda figure: order.index(figure.benchmark))
        return self.report

    def _lane(self, names: Sequence[str], pause: float) -> None:
        time.sleep(pause)
        for name in names:
            self._one(name)

    def _one(self, name: str) -> None:
        began = time.monotonic() - self._began
        self._say(f"{began:5.0f} s  {name}")
        try:
            for result in self._benchmarks[name](self._bench):
                with self._lock:
                    if isinstance(result, Figure):
                        self.report.figures.append(result)
                    else:
                        self.report.series.append(result)
        except Exception as error:  # noqa: BLE001  one benchmark does not stop the others
            reason = f"{type(error).__name__}: {error}"
            with self._lock:
                self.report.failures.append(Failure(benchmark=name, reason=reason))
            self._say(f"{name} failed\n{traceback.format_exc()}")
        ended = time.monotonic() - self._began
        with self._lock:
            self.report.times[name] = began, ended
        self._say(f"{ended:5.0f} s  {name} took {ended - began:.0f} s")

    def _say(self, text: str) -> None:
        with self._lock:
            print(text, file=sys.stderr, flush=True)


def phases_of(names: Sequence[str]) -> list[list[list[str]]]:
    """`PHASES` with only these benchmarks, or with all of them if there are no names."""
    if unknown := set(names) - set(BENCHMARKS):
        raise ValueError(f"there is no benchmark {min(unknown)}: choose from {', '.join(BENCHMARKS)}")
    phases = [
        [chosen for lane in lanes if (chosen := [name for name in lane if not names or name in names])]
        for lanes in PHASES
    ]
    return [lanes for lanes in phases if lanes]


def as_json(report: Report, machine: Mapping[str, str], sizes: Sizes) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": dict(machine),
        "sizes": asdict(sizes),
        "seconds": max((ended for _, ended in report.times.values()), default=0.0),
        "figures": [figure_json(figure) for figure in report.figures],
        "series": [asdict(series) for series in report.series],
        "failures": [asdict(failure) for failure in report.failures],
        "times": report.times,
        "together": overlaps(report.times),
    }


def _abort(number: int, _: FrameType | None) -> None:
    """End at once with all children. The lanes would wait for minutes. The API servers end with this process."""
    clean_up()
    os._exit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run benchmarks, print the table, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, default=Path("dist/bench.json"), help="the file to write")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the benchmarks: no figure is of use")
    options = parser.parse_args(arguments)
    try:
        phases = phases_of(options.only)
    except ValueError as error:
        parser.error(str(error))
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, _abort)
    sizes, machine = TINY if options.tiny else Sizes(), describe()
    report = Runner(sizes).run(phases)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(as_json(report, machine, sizes), indent=1) + "\n")
    print(", ".join(f"{key}: {value}" for key, value in machine.items()) + "\n")
    print(table(report.figures, report.failures) + "\n")
    for name, others in overlaps(report.times).items():
        if others:
            print(f"{name} ran at the same time as {', '.join(others)}")
    print(f"wrote {options.json}")
    return 1 if report.failures else 0
