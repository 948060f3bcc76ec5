"""Exporters in every state, with a history, as objects with a status: nothing has to run for them."""

from datetime import datetime, timedelta
from typing import Any

from qualtrics_exporter.resource.names import GROUP, PLURAL, VERSION
from tests.support.stage import Stage

PEOPLE = (412, 388, 421, 440, 97, 405, 398)
HOSTILE = "</title><script>document.title='x'</script><img src=x onerror=alert(1)>"


def entry(number: int, ended: datetime, **changes: Any) -> dict[str, Any]:
    """The entry of a run that sent the survey, with delivery figures."""
    people = PEOPLE[number % len(PEOPLE)]
    return {
        "id": "abcdefghijklmnopqrst"[: 19 - number % 10] + "a" * (1 + number % 10),
        "trigger": "Schedule",
        "scheduledTime": time(ended - timedelta(minutes=2)),
        "startTime": time(ended - timedelta(minutes=2)),
        "completionTime": time(ended),
        "sendTime": time(ended - timedelta(minutes=1)),
        "result": "Succeeded",
        "reason": "Succeeded",
        "message": f"The survey was sent to {people} people.",
        "surveyId": "SV_0Bcdefghijklmno",
        "recipients": {"returned": people + 30, "accepted": people, "imported": people, "duplicate": 30},
        "delivery": {
            "requestStatus": "Done",
            "sent": people - 6,
            "opened": people * 6 // 10,
            "started": people * 4 // 10,
            "finished": people * (35 - 3 * number) // 100,
            "bounced": 4,
            "blocked": 2,
            "observedTime": time(ended + timedelta(hours=1)),
        },
        **changes,
    }


def condition(type_: str, status: str, reason: str, message: str, now: datetime) -> dict[str, Any]:
    """A condition as the operator writes it."""
    times = {"lastTransitionTime": time(now - timedelta(days=3)), "observedGeneration": 1}
    return {"type": type_, "status": status, "reason": reason, "message": message, **times}


def status(
    now: datetime,
    *,
    ready: tuple[str, str, str] = ("True", "Checked", "Both services accept the credentials."),
    last: tuple[str, str, str] = ("True", "Succeeded", "The last run sent the survey."),
    **changes: Any,
) -> dict[str, Any]:
    """The status of an exporter that was checked and has run every week."""
    return {
        "observedGeneration": 1,
        "schedule": "every Monday at 00:00, Europe/Zurich",
        "nextScheduleTime": time(now + timedelta(days=5, hours=3)),
        "conditions": [
            condition("Ready", *ready, now),
            condition("NexthinkReady", "True", "Checked", "Nexthink accepts the credentials.", now),
            condition("QualtricsReady", "True", "Checked", "Qualtrics accepts the credentials.", now),
            condition("QueryInSync", "True", "QueryInSync", "Nexthink runs the query of the spec.", now),
            condition("LastRunSucceeded", *last, now),
        ],
        "history": [entry(n, now - timedelta(days=2 + 7 * n)) for n in range(7)],
        **changes,
    }


def create(stage: Stage, name: str, found: dict[str, Any] | None, namespace: str = "", **changes: Any) -> None:
    """Create an exporter with this status."""
    namespace = namespace or stage.namespace
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}"
    manifest = stage.manifest(name, **changes)
    manifest["metadata"]["namespace"] = namespace
    stage.cluster.put(path, manifest)
    if found is not None:
        stage.cluster.merge(f"{path}/status", {"status": found})


def create_all(stage: Stage, now: datetime) -> None:
    """Exporters in every state that the list shows."""
    create(stage, "teams-rollout", status(now), description="Ask people who stopped using Teams why")
    create(stage, "laptop-refresh", status(now), suspend=True, description="Satisfaction with the new laptops")
    create(
        stage,
        "vpn-quality",
        status(now, nextScheduleTime=time(now + timedelta(hours=4)), schedule="every day at 00:20, UTC"),
        dryRun=True,
    )
    missing = (
        "False",
        "SecretNotFound",
        "There is no Secret nexthink in this namespace. Create it, or correct credentialsSecretRef.",
    )
    create(stage, "printer-survey", status(now, ready=missing, history=[]))
    failed = ("False", "RemoteUnavailable", "Nexthink answered 503 to every attempt. The next slot tries again.")
    create(
        stage,
        "slow-logons",
        status(
            now,
            last=failed,
            history=[
                entry(
                    0,
                    now - timedelta(hours=9),
                    result="Failed",
                    reason="RemoteUnavailable",
                    delivery=None,
                    recipients=None,
                    message=failed[2],
                )
            ],
        ),
    )
    create(stage, "new-joiners", None)
    unknown = entry(
        0,
        now - timedelta(hours=5),
        result="Unknown",
        reason="OutcomeUnknown",
        message="It is unknown whether Qualtrics accepted the send.",
        delivery=None,
    )
    create(
        stage,
        "outlook-crashes",
        status(
            now,
            last=("Unknown", "OutcomeUnknown", "It is unknown whether Qualtrics accepted the send. Look in Qualtrics."),
            history=[unknown],
        ),
    )
    running = {
        "id": "b" * 20,
        "trigger": "Schedule",
        "startTime": time(now - timedelta(minutes=1)),
        "generation": 1,
        "attempt": 1,
        "holder": "one",
        "step": "Importing",
        "batchId": "BT_1",
        "counts": {"returned": 300, "accepted": 280},
    }
    create(stage, "zoom-quality", status(now, activeRun=running))


def time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
