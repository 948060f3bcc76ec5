"""A QualtricsExporter as the operator reads it. Reading never fails, because an older CRD may have admitted anything.

A spec that breaks a rule counts as missing, so nothing is sent for it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from qualtrics_exporter.resource.lenient import read_status
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.rules import Violation, broken_despite_errors, violations
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import MAX_COUNT, Status

_SHOWN_VIOLATIONS = 3
_AS_KUBERNETES_WRITES = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z")


_MEMORY = {
    f"status.{name}"
    for name in (
        *("handledRequests", "handledRunRequests", "handledTestRequests", "handledSettlements"),
        *("sentRuns", "claimedSlots", "claimedSlots.dueTime", "claimedSlots.identity", "claimedSlotsSince"),
        *("sampledGroups", *(f"sampledGroups.{name}" for name in ("runId", "groups", "group", "slotTime"))),
    )
}
_SLOT_TIMES = {f"status.{name}" for name in ("schedule", "scheduleSince", "lastScheduleTime", "nextScheduleTime")}


@dataclass(frozen=True, slots=True)
class Exporter:
    """An exporter at one moment. `spec` is None if it is invalid; `spec_error` says which field is invalid, and why.

    `spec_error` contains no values from the spec, so it can be shown anywhere. `spec_reason` is its reason.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    annotations: Mapping[str, str]
    spec: Spec | None
    spec_error: str
    status: Status
    spec_reason: Reason = Reason.SPEC_INVALID
    ignored: tuple[str, ...] = ()
    """Fields of the status with invalid values. `status` has the rest."""
    unreadable_run: Mapping[str, Any] | None = None
    """The run in progress, if its journal is invalid."""
    created: datetime | None = None
    """When the exporter was created, by the clock of the API server."""

    @property
    def lost_memory(self) -> bool:
        """Whether the status has invalid values about requests and slots that already had a run."""
        return any(field in _MEMORY for field in self.ignored)

    @property
    def damaged(self) -> bool:
        """Whether the status has invalid values that decide what happens next. It is repaired before anything else."""
        return self.lost_memory or any(field in _SLOT_TIMES for field in self.ignored)

    @property
    def suspended(self) -> bool:
        return bool(self.spec and self.spec.suspend)

    @classmethod
    def from_object(cls, body: Any) -> "Exporter":
        """Read an object of the API server. Never raises.

        Invalid values in a status count as lost. That can cost a slot, but never causes a second e-mail.
        """
        fields = _mapping(body)
        metadata = _mapping(fields.get("metadata"))
        generation, annotations = metadata.get("generation"), _mapping(metadata.get("annotations"))
        spec, wrong = read_spec(fields.get("spec"))
        status, ignored = read_status(fields.get("status"))
        run = _mapping(fields.get("status")).get("activeRun") if status.active_run is None else None
        return cls(
            namespace=_text(metadata.get("namespace")),
            name=_text(metadata.get("name")),
            uid=_text(metadata.get("uid")),
            generation=generation if isinstance(generation, int) and 0 <= generation < MAX_COUNT else 0,
            resource_version=_text(metadata.get("resourceVersion")),
            deleting=bool(metadata.get("deletionTimestamp")),
            annotations={k: v for k, v in annotations.items() if isinstance(k, str) and isinstance(v, str)},
            spec=spec,
            spec_error=_sentence(wrong),
            status=status,
            spec_reason=wrong[0].reason if wrong else Reason.SPEC_INVALID,
            ignored=ignored,
            # Whatever the value is: a run was in progress, and it must be reported.
            unreadable_run=None if run is None else _mapping(run),
            created=_time(metadata.get("creationTimestamp")),
        )


def read_spec(raw: Any) -> tuple[Spec | None, list[Violation]]:
    """The spec, or all mistakes in it. Never raises."""
    try:
        return Spec.model_validate({} if raw is None else raw), []
    except ValidationError as error:
        found = violations(error, Spec, "spec")
        return None, [*found, *broken_despite_errors(raw, Spec, found, ("spec",))]


def _sentence(wrong: list[Violation]) -> str:
    more = len(wrong) - _SHOWN_VIOLATIONS
    shown = "; ".join(map(str, wrong[:_SHOWN_VIOLATIONS]))
    return f"{shown}; and {more} more" if more > 0 else shown


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(value: Any) -> datetime | None:
    try:
        if _AS_KUBERNETES_WRITES.fullmatch(value):
            return datetime.fromisoformat(value)  # ten times as fast as strptime
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return None
