"""The journal of a run, kept in the status of its exporter (see export/journal.py).

Every write is a compare-and-set on the run that is stored: the same id in the same hands. The heartbeat shows other
operators, such as another shard, that the holder is alive while a step takes long; it moves nothing else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.errors import ClusterError, NotFound
from qualtrics_exporter.controller.plan.reconcile import finished
from qualtrics_exporter.controller.status.store import PATIENCE_SECONDS, Key, StatusStore
from qualtrics_exporter.export.journal import Abandoned, Ended, NotWritten, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import ActiveRun, Status

log = logging.getLogger(__name__)

# What is known of a send is worth a longer wait: it saves a look-up.
PATIENCE_SENT_SECONDS = 300.0
HEARTBEAT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class StatusJournal:
    """See export/journal.py for what each method promises."""

    store: StatusStore
    key: Key
    clock: Clock
    default_zone: str

    async def write(self, run: ActiveRun) -> None:
        def step(exporter: Exporter) -> Status | None:
            stored, written = _ours(exporter, run), _with_heartbeat(exporter, run)
            if stored == written:
                return None  # the reply to our own write was lost
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
            stored, written = _ours(exporter, run), _with_heartbeat(exporter, run)
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
            if status.active_run is None and _recorded(status, run):
                return None
            _ours(exporter, run)
            return finished(exporter, ended, self.clock.now(), self.default_zone)

        await self._change(step, patience=PATIENCE_SENT_SECONDS, known=True)
        log.info("run %s of %s ended: %s, %s", run.id, self.key, ended.entry.result, ended.entry.reason)

    @asynccontextmanager
    async def heartbeat(self, run: ActiveRun) -> AsyncIterator[None]:
        """Show every minute, within the block, that the holder of the run works on it."""
        beating = asyncio.create_task(self._beat(run), name=f"heartbeat of {self.key}")
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait({beating})

    async def _beat(self, run: ActiveRun) -> None:
        def beat(exporter: Exporter) -> Status | None:
            stored = _ours(exporter, run)
            alive = stored.model_copy(update={"heartbeat_time": self.clock.now()})
            return exporter.status.model_copy(update={"active_run": alive})

        while True:
            await self.clock.sleep(HEARTBEAT_SECONDS)
            try:
                await self.store.change(self.key, beat)
            except Abandoned:
                return  # the run itself finds out at its next write, and writes and sends nothing any more
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
                raise  # what has become of the send is known, written down or not
            # Nothing may happen that is not written down. The run stays where it is and is taken up again as soon as
            # the API server lets us.
            raise Abandoned(str(error)) from error


def _ours(exporter: Exporter, run: ActiveRun) -> ActiveRun:
    """The stored run, which has to be the same one in the same hands; somebody else's is left alone."""
    stored = exporter.status.active_run
    if exporter.deleting or stored is None or (stored.id, stored.holder) != (run.id, run.holder):
        raise Abandoned
    return stored


def _with_heartbeat(exporter: Exporter, run: ActiveRun) -> ActiveRun:
    """The run as its step wants it, with the newest heartbeat."""
    stored = exporter.status.active_run
    return run.model_copy(update={"heartbeat_time": stored.heartbeat_time if stored else None})


def _recorded(status: Status, run: ActiveRun) -> bool:
    entries = [*(status.history or []), *([status.last_test] if status.last_test else [])]
    return any(entry.id == run.id and entry.start_time == run.start_time for entry in entries)
