"""A simulated day of many exporters, on virtual time, with the rate limits of the vendors.

The controller and the clients are real. See `queue_simulation` for the simulated cluster and services.
"""

from collections.abc import Iterator

from benchmarks.day_simulation import Day
from benchmarks.figures import Figure, Target
from benchmarks.processes import outcome
from benchmarks.registry import Bench, Result

NAME = "day"
TENANTS = 20
TIMEOUT_SECONDS = 1800.0


def measure(bench: Bench) -> Iterator[Result]:
    """Simulate the day in a process of its own."""
    exporters = bench.sizes.day_exporters
    tenants = min(TENANTS, exporters)
    day = Day(**outcome("benchmarks.day_simulation", str(exporters), str(tenants), timeout=TIMEOUT_SECONDS))
    what, sent = f"a day of {exporters:,} exporters", day.results.get("Succeeded", 0)
    if not sent:
        raise RuntimeError(f"no slot of {day.expected} was sent: {day.results}")
    missed = day.expected - sum(day.results.values()) + day.results.get("Missed", 0)
    for name, unit, value, target in (
        ("slots", "slots", day.expected, None),
        ("slots that were not sent", "slots", day.expected - sent, 0),
        ("slots that were missed or have no entry", "slots", missed, 0),
        ("distributions beyond one for each run", "distributions", day.sent_twice, 0),
        ("requests that were answered with 429", "requests", day.rate_limited, 0),
        ("longest time from a slot to its start", "s", day.longest_start, None),
        ("longest time from a slot to its send", "s", day.longest_send, None),
    ):
        yield Figure(
            benchmark=NAME,
            name=f"{what}: {name}",
            unit=unit,
            values=(float(value),),
            target=None if target is None else Target(at_most=target),
        )
