"""Events about exporters, as `kubectl describe` and `kubectl events` show them.

Events are best effort: the operator posts each one once, an Event may be lost, and nothing waits for it. Information
that must not be lost is in status. Callers post one Event for each change of state, recovery included.
"""

import hashlib
import logging
import secrets
from typing import Literal

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import ClusterError
from qualtrics_exporter.resource.exporter import GROUP, KIND, VERSION, Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.telemetry.redact import redact

log = logging.getLogger(__name__)

CONTROLLER = f"{GROUP}/controller"
NOTE_BYTES = 1024
_NAME_LENGTH = 253
_TAIL = 16


class EventRecorder:
    """Posts Events about exporters. `instance` is the name of the reporting pod or host."""

    def __init__(self, cluster: ClusterApi, instance: str, clock: Clock) -> None:
        self._cluster = cluster
        self._instance = instance[:128] or "unknown"
        self._clock = clock

    async def record(
        self,
        exporter: Exporter,
        type_: Literal["Normal", "Warning"],
        reason: Reason | str,
        note: str,
        *,
        action: str,
        dedup: str | None = None,
    ) -> None:
        """Post one Event; never raises. `action` is one CamelCase word for the operator's action ("Run", "Check").

        With `dedup` an Event of the same object, reason and `dedup` exists once, even if several replicas post it.
        """
        tail = hashlib.sha256(f"{exporter.uid}\0{reason}\0{dedup}".encode()).hexdigest()[:_TAIL] if dedup else None
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "namespace": exporter.namespace,
                "name": f"{_stem(exporter.name)}.{tail or secrets.token_hex(_TAIL // 2)}",
            },
            "eventTime": self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": type_,
            "reason": str(reason),
            "action": action,
            "note": cut(redact(note)),
            "regarding": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "namespace": exporter.namespace,
                "name": exporter.name,
                "uid": exporter.uid,
            },
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
        }
        try:
            await self._cluster.create_event(event)
        except ClusterError as error:
            log.warning(
                "the Event %s about %s/%s could not be posted: %s", reason, exporter.namespace, exporter.name, error
            )


def cut(note: str) -> str:
    """The note, shortened to the limit of the API server, which counts bytes and not characters."""
    encoded = note.encode()
    if len(encoded) <= NOTE_BYTES:
        return note
    return encoded[: NOTE_BYTES - len("…".encode())].decode(errors="ignore").rstrip() + "…"


def _stem(name: str) -> str:
    """The beginning of an Event's name. A long name is cut to leave room for the tail, and stays valid."""
    return name[: _NAME_LENGTH - _TAIL - 1].rstrip("-.")
