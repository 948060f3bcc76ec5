"""The journal of a run, in the status of its exporter (see export/journal.py).

Every write checks that the stored run has the same id and the same holder. The heartbeat shows other operators, such as
another shard, that the holder is alive during a long step. It changes nothing else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.errors import ClusterError, NotFound
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import PATIENCE_SECONDS, StatusStore
from qualtrics_exporter.export.journal import Abandoned, Ended, NotWritten, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import ActiveRun, Status

log = logging.getLogger(__name__)

PATIENCE_SENT_SECONDS = 300.0
"""How long the result of a send is written. It is worth a longer wait, because it saves a look-up."""
HEARTBEAT_SECONDS = 60.0

Finish = Callable[[Exporter, Ended, datetime], Status]
"""The status of an exporter after its run has ended at that time."""


@dataclass(frozen=True, slots=True)
class StatusJournal:
    """See export/journal.py for what each method promises."""

    store: StatusStore
    key: Key
    clock: Clock
    finished: Finish

    async def write(self, run: ActiveRun) -> None:
        def step(exporter: Exporter) -> Status | None:
            stored, written = _own_run(exporter, run), _with_heartbeat(exporter, run)
            if stored == written:
                return None  # the reply to the same write was lost
            if run.step == "Importing" and exporter.suspended and run.trigger != "Test":
                raise SuspendedMeanwhile
            return exporter.status.model_copy(update={"active_run": written})

        sent = run.step == "Sent"
        patience = PATIENCE_SENT_SECONDS if sent else PATIENCE_SECONDS
        try:
            await self._change(step, patience=patience, known=sent or run.refused_until is not None)
        except ClusterError as error:
            raise NotWritten(str(error)) from error

    async def write_sending(self, run: ActiveRun) -> None:
        def step(exporter: Exporter) -> Status | None:
            stored, written = _own_run(exporter, run), _with_heartbeat(exporter, run)
            if stored == written:
                return None
            if exporter.suspended and run.trigger != "Test":
                raise SuspendedMeanwhile
            if exporter.generation != run.generation:
                raise SpecChanged
            return exporter.status.model_copy(update={"active_run": written})

        await self._change(step)

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        def step(exporter: Exporter) -> Status | None:
            status = exporter.status
            if status.active_run is None and _has_entry(status, run):
                return None
            _own_run(exporter, run)
            return self.finished(exporter, ended, self.clock.now())

        await self._change(step, patience=PATIENCE_SENT_SECONDS, known=True)

    @asynccontextmanager
    async def heartbeat(self, run: ActiveRun) -> AsyncIterator[None]:
        """Within the block, write every minute that the holder works on the run."""
        beating = asyncio.create_task(self._beat(run), name=f"heartbeat of {self.key}")
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait({beating})

    async def _beat(self, run: ActiveRun) -> None:
        def beat(exporter: Exporter) -> Status | None:
            stored = _own_run(exporter, run)
            alive = stored.model_copy(update={"heartbeat_time": self.clock.now()})
            return exporter.status.model_copy(update={"active_run": alive})

        while True:
            await self.clock.sleep(HEARTBEAT_SECONDS)
            try:
                await self.store.change(self.key, beat)
            except Abandoned:
                return  # the run notices it at its next write, and then writes and sends nothing
            except ClusterError as error:
                log.debug("the heartbeat of run %s of %s was not written: %s", run.id, self.key, error)

    async def _change(
        self, step: Callable[[Exporter], Status | None], *, patience: float = PATIENCE_SECONDS, known: bool = False
    ) -> None:
        try:
            await self.store.change(self.key, step, patience=patience)
        except NotFound as error:
            raise Abandoned from error
        except ClusterError as error:
            if known:
                raise  # the result of the send is known, even if it is not in the journal
            # Nothing may happen that is not in the journal. The run stays where it is, and is resumed as soon as the
            # API server accepts writes again.
            raise Abandoned(str(error)) from error


def _own_run(exporter: Exporter, run: ActiveRun) -> ActiveRun:
    """The stored run. Raises `Abandoned` unless it is the same run with the same holder."""
    stored = exporter.status.active_run
    if exporter.deleting or stored is None or (stored.id, stored.holder) != (run.id, run.holder):
        raise Abandoned
    return stored


def _with_heartbeat(exporter: Exporter, run: ActiveRun) -> ActiveRun:
    stored = exporter.status.active_run
    return run.model_copy(update={"heartbeat_time": stored.heartbeat_time if stored else None})


def _has_entry(status: Status, run: ActiveRun) -> bool:
    return any(entry.id == run.id and entry.start_time == run.start_time for entry in status.entries)
