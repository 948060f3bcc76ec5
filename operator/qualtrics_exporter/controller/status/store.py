"""The status of one exporter: read it, change it by a pure function, write it with compare-and-set.

The operator writes every status through `StatusStore.change`. After a conflict or a lost reply, the change is called
again with the exporter as it is then, so it must recognise its own work. This loop fences the journal, and no write
overwrites a field from an old copy.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import Conflict, NotFound, Unreachable
from qualtrics_exporter.controller.status.entry_log import Change, EntryLog
from qualtrics_exporter.controller.status.followed_deliveries import with_followed
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Status
from qualtrics_exporter.telemetry.redact import redact

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""How long a write is retried while the API server does not answer, or while other writers come first. A run that
cannot write its step stops there and is resumed later.
"""


@dataclass(frozen=True, slots=True)
class StatusStore:
    """Reads exporters and changes their status."""

    cluster: ClusterApi
    clock: Clock
    repair: Callable[[Exporter], Exporter]
    """Repairs a status of which this version cannot understand a part."""
    entry_log: EntryLog = field(default_factory=EntryLog)

    async def read(self, key: Key) -> Exporter:
        """The exporter as the API server has it now. Raises `NotFound` also for another object of the same name."""
        exporter = Exporter.from_object(await self.cluster.get(key.namespace, key.name))
        if exporter.uid != key.uid:
            raise NotFound
        return exporter

    async def change(
        self,
        key: Key,
        change: Callable[[Exporter], Status | None],
        *,
        patience: float = PATIENCE_SECONDS,
        repair: bool = True,
    ) -> Exporter:
        """Write the status that `change` returns for the current exporter; None means that there is nothing to write.

        With `repair`, `change` gets the exporter with a repaired status; without it, `change` repairs the status.

        Returns the exporter as it is then. Raises `NotFound` if it was deleted or replaced, `Unreachable` or `Conflict`
        if the write did not succeed within `patience` seconds, and everything that `change` raises.
        """
        with self.entry_log.change(key) as logged:
            return await self._change(key, change, logged, patience=patience, repair=repair)

    async def _change(
        self,
        key: Key,
        change: Callable[[Exporter], Status | None],
        logged: Change,
        *,
        patience: float,
        repair: bool,
    ) -> Exporter:
        give_up = self.clock.monotonic() + patience
        pause = 0.1
        while True:
            try:
                exporter = await self.read(key)
                logged.read(exporter)
                status = change(self.repair(exporter) if repair else exporter)
                if status is not None:
                    status = with_followed(status, self.clock.now())
                if status is None or (not exporter.damaged and _same(status, exporter.status)):
                    return exporter  # a damaged status is always written: otherwise it stays damaged
                logged.writing(exporter, status)
                written = await self.cluster.replace_status(
                    key.namespace, key.name, key.uid, exporter.resource_version, _dump(status)
                )
            except (Conflict, Unreachable) as error:
                if self.clock.monotonic() + pause > give_up:
                    raise
                level = logging.DEBUG if isinstance(error, Conflict) else logging.WARNING
                log.log(level, "status of %s could not be written, trying again: %s", key, error)
            else:
                after = Exporter.from_object(written)
                logged.written(after)
                return after
            # Not `self.clock`, which tests control: this only paces requests, and no promise depends on it.
            await asyncio.sleep(pause)
            pause = min(2 * pause, 10.0)


def _same(one: Status, other: Status) -> bool:
    return one == other or _dump(one) == _dump(other)


def _dump(status: Status) -> dict[str, Any]:
    """As JSON. Every status passes here on its way to the API server, so all messages are redacted here."""
    dumped = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    single = [dumped[name] for name in ("lastTest", "lastSettlement") if name in dumped]
    for part in [*dumped.get("conditions", []), *dumped.get("warnings", []), *dumped.get("history", []), *single]:
        part["message"] = redact(part["message"])
    return dumped
