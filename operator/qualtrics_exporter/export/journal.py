"""The journal of a run: what makes a send happen at most once.

A run writes each recovery point down *before* the next outside effect, and each write is a compare-and-set: whoever
loses the race has lost the run and touches nothing more. `export` knows nothing of where the journal is kept; there are
two implementations, the status of the object (controller) and a local file (command line).
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry

ResultSource = Literal["Execute", "Export", "ExportForDays"]
"""The two ways to the result of a query: executing it at once, or exporting it."""


class Abandoned(Exception):
    """The run is somebody else's now, or the exporter is gone: stop, write nothing, send nothing."""


class NotWritten(Exception):
    """The journal could not write what is known about a send within its patience. What is known stays true."""


class SuspendedMeanwhile(Exception):
    """The exporter was suspended before the run reached its send: nothing was sent, the run ends as Skipped."""


class SpecChanged(Exception):
    """The spec has another generation than the run: nothing was sent, start again with the new one."""


@dataclass(frozen=True, slots=True)
class QuerySync:
    """Whether Nexthink ran the query that the spec shows, as one run saw it. `in_sync` is None if that is unknown."""

    in_sync: bool | None
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its history entry and what else was learnt on the way."""

    entry: HistoryEntry
    query: QuerySync | None = None
    begin_with: ResultSource | None = None
    """Which source of the result the next run begins with, if this run learnt that. Export: Nexthink failed to execute
    the query, for a reason that can pass. ExportForDays: because the query takes too long."""


class Journal(Protocol):
    """Where a run keeps its recovery points. Every method raises `Abandoned` when the run is not ours any more."""

    async def write(self, run: ActiveRun) -> None:
        """Replace the stored run, which must be ours (same id and holder), by this one.

        When this returns, the write is durable. A lost reply is resolved by reading again. Raises `NotWritten` if the
        run says what became of a send, and the journal cannot be written for long.
        """
        ...

    async def write_sending(self, run: ActiveRun) -> None:
        """As `write`, from a fresh read of the exporter in the same compare-and-set.

        Raises `SuspendedMeanwhile` or `SpecChanged` when the fresh read says so; then nothing was written.
        """
        ...

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        """Remove the run and put its entry on top of the history (of a test: into lastTest), in one write."""
        ...
