"""Exporters as the pure parts of the controller see them, made from a few words."""

from datetime import UTC, datetime
from typing import Any

from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.plan.next_status import Plan, plan
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Status

ZONE = "UTC"


def at(text: str) -> datetime:
    """`at("2026-11-24 00:20")`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def exporter(
    status: Status | None = None,
    *,
    annotations: dict[str, str] | None = None,
    suspend: bool = False,
    generation: int = 1,
    **schedule: Any,
) -> Exporter:
    """A daily exporter in UTC, unless told otherwise, with this status."""
    return Exporter.from_object(body(status, annotations, suspend=suspend, generation=generation, **schedule))


def body(
    status: Status | None = None,
    annotations: dict[str, str] | None = None,
    *,
    suspend: bool = False,
    generation: int = 1,
    **schedule: Any,
) -> dict[str, Any]:
    """The same as the API server has it."""
    return {
        "metadata": {
            "namespace": "dex",
            "name": "teams-rollout",
            "uid": "11111111-2222-3333-4444-555555555555",
            "generation": generation,
            "resourceVersion": "1",
            "annotations": {f"qualtrics-exporter.dev/{k}": v for k, v in (annotations or {}).items()},
        },
        "spec": {
            "suspend": suspend,
            "schedule": schedule or {"frequency": "Daily"},
            "nexthink": {
                "credentialsSecretRef": {"name": "nexthink"},
                "query": "users | list ad.email_address",
                "queryId": "#teams_rollout",
            },
            "qualtrics": {
                "credentialsSecretRef": {"name": "qualtrics"},
                "surveyId": "SV_teamsRollout01",
                "directoryId": "POOL_employees00001",
                "messageId": "MS_invitation0001",
                "libraryId": "UR_library000001",
                "mailingListId": "CG_everybody0001",
                "fromEmail": "noreply@qemailserver.com",
                "fromName": "Digital Workplace",
                "subject": "How is Teams working for you?",
            },
        },
        "status": (status or Status()).model_dump(by_alias=True, exclude_none=True, mode="json"),
    }


def seen(at_time: datetime, **how: Any) -> Status:
    """The status after an operator saw the exporter for the first time."""
    return planned(exporter(**how), at_time, holder="holder").status


def planned(found: Exporter, now: datetime, *, holder: str = "me", zone: str = ZONE, **circumstances: Any) -> Plan:
    """What is due, in the eyes of a process that calls itself `me` and, unless told otherwise, has just started."""
    return plan(found, Context(now, holder, zone, **circumstances))
