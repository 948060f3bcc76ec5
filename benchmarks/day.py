"""A simulated day of many exporters, on virtual time, with the rate limits of the vendors.

The controller and the clients are real. See `queue_simulation` for the simulated cluster and services.
"""

from collections.abc import Iterator

from benchmarks.day_simulation import DaySimulation
from benchmarks.figures import Figure, Target
from benchmarks.registry import Bench, Result

NAME = "day"
TENANTS = 20


def measure(bench: Bench) -> Iterator[Result]:
    """Simulate the day. The simulation is a computation, so it does not disturb figures that only wait."""
    exporters = bench.sizes.day_exporters
    with bench.cpu_bound():
        day = DaySimulation(exporters, min(TENANTS, exporters)).run_day()
    what = f"a day of {exporters:,} exporters"
    ended = day.results.total()
    if not day.send_delays:
        raise RuntimeError(f"no slot of {day.expected} had a run: {dict(day.results)}")
    for name, unit, value, target in (
        ("slots", "slots", day.expected, None),
        ("slots that were not sent", "slots", day.expected - day.results["Succeeded"], 0),
        ("slots that were missed or have no entry", "slots", day.expected - ended + day.results["Missed"], 0),
        ("distributions beyond one for each run", "distributions", day.sent_twice, 0),
        ("requests that were answered with 429", "requests", day.rate_limited, 0),
        ("longest time from a slot to its start", "s", max(day.start_delays), None),
        ("longest time from a slot to its send", "s", max(day.send_delays), None),
    ):
        yield Figure(
            benchmark=NAME,
            name=f"{what}: {name}",
            unit=unit,
            values=(float(value),),
            target=None if target is None else Target(at_most=target),
        )
