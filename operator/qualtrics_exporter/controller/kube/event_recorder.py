"""Events: what a user sees with `kubectl describe` and `kubectl events`.

An Event is best effort: it is told once, it may be lost, and nothing waits for it. What must not be lost stands in
status. One Event a change of state, recovery included, is the rule of those who call.
"""

import hashlib
import logging
import secrets
from typing import Literal

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.api import Cluster, ClusterError
from qualtrics_exporter.resource.exporter import GROUP, KIND, VERSION, Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.telemetry.redact import redact

log = logging.getLogger(__name__)

CONTROLLER = f"{GROUP}/controller"
NOTE_BYTES = 1024
_NAME_LENGTH = 253
_TAIL = 16


class EventRecorder:
    """Posts Events about exporters. `instance` is the pod or host that speaks."""

    def __init__(self, cluster: Cluster, instance: str, clock: Clock) -> None:
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
        """Post one Event; never raises. `action` is one CamelCase word for what the operator did ("Run", "Check").

        With `dedup` the same Event (object, reason and `dedup`) is posted once, by whichever replica and however often.
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
            log.warning("the Event %s about %s/%s is lost: %s", reason, exporter.namespace, exporter.name, error)


def cut(note: str) -> str:
    """A note that the API server takes: it counts bytes, not letters."""
    raw = note.encode()
    if len(raw) <= NOTE_BYTES:
        return note
    return raw[: NOTE_BYTES - len("…".encode())].decode(errors="ignore").rstrip() + "…"


def _stem(name: str) -> str:
    """The beginning of an Event's name: long names make room for the tail and stay names."""
    return name[: _NAME_LENGTH - _TAIL - 1].rstrip("-.")
