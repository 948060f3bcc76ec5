"""One QualtricsExporter as the operator reads it: leniently, because an older CRD may have let anything in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from .spec import Spec
from .status import Status

GROUP = "qualtrics-exporter.dev"
VERSION = "v1alpha1"
KIND = "QualtricsExporter"
PLURAL = "qualtricsexporters"
RUN_REQUESTED_AT = f"{GROUP}/run-requested-at"
TEST_REQUESTED_AT = f"{GROUP}/test-requested-at"
TEST_MODE = f"{GROUP}/test-mode"


@dataclass(frozen=True, slots=True)
class Exporter:
    """An exporter at one moment. `spec` is None when it cannot be read; `spec_error` then says which field and why."""

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

    @property
    def suspended(self) -> bool:
        """Whether the user asked for no runs."""
        return bool(self.spec and self.spec.suspend)

    @classmethod
    def from_object(cls, body: Mapping[str, Any]) -> "Exporter":
        """Read an object of the API server; never raises.

        A status that cannot be read counts as lost: that can cost a slot, never a second mail.
        """
        metadata = body.get("metadata") or {}
        spec, spec_error = _spec(body.get("spec"))
        return cls(
            namespace=metadata.get("namespace", ""),
            name=metadata.get("name", ""),
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            resource_version=metadata.get("resourceVersion", ""),
            deleting=bool(metadata.get("deletionTimestamp")),
            annotations=metadata.get("annotations") or {},
            spec=spec,
            spec_error=spec_error,
            status=_status(body.get("status")),
        )


def _spec(raw: Any) -> tuple[Spec | None, str]:
    try:
        return Spec.model_validate(raw or {}), ""
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(["spec", *(str(part) for part in first["loc"])])
        return None, f"{path}: {first['msg']}"


def _status(raw: Any) -> Status:
    try:
        return Status.model_validate(raw or {})
    except ValidationError:
        return Status()
