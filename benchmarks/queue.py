"""Many exporters that are due in the same slot, with one tenant whose runs take long: before and after fair sharing.

    python -m benchmarks.queue [--exporters 10000]

The work queue, the reconciler, planning, the runs, the status store and the clients of Nexthink and Qualtrics are real.
They run on virtual time, against the in-memory API server and the in-memory remote services of `tests.simulation`. The
vendor limits apply, such as one Nexthink query a second per tenant. A run takes about 20 seconds. In the first tenant
it takes about half an hour, because Qualtrics is slow to import.

The first column puts the old behavior back: one pool of 10 runs for all tenants, and a slot that waits in the queue for
longer than an hour is late. The second column is the code as it is.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

from qualtrics_exporter.controller import work_queue
from qualtrics_exporter.controller.plan import slots
from qualtrics_exporter.controller.plan.wake import Wake
from qualtrics_exporter.controller.reconciler import Reconciler
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.work_item import Turn
from qualtrics_exporter.fair_share import NOBODY, FairQueue, Tenant
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Status, timestamp

from .queue_world import SLOT, Figures, World

TENANTS = 20
POOL = 10
"""How many runs the old version had in progress at most."""
STARTING_DEADLINE = timedelta(hours=1)


class OneQueue(FairQueue[Any]):
    """All tenants are one. A single tenant gets half of the total, so the total is doubled."""

    def __init__(self, total: int, *, background: int | None = None) -> None:
        super().__init__(2 * total)

    def push(self, tenant: Tenant, item: Any, *, urgent: bool = True, weight: int = 1) -> None:
        super().push(NOBODY, item, urgent=urgent, weight=weight)

    def discard(self, tenant: Tenant, item: Any) -> None:
        super().discard(NOBODY, item)


@contextlib.contextmanager
def before(world: World) -> Iterator[None]:
    """Put the old behavior back.

    An exporter was noticed when one of 1,000 tasks took it up, and then waited for a place in the pool. A slot that was
    noticed more than an hour after it was due was `Missed`.
    """
    pool, reconcile, missed = asyncio.Semaphore(POOL), Reconciler.reconcile, slots._missed

    async def in_pool(self: Reconciler, key: Key, turn: Turn) -> Wake:
        if key.name not in world.unfinished or turn.waited > STARTING_DEADLINE:
            return await reconcile(self, key, turn._replace(first=False, waited=timedelta(0)))
        noticed = world.loop.time()
        async with pool:
            waited = timedelta(seconds=world.loop.time() - noticed)
            return await reconcile(self, key, turn._replace(first=False, waited=waited))

    def never_overtaken(*slots_and_context: Any) -> Status:
        return missed(*slots_and_context[:-1], Reason.DEADLINE_EXCEEDED)

    with (
        mock.patch.object(work_queue, "FairQueue", OneQueue),
        mock.patch.object(Reconciler, "reconcile", in_pool),
        mock.patch.object(slots, "_missed", never_overtaken),
    ):
        yield


def measure(exporters: int, slow_minutes: float, *, old: bool = False, tenants: int = TENANTS) -> Figures:
    """The figures of one world. With `old`, the old behavior is put back."""
    world = World(exporters, slow_minutes, tenants)
    with before(world) if old else contextlib.nullcontext():
        return world.run()


def rows(figures: Figures) -> Iterator[tuple[str, str]]:
    """The lines of a column of the table."""
    yield "exporters", f"{figures.exporters:,}"
    yield "sent", f"{figures.sent:,}"
    yield "distributions in Qualtrics", f"{figures.distributions:,}"
    yield "Missed", f"{figures.missed:,}"
    for reason in (Reason.DEADLINE_EXCEEDED, Reason.SLOT_OVERTAKEN):
        yield f"  {reason}", f"{figures.results[f'Missed {reason}']:,}"
    other = sum(figures.results.values()) - figures.sent - figures.missed
    yield "other results", f"{other:,}"
    yield "without an entry", f"{figures.exporters - sum(figures.results.values()):,}"
    yield "median run, healthy tenants, s", f"{statistics.median(figures.run_seconds or [0]):.0f}"
    for slow, name in ((False, "healthy tenants"), (True, "slow tenant")):
        yield f"{name}: sent", f"{len(figures.ends[slow]):,}"
        yield "  last one sent after, min", _minutes(figures.ends[slow], 1.0)
        yield "  sent after, p50, min", _minutes(figures.ends[slow], 0.5)
        yield "  sent after, p99, min", _minutes(figures.ends[slow], 0.99)
        yield "  wait for the start, p50, min", _minutes(figures.waits[slow], 0.5)
        yield "  wait for the start, p99, min", _minutes(figures.waits[slow], 0.99)
    yield "highest schedule_lag_seconds", f"{figures.lag:,.0f}"
    yield "  at the end", f"{figures.lag_at_end:,.0f}"
    yield "runs in progress, at most", f"{figures.runs:,}"
    yield "exporters in progress, at most", f"{figures.in_progress:,}"
    yield "CPU of the simulation, s", f"{figures.cpu:.0f}"


def _minutes(seconds: list[float], quantile: float) -> str:
    if not seconds:
        return "-"
    return f"{sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * quantile))] / 60:.1f}"


def main() -> None:
    """Measure both versions and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--exporters", type=int, default=10_000, help="how many exporters are due (10000)")
    parser.add_argument(
        "--slow-minutes",
        type=float,
        default=28,
        help="how long imports of the slow tenant take, less than 30; 0: as long as those of the others (28)",
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
