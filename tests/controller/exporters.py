"""Exporters and plans for tests of the parts of the controller that have no I/O."""

from datetime import UTC, datetime
from typing import Any

from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.plan.next_status import Plan, plan
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Status

ZONE = "UTC"


def at(text: str) -> datetime:
    """Return the UTC time of a text such as `2026-11-24 00:20`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def exporter(
    status: Status | None = None,
    *,
    annotations: dict[str, str] | None = None,
    suspend: bool = False,
    generation: int = 1,
    **schedule: Any,
) -> Exporter:
    """Return an exporter with this status. Its schedule is daily in UTC by default."""
    return Exporter.from_object(body(status, annotations, suspend=suspend, generation=generation, **schedule))


def body(
    status: Status | None = None,
    annotations: dict[str, str] | None = None,
    *,
    suspend: bool = False,
    generation: int = 1,
    **schedule: Any,
) -> dict[str, Any]:
    """Return the object of such an exporter as the API server returns it."""
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


def initial_status(first_time: datetime, **schedule: Any) -> Status:
    """Return the status after the first reconciliation of the exporter."""
    return planned(exporter(**schedule), first_time, holder="holder").status


def planned(found: Exporter, now: datetime, *, holder: str = "me", zone: str = ZONE, **circumstances: Any) -> Plan:
    """Plan as the process `me`, which has just started, unless `circumstances` say otherwise."""
    return plan(found, Context(now, holder, zone, **circumstances))
