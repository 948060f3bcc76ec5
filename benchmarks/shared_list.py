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
    for name, unit, value, floor, note in (
        (f"not sent after {MINUTES} minutes", "exporters", exporters - sent, exporters - possible, f"{sent:,} are sent"),
        ("all sent", "s", found.sends[-1], exporters * IMPORT_SECONDS, f"an import takes {IMPORT_SECONDS:g} s"),
    ):
        yield Figure(
            benchmark=NAME, name=f"{what}: {name}", unit=unit, values=(float(value),),
            floor=Floor(values=(float(floor),), source=LIMITS), target=near, note=note,
        )  # fmt: skip
    yield Figure(
        benchmark=NAME, name="requests that were answered with 429", unit="requests",
        values=(float(found.rate_limited),), target=Target(at_most=0),
    )  # fmt: skip
