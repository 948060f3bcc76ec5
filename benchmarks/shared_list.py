"""Exporters that share a mailing list and are due in one slot, simulated on virtual time.

Qualtrics processes the imports into one mailing list one after the other. Each of these takes so long that the list is
busy for many minutes. The controller and the clients are real: see `queue_simulation`.
"""

from collections.abc import Iterator

from benchmarks.burst import LIMITS
from benchmarks.figures import Figure, Floor, Target
from benchmarks.processes import outcome
from benchmarks.queue_simulation import PEOPLE
from benchmarks.registry import Bench, Result
from benchmarks.shared_list_simulation import IMPORT_SECONDS, SharedList

NAME = "shared-list"
MINUTES = 15
"""After this time, the exporters are counted that have not sent yet."""


def measure(bench: Bench) -> Iterator[Result]:
    """Simulate the slot in a process of its own."""
    exporters = bench.sizes.list_exporters
    yield from figures(SharedList(**outcome("benchmarks.shared_list_simulation", str(exporters))), exporters)


def figures(found: SharedList, exporters: int) -> Iterator[Figure]:
    """The figures of a simulation. Raises RuntimeError if not exactly the people of the queries got one mail each."""
    if (len(found.sends), found.mails) != (exporters, exporters * PEOPLE) or found.most_to_one_address != 1:
        raise RuntimeError(
            f"{len(found.sends)} of {exporters} exporters sent {found.mails} mails, up to {found.most_to_one_address} "
            "to a person"
        )
    sent = sum(seconds <= MINUTES * 60 for seconds in found.sends)
    possible = min(exporters, int(MINUTES * 60 / IMPORT_SECONDS))
    what = f"{exporters:,} exporters that share a mailing list"
    near = Target(at_most=1.05, of_floor=True)
    yield Figure(
        benchmark=NAME, name=f"{what}: not sent after {MINUTES} minutes", unit="exporters",
        values=(float(exporters - sent),), floor=Floor(values=(float(exporters - possible),), source=LIMITS),
        target=near, note=f"{sent:,} are sent",
    )  # fmt: skip
    yield Figure(
        benchmark=NAME, name=f"{what}: all sent", unit="s", values=(found.sends[-1],),
        floor=Floor(values=(exporters * IMPORT_SECONDS,), source=LIMITS), target=near,
        note=f"an import takes {IMPORT_SECONDS:g} s",
    )  # fmt: skip
    yield Figure(
        benchmark=NAME, name="requests that were answered with 429", unit="requests",
        values=(float(found.rate_limited),), target=Target(at_most=0),
    )  # fmt: skip
