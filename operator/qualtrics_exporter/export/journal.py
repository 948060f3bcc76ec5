"""The interface of a journal, which ensures that a survey is sent at most once.

A run writes each recovery point *before* the next outside effect. Each write is a compare-and-set: a process that loses
the race has lost the run, and stops. There are two implementations: the status of the object (controller) and a local
file (command line).
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry

ResultSource = Literal["Execute", "Export", "ExportForDays"]
"""How to get the result of a query: execute the query, or export its result."""


class Abandoned(Exception):
    """Another process has the run, or the exporter was deleted: stop, write nothing, send nothing."""


class NotWritten(Exception):
    """The journal could not write the outcome of a send within its time limit. The outcome stays true."""


class SuspendedMeanwhile(Exception):
    """The exporter was suspended before the send. Nothing was sent, and the run ends as Skipped."""


class SpecChanged(Exception):
    """The spec has another generation than the run. Nothing was sent: start again with the new spec."""


@dataclass(frozen=True, slots=True)
class QuerySync:
    """Whether Nexthink ran the query of the spec in one run. `in_sync` is None if that is unknown."""

    in_sync: bool | None
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its history entry, and what the run found out about the query."""

    entry: HistoryEntry
    query: QuerySync | None = None
    begin_with: ResultSource | None = None
    """The source of the result with which the next run begins; None if this run did not find out.

    Export: Nexthink failed to execute the query, for a reason that may pass. ExportForDays: the query takes too long.
    """


class Journal(Protocol):
    """The recovery points of a run. Every method raises `Abandoned` if another process has taken over the run."""

    async def write(self, run: ActiveRun) -> None:
        """Replace the stored run, which must have the same id and holder.

        The write is durable when this returns. After a lost reply, the journal is read again. Raises `NotWritten` if
        the run has the outcome of a send, and the journal cannot be written for long.
        """
        ...

    async def write_sending(self, run: ActiveRun) -> None:
        """As `write`, with a fresh read of the exporter in the same compare-and-set.

        Raises `SuspendedMeanwhile` or `SpecChanged` by that read. Then nothing is written.
        """
        ...

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        """Remove the run and add its entry to the history (for a test: replace lastTest), in one write."""
        ...
