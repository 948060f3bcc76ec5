"""The status of one exporter: read fresh, changed by a pure function, written back compare-and-set.

Everything that the operator writes goes through `StatusStore.change`. The change is a function of the exporter as it is
now, and it is called again on a fresh read after a conflict or a lost reply, so it has to recognise its own work. That
one loop gives both the fencing of the journal and the good manners of every other write: nobody's field is overwritten
from an old copy.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import Conflict, NotFound, Unreachable
from qualtrics_exporter.controller.plan.repair import repaired
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Status
from qualtrics_exporter.telemetry.redact import redact

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""How long a write is tried while the API server does not answer, or other writers come first each time. A run that
cannot write its step stops there and is resumed later.
"""


class Key(NamedTuple):
    """Which exporter; the uid tells it from another one of the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def tenant_of(exporter: Exporter) -> Tenant:
    """With whom the exporter shares: those of its namespace with the same Nexthink credentials."""
    spec = exporter.spec
    return Tenant(exporter.namespace, spec.nexthink.credentials_secret_ref.name if spec else "")


class StatusStore:
    """Reads exporters and changes their status."""

    def __init__(
        self,
        cluster: ClusterApi,
        clock: Clock,
        *,
        unsure: Callable[[], bool] = lambda: False,
        default_zone: str = "UTC",
    ) -> None:
        """`unsure` says whether the clock was set forward a moment ago, and may be wrong."""
        self._cluster = cluster
        self._clock = clock
        self._unsure = unsure
        self._zone = default_zone

    async def read(self, key: Key) -> Exporter:
        """The exporter as the API server has it now. Raises `NotFound` also for another object of the same name."""
        exporter = Exporter.from_object(await self._cluster.get(key.namespace, key.name))
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
        """Write what `change` makes of the fresh exporter; None means there is nothing to write (any more).

        `change` gets the exporter with a repaired status, unless it repairs the status itself.

        Returns the exporter as it stands afterwards. Raises `NotFound` when it is deleted or another, `Unreachable` or
        `Conflict` when the write did not succeed within `patience` seconds, and whatever `change` raises.
        """
        give_up = self._clock.monotonic() + patience
        pause = 0.1
        while True:
            try:
                exporter = await self.read(key)
                status = change(self._repaired(exporter) if repair else exporter)
                if status is None or (not exporter.damaged and _same(status, exporter.status)):
                    return exporter  # what is damaged is written also if the rest of it stays: else it stays damaged
                written = await self._cluster.replace_status(
                    key.namespace, key.name, key.uid, exporter.resource_version, _dump(status)
                )
                return Exporter.from_object(written)
            except (Conflict, Unreachable) as error:
                if self._clock.monotonic() + pause > give_up:
                    raise
                level = logging.DEBUG if isinstance(error, Conflict) else logging.WARNING
                log.log(level, "status of %s could not be written, trying again: %s", key, error)
            # Not the steered clock: this paces our own requests, it is not part of what a user sees happen in time.
            await asyncio.sleep(pause)
            pause = min(2 * pause, 10.0)

    def _repaired(self, exporter: Exporter) -> Exporter:
        now = self._clock.now()  # it notices that it was set, which makes the next question answer differently
        return repaired(exporter, now, unsure=self._unsure(), default_zone=self._zone)


def _same(one: Status, other: Status) -> bool:
    return one == other or _dump(one) == _dump(other)


def _dump(status: Status) -> dict[str, Any]:
    """As JSON; this is the only door to the API server, so every sentence is redacted here, whoever wrote it."""
    dumped = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    single = [dumped[name] for name in ("lastTest", "lastSettlement") if name in dumped]
    for told in [*dumped.get("conditions", []), *dumped.get("warnings", []), *dumped.get("history", []), *single]:
        told["message"] = redact(told["message"])
    return dumped
