"""One QualtricsExporter as the operator reads it: leniently, because an older CRD may have let anything in.

Leniently is not trustingly: a spec that breaks a rule is no spec, so nothing can be sent by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from qualtrics_exporter.resource.lenient import read_status
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.rules import Violation, violations
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import MAX_COUNT, Status

GROUP = "qualtrics-exporter.dev"
VERSION = "v1alpha1"
KIND = "QualtricsExporter"
PLURAL = "qualtricsexporters"
RUN_REQUESTED_AT = f"{GROUP}/run-requested-at"
TEST_REQUESTED_AT = f"{GROUP}/test-requested-at"
TEST_MODE = f"{GROUP}/test-mode"
SETTLE_RUN = f"{GROUP}/settle-run"

_SHOWN_VIOLATIONS = 3


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
    """An exporter at one moment. `spec` is None when it cannot be used; `spec_error` then says which field and why.

    `spec_error` holds nothing of what the user wrote, it may be shown anywhere. `spec_reason` goes with it.
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
    """Fields of the status of which something could not be understood. `status` is what is left."""
    unreadable_run: Mapping[str, Any] | None = None
    """The run in progress, if this version cannot understand its journal."""
    created: datetime | None = None
    """When the exporter was created, by the clock of the API server."""

    @property
    def lost_memory(self) -> bool:
        """Whether something was ignored of what the status remembers about requests and slots that had their run."""
        return any(field in _MEMORY for field in self.ignored)

    @property
    def damaged(self) -> bool:
        """Whether something was ignored that decides what acts next: it is repaired before anything acts."""
        return self.lost_memory or any(field in _SLOT_TIMES for field in self.ignored)

    @property
    def suspended(self) -> bool:
        """Whether the user asked for no runs."""
        return bool(self.spec and self.spec.suspend)

    @classmethod
    def from_object(cls, body: Any) -> "Exporter":
        """Read an object of the API server, or what claims to be one; never raises.

        What cannot be understood of a status counts as lost: that can cost a slot, never a second mail.
        """
        fields = _mapping(body)
        metadata = _mapping(fields.get("metadata"))
        generation = metadata.get("generation")
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
            annotations={k: v for k, v in _mapping(metadata.get("annotations")).items() if _is_text(k) and _is_text(v)},
            spec=spec,
            spec_error=_sentence(wrong),
            status=status,
            spec_reason=wrong[0].reason if wrong else Reason.SPEC_INVALID,
            ignored=ignored,
            # Whatever is there, a run was in progress, and it must not vanish.
            unreadable_run=None if run is None else _mapping(run),
            created=_time(metadata.get("creationTimestamp")),
        )


def read_spec(raw: Any) -> tuple[Spec | None, list[Violation]]:
    """The spec, or everything that is wrong with it; never raises."""
    try:
        return Spec.model_validate({} if raw is None else raw), []
    except ValidationError as error:
        return None, violations(error, Spec, "spec")


def _sentence(wrong: list[Violation]) -> str:
    more = len(wrong) - _SHOWN_VIOLATIONS
    shown = "; ".join(map(str, wrong[:_SHOWN_VIOLATIONS]))
    return f"{shown}; and {more} more" if more > 0 else shown


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if _is_text(value) else ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _time(value: Any) -> datetime | None:
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return None
