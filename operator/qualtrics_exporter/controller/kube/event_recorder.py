"""Events about exporters, as `kubectl describe` and `kubectl events` show them.

Events are best effort: the operator posts each one once, an Event may be lost, and nothing waits for it. Information
that must not be lost is in status. Callers post one Event for each change of state, recovery included.
"""

import hashlib
import logging
from dataclasses import dataclass
from typing import Literal

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import ClusterError
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import GROUP, KIND, VERSION
from qualtrics_exporter.telemetry.redact import redact

log = logging.getLogger(__name__)

CONTROLLER = f"{GROUP}/controller"
NOTE_BYTES = 1024
_NAME_LENGTH = 253
_TAIL = 16


@dataclass(frozen=True, slots=True)
class EventToRecord:
    """An Event. Its name is made from `dedup`: recording the same Event twice, or in two replicas, makes one Event."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str
    action: str
    """One CamelCase word for the operator's action, such as `Run`."""
    dedup: str


@dataclass(frozen=True, slots=True)
class EventRecorder:
    """Posts Events about exporters. `instance` is the name of the reporting pod or host."""

    cluster: ClusterApi
    instance: str
    clock: Clock

    async def record(self, exporter: Exporter, event: EventToRecord) -> None:
        """Post one Event; never raises."""
        tail = hashlib.sha256(f"{exporter.uid}\0{event.reason}\0{event.dedup}".encode()).hexdigest()[:_TAIL]
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "namespace": exporter.namespace,
                "name": f"{_stem(exporter.name)}.{tail}",
            },
            "eventTime": self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": event.type,
            "reason": str(event.reason),
            "action": event.action,
            "note": cut(redact(event.note)),
            "regarding": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "namespace": exporter.namespace,
                "name": exporter.name,
                "uid": exporter.uid,
            },
            "reportingController": CONTROLLER,
            "reportingInstance": self.instance[:128] or "unknown",
        }
        try:
            await self.cluster.create_event(body)
        except ClusterError as error:
            about = f"{exporter.namespace}/{exporter.name}"
            log.warning("the Event %s about %s could not be posted: %s", event.reason, about, error)


def cut(note: str) -> str:
    """The note, shortened to the limit of the API server, which counts bytes and not characters."""
    encoded = note.encode()
    if len(encoded) <= NOTE_BYTES:
        return note
    return encoded[: NOTE_BYTES - len("…".encode())].decode(errors="ignore").rstrip() + "…"


def _stem(name: str) -> str:
    """The beginning of an Event's name. A long name is cut to leave room for the tail, and stays valid."""
    return name[: _NAME_LENGTH - _TAIL - 1].rstrip("-.")
