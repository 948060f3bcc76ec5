"""New exporters of several tenants that are created at once: how long until all are Ready, simulated on virtual time.

The check of a new exporter runs its query, and Nexthink accepts one query a second. The controller and the clients are
real: see `queue_simulation`.
"""

from collections.abc import Iterator

from benchmarks.burst import LIMITS
from benchmarks.figures import Figure, Floor, Target
from benchmarks.new_exporters_simulation import NewExporters
from benchmarks.processes import outcome
from benchmarks.registry import Bench, Result
from qualtrics_exporter.sandbox import Limits

NAME = "new-exporters"


def measure(bench: Bench) -> Iterator[Result]:
    """Simulate the exporters in a process of its own."""
    tenants, exporters = bench.sizes.new_tenants, bench.sizes.new_exporters
    found = NewExporters(**outcome("benchmarks.new_exporters_simulation", str(tenants), str(exporters)))
    yield from figures(found, tenants, exporters)


def floor_seconds(exporters: int) -> float:
    """The time until Nexthink accepts the last query of a tenant: it accepts the first one at once."""
    return (exporters - 1) / (Limits().nexthink_queries_per_second or float("inf"))


def figures(found: NewExporters, tenants: int, exporters: int) -> Iterator[Figure]:
    """The figures of a simulation. Raises RuntimeError if some exporters did not become Ready."""
    number = tenants * exporters
    if len(found.ready) != number:
        raise RuntimeError(f"{len(found.ready)} of {number} exporters are Ready")
    what = f"{number:,} new exporters of {tenants} tenants"
    yield Figure(
        benchmark=NAME, name=f"{what}: all Ready", unit="s", values=(found.ready[-1],),
        floor=Floor(values=(floor_seconds(exporters),), source=LIMITS), target=Target(at_most=1.2, of_floor=True),
        note=f"half of them after {found.ready[number // 2]:.0f} s",
    )  # fmt: skip
    for name, unit, count in (
        ("exporters that were reported as not Ready", "exporters", found.not_ready),
        ("requests that were answered with 429", "requests", found.rate_limited),
    ):
        yield Figure(benchmark=NAME, name=name, unit=unit, values=(float(count),), target=Target(at_most=0))
