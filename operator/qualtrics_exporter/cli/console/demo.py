"""The source of `qualtrics-exporter demo --dashboard`: one exporter in memory, instead of an API server."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from qualtrics_exporter.cli.console.rows import row_of
from qualtrics_exporter.cli.console.snapshot import Snapshot
from qualtrics_exporter.cli.console.source import Event, Object
from qualtrics_exporter.cli.qex.kubectl import Failed
from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.status.events import events
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Status, timestamp

UID = "demo"
MOST_EVENTS = 200


class Demo:
    """A `Source`. It keeps the versions of the object as an API server does, so that writes can conflict."""

    where = "a demo on this machine: no cluster, no real e-mail"

    def __init__(self, manifest: Mapping[str, Any], clock: Clock, *, outbox: str) -> None:
        self.outbox = outbox
        self.snapshot = Snapshot()
        self._clock = clock
        metadata = {**manifest["metadata"], "uid": UID, "generation": 1, "creationTimestamp": timestamp(clock.now())}
        self._version = 0
        self._events: list[Event] = []
        self._requested = asyncio.Event()
        self._store({**manifest, "metadata": metadata})
        self.snapshot.mark_complete()

    @property
    def exporter(self) -> Exporter:
        """The exporter as it is now."""
        return Exporter.from_object(self._object)

    async def get(self, namespace: str, name: str) -> Object:
        metadata = self._object["metadata"]
        if (namespace, name) != (metadata["namespace"], metadata["name"]):
            raise Failed(f"The demo has only the exporter {metadata['name']}.", "NotFound")
        return self._object

    async def events(self, exporter: Object) -> Sequence[Event]:
        return self._events[::-1]

    async def patch(self, exporter: Object, change: Object) -> None:
        if exporter["metadata"]["resourceVersion"] != self._object["metadata"]["resourceVersion"]:
            raise Failed("The exporter has changed in the meantime.", "Conflict")
        metadata = self._object["metadata"]
        annotations = {**metadata.get("annotations", {}), **change.get("metadata", {}).get("annotations", {})}
        spec = {**self._object["spec"], **change.get("spec", {})}
        generation = metadata["generation"] + (spec != self._object["spec"])
        metadata = {**metadata, "annotations": annotations, "generation": generation}
        self._store({**self._object, "metadata": metadata, "spec": spec})
        self._requested.set()

    async def refusal(self, namespace: str) -> str | None:
        return None

    def unavailable(self, action: str) -> str | None:
        return None

    def write(self, status: Status) -> None:
        """Replace the status, as the operator does, and record the Events of the change."""
        before = self.exporter
        if status == before.status:
            return
        self._store({**self._object, "status": status.model_dump(mode="json", by_alias=True, exclude_none=True)})
        now = self._clock.now()
        self._events += [Event(now, new.type, new.reason, new.note) for new in events(before, self.exporter)]
        del self._events[:-MOST_EVENTS]

    async def requested(self, seconds: float) -> None:
        """Wait until the reader has changed something, for at most this time."""
        waiting = asyncio.create_task(self._requested.wait())
        sleeping = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()
            # Not awaited one by one: a cancellation of this task at that moment would be taken for theirs.
            await asyncio.wait({waiting, sleeping})
        self._requested.clear()

    def _store(self, found: Mapping[str, Any]) -> None:
        self._version += 1
        self._object = {**found, "metadata": {**found["metadata"], "resourceVersion": str(self._version)}}
        self.snapshot.put([row_of(self.exporter)])
