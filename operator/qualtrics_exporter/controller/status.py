"""The status of one exporter: read fresh, changed by a pure function, written back compare-and-set.

Everything that the operator writes goes through `StatusStore.change`. The change is a function of the exporter as it is
now, and it is called again on a fresh read after a conflict or a lost reply, so it has to recognise its own work. That
one loop gives both the fencing of the journal and the good manners of every other write: nobody's field is overwritten
from an old copy.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller import agenda
from qualtrics_exporter.controller.cluster import Cluster, ClusterError, Conflict, Gone, Unreachable
from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import ActiveRun, Status
from qualtrics_exporter.telemetry.redact import redact

log = logging.getLogger(__name__)

# How long a write is tried while the API server does not answer. A run that can't write its step stops there and is
# taken up again later; what is known of a send is worth a longer wait, it saves looking for it.
PATIENCE_SECONDS = 60.0
PATIENCE_SENT_SECONDS = 300.0


class Key(NamedTuple):
    """Which exporter; the uid tells it from another one of the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class StatusStore:
    """Reads exporters and changes their status."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def read(self, key: Key) -> Exporter:
        """The exporter as the API server has it now. Raises `Gone` also for another object of the same name."""
        exporter = Exporter.from_object(await self._cluster.get(key.namespace, key.name))
        if exporter.uid != key.uid:
            raise Gone
        return exporter

    async def change(
        self, key: Key, change: Callable[[Exporter], Status | None], *, patience: float = PATIENCE_SECONDS
    ) -> Exporter:
        """Write what `change` makes of the fresh exporter; None means there is nothing to write (any more).

        Returns the exporter as it stands afterwards. Raises `Gone` when it is deleted or another, `Unreachable` when
        the API server did not answer for `patience` seconds, and whatever `change` raises.
        """
        give_up = self._clock.monotonic() + patience
        pause = 0.1
        while True:
            try:
                exporter = await self.read(key)
                status = change(exporter)
                if status is None or _dump(status) == _dump(exporter.status):
                    return exporter
                written = await self._cluster.replace_status(
                    key.namespace, key.name, key.uid, exporter.resource_version, _dump(status)
                )
                return Exporter.from_object(written)
            except Conflict:
                log.debug("status of %s was changed by somebody else: reading it again", key)
            except Unreachable as error:
                if self._clock.monotonic() + pause > give_up:
                    raise
                log.warning("status of %s could not be written, trying again: %s", key, error)
            # Not the steered clock: this paces our own requests, it is not part of what a user sees happen in time.
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)


@dataclass(frozen=True, slots=True)
class StatusJournal:
    """The journal of a run, kept in the status of its exporter (see export/journal.py)."""

    store: StatusStore
    key: Key
    clock: Clock
    default_zone: str

    async def write(self, run: ActiveRun) -> None:
        def step(exporter: Exporter) -> Status | None:
            stored = _ours(exporter, run)
            if stored == run:
                return None  # the reply to our own write was lost
            if run.step == "Importing" and exporter.suspended and run.trigger != "Test":
                raise SuspendedMeanwhile
            return exporter.status.model_copy(update={"active_run": run})

        sent = run.step == "Sent"
        patience = PATIENCE_SENT_SECONDS if sent else PATIENCE_SECONDS
        await self._change(step, patience=patience, known=sent or run.refused_until is not None)

    async def write_sending(self, run: ActiveRun) -> None:
        def step(exporter: Exporter) -> Status | None:
            stored = _ours(exporter, run)
            if stored == run:
                return None
            if exporter.suspended and run.trigger != "Test":
                raise SuspendedMeanwhile
            if exporter.generation != run.generation:
                raise SpecChanged
            return exporter.status.model_copy(update={"active_run": run})

        await self._change(step)

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        def step(exporter: Exporter) -> Status | None:
            status = exporter.status
            if status.active_run is None and _recorded(status, run):
                return None
            _ours(exporter, run)
            return agenda.finished(exporter, ended, self.clock.now(), self.default_zone)

        await self._change(step, patience=PATIENCE_SENT_SECONDS, known=True)
        log.info("run %s of %s ended: %s, %s", run.id, self.key, ended.entry.result, ended.entry.reason)

    async def _change(
        self, step: Callable[[Exporter], Status | None], *, patience: float = PATIENCE_SECONDS, known: bool = False
    ) -> None:
        try:
            await self.store.change(self.key, step, patience=patience)
        except Gone as error:
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


def _recorded(status: Status, run: ActiveRun) -> bool:
    entries = [*(status.history or []), *([status.last_test] if status.last_test else [])]
    return any(entry.id == run.id and entry.start_time == run.start_time for entry in entries)


def _dump(status: Status) -> dict[str, Any]:
    """As JSON; this is the only door to the API server, so every sentence is redacted here, whoever wrote it."""
    dumped = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    single = [dumped[name] for name in ("lastTest", "lastSettlement") if name in dumped]
    for told in [*dumped.get("conditions", []), *dumped.get("history", []), *single]:
        told["message"] = redact(told["message"])
    return dumped
