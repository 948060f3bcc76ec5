"""Measures how long exporters wait that are all due in one slot, with and without fair shares between tenants.

    python -m benchmarks.queue [--exporters 10000]

The work queue, the reconciler, planning, the runs, the status store and the clients of Nexthink and Qualtrics are real.
They run on virtual time, against the in-memory API server, Nexthink and Qualtrics of `tests.simulation`. The vendors'
rate limits apply, such as one Nexthink query a second per tenant. A run takes about 20 seconds. A run of the first
tenant takes about half an hour, because Qualtrics is slow to import.

The column `before` has the behavior before fair shares: one pool of 10 runs for all tenants, and a slot is late if it
waits in the queue for more than an hour. The column `after` has the current behavior.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

from qualtrics_exporter.controller.plan import slots
from qualtrics_exporter.controller.plan.wake import Wake
from qualtrics_exporter.controller.queue import work_queue
from qualtrics_exporter.controller.queue.work_item import Turn
from qualtrics_exporter.controller.reconciler import Reconciler
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.fair_share import NOBODY, FairQueue, Tenant
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Status, timestamp

from .queue_simulation import SLOT, Measurements, QueueSimulation

TENANTS = 20
POOL = 10
"""The maximum number of runs in progress, before fair shares."""
STARTING_DEADLINE = timedelta(hours=1)


class OneQueue(FairQueue[Any]):
    """Treats all tenants as one. A single tenant gets half of the total, so the total is doubled."""

    def __init__(self, total: int, *, background: int | None = None, background_each: int | None = None) -> None:
        super().__init__(2 * total)

    def push(self, tenant: Tenant, item: Any, *, urgent: bool = True, weight: int = 1) -> None:
        super().push(NOBODY, item, urgent=urgent, weight=weight)

    def discard(self, tenant: Tenant, item: Any) -> None:
        super().discard(NOBODY, item)


@contextlib.contextmanager
def before(simulation: QueueSimulation) -> Iterator[None]:
    """Patch the operator so that it behaves as before fair shares.

    One of 1,000 tasks took up an exporter that was due, and then waited for a place in the pool. A slot was `Missed` if
    that happened more than an hour after it was due.
    """
    pool, reconcile = asyncio.Semaphore(POOL), Reconciler.reconcile
    missed: Callable[..., Status] = slots._missed

    async def in_pool(self: Reconciler, key: Key, turn: Turn) -> Wake:
        if key.name not in simulation.unfinished or turn.waited > STARTING_DEADLINE:
            return await reconcile(self, key, turn._replace(first=False, waited=timedelta(0)))
        taken_up = simulation.loop.time()
        async with pool:
            waited = timedelta(seconds=simulation.loop.time() - taken_up)
            return await reconcile(self, key, turn._replace(first=False, waited=waited))

    def never_overtaken(*slots_and_context: Any) -> Status:
        return missed(*slots_and_context[:-1], Reason.DEADLINE_EXCEEDED)

    with (
        mock.patch.object(work_queue, "FairQueue", OneQueue),
        mock.patch.object(Reconciler, "reconcile", in_pool),
        mock.patch.object(slots, "_missed", never_overtaken),
    ):
        yield


def measure(exporters: int, slow_minutes: float, *, old: bool = False, tenants: int = TENANTS) -> Measurements:
    """Run one simulation. With `old`, the operator behaves as before fair shares."""
    simulation = QueueSimulation(exporters, slow_minutes, tenants)
    with before(simulation) if old else contextlib.nullcontext():
        return simulation.run()


def rows(measured: Measurements) -> Iterator[tuple[str, str]]:
    """The names and values of one column of the table."""
    yield "exporters", f"{measured.exporters:,}"
    yield "sent", f"{measured.sent:,}"
    yield "distributions in Qualtrics", f"{measured.distributions:,}"
    yield "Missed", f"{measured.missed:,}"
    for reason in (Reason.DEADLINE_EXCEEDED, Reason.SLOT_OVERTAKEN):
        yield f"  {reason}", f"{measured.results[f'Missed {reason}']:,}"
    other = sum(measured.results.values()) - measured.sent - measured.missed
    yield "other results", f"{other:,}"
    yield "without an entry", f"{measured.exporters - sum(measured.results.values()):,}"
    yield "healthy tenants: median run, s", f"{statistics.median(measured.run_seconds or [0]):.0f}"
    for slow, name in ((False, "healthy tenants"), (True, "slow tenant")):
        yield f"{name}: sent", f"{len(measured.ends[slow]):,}"
        yield "  last one sent after, min", _minutes(measured.ends[slow], 1.0)
        yield "  sent after, p50, min", _minutes(measured.ends[slow], 0.5)
        yield "  sent after, p99, min", _minutes(measured.ends[slow], 0.99)
        yield "  wait for the start, p50, min", _minutes(measured.waits[slow], 0.5)
        yield "  wait for the start, p99, min", _minutes(measured.waits[slow], 0.99)
    yield "highest schedule_lag_seconds", f"{measured.lag:,.0f}"
    yield "  at the end", f"{measured.lag_at_end:,.0f}"
    yield "most runs in progress", f"{measured.runs:,}"
    yield "most exporters in progress", f"{measured.in_progress:,}"
    yield "CPU time of the simulation, s", f"{measured.cpu:.0f}"


def _minutes(seconds: list[float], quantile: float) -> str:
    if not seconds:
        return "-"
    return f"{sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * quantile))] / 60:.1f}"


def main() -> None:
    """Measure both behaviors and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--exporters", type=int, default=10_000, help="number of exporters (10000)")
    parser.add_argument(
        "--slow-minutes",
        type=float,
        default=28,
        help="how long an import of the slow tenant takes, less than 30 (28); 0: as long as for other tenants",
    )
    options = parser.parse_args()
    print(f"{TENANTS} tenants, all exporters due at {timestamp(SLOT)}\n")
    columns = []
    for old in (True, False):
        print("measuring", "before" if old else "after", file=sys.stderr, flush=True)
        columns.append(list(rows(measure(options.exporters, options.slow_minutes, old=old))))
    print(f"{'':32} {'before':>10} {'after':>10}")
    for (name, old), (_, new) in zip(*columns, strict=True):
        print(f"{name:32} {old:>10} {new:>10}")


if __name__ == "__main__":
    main()
