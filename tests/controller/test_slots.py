"""Each slot runs at most once, through restarts, downtime and overlapping runs, with a steered clock."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from qualtrics_exporter.telemetry.metric_definitions import EXPORTER_METRICS, OPERATOR_METRICS
from tests.support.stage import Stage
from tests.support.waiting import eventually

HOURLY: dict[str, Any] = {"schedule.frequency": "Hourly", "schedule.everyHours": 4, "schedule.dayOfWeek": None}
DAILY = {"schedule.frequency": "Daily", "schedule.dayOfWeek": None}
WEEKLY = {"schedule.frequency": "Weekly", "schedule.dayOfWeek": "Friday"}

# From Tuesday noon in UTC, 13:00 in Zurich.
FIRST: dict[str, tuple[dict[str, Any], datetime]] = {
    "hourly": (HOURLY, datetime(2026, 11, 24, 15, 20, tzinfo=UTC)),
    "daily": (DAILY, datetime(2026, 11, 24, 23, 20, tzinfo=UTC)),
    "weekly": (WEEKLY, datetime(2026, 11, 26, 23, 0, tzinfo=UTC)),
}


def metrics_of(page: str) -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric that the operator exposes itself. A metric may have no series yet."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(page):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if not name.startswith("process_"):
            expected = table_of_metrics().get(name, ("", set()))[1]
            labels = [set(sample.labels) - {"le"} for sample in family.samples]
            found[name] = family.type, labels[0] if labels else expected
            assert all(label == labels[0] for label in labels)
    return found


def table_of_metrics() -> dict[str, tuple[str, set[str]]]:
    """The same from the table in the code, from which docs/metrics.md is made."""
    of_exporters = {d.name: (d.type, {"namespace", "name", *d.labels}) for d in EXPORTER_METRICS}
    return of_exporters | {d.name: (d.type, set(d.labels)) for d in OPERATOR_METRICS}


def stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("kind", FIRST)
def test_slot_runs_once_although_the_operator_restarts(stage: Stage, kind: str) -> None:
    spec, due = FIRST[kind]
    operator = stage.operator()
    exporter = stage.exporter(**spec)
    exporter.checked()
    assert exporter.status()["nextScheduleTime"] == stamp(due)
    stage.clock.advance((due - stage.clock.now()).total_seconds() - 5)
    assert exporter.history() == []
    stage.clock.advance(6)
    entry = exporter.ended()
    assert (entry["result"], entry["trigger"], entry["scheduledTime"]) == ("Succeeded", "Schedule", stamp(due))
    assert exporter.status()["lastScheduleTime"] == stamp(due)
    operator.kill()
    operator.start()
    exporter.annotate(test_requested_at="after-the-restart")
    exporter.tested("after-the-restart")
    assert len(exporter.history()) == 1
    assert len(stage.sandbox.recorder.distributions) == 1


def test_two_operators_with_different_default_zones_agree_on_the_slots_and_send_once(stage: Stage) -> None:
    stage.operator("--time-zone", "UTC")
    stage.operator("--time-zone", "Europe/Zurich")
    exporter = stage.exporter(**DAILY, **{"schedule.timeZone": None})
    exporter.checked()
    zone = exporter.status()["timeZone"]
    due = datetime(2026, 11, 25, 0, 20, tzinfo=UTC) if zone == "UTC" else FIRST["daily"][1]
    assert exporter.status()["nextScheduleTime"] == stamp(due)
    stage.clock.advance((due - stage.clock.now()).total_seconds() + 5)
    entry = exporter.ended()
    assert (entry["result"], entry["scheduledTime"]) == ("Succeeded", stamp(due))
    assert len(stage.sandbox.recorder.distributions) == 1
    assert exporter.status()["timeZone"] == zone


def test_slot_due_during_downtime_runs_within_its_deadline(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**DAILY)
    exporter.checked()
    operator.stop()
    stage.clock.advance_to(datetime(2026, 11, 25, 0, 15, tzinfo=UTC))
    operator.start()
    entry = exporter.ended()
    assert (entry["result"], entry["scheduledTime"]) == ("Succeeded", stamp(FIRST["daily"][1]))
    assert len(stage.sandbox.recorder.distributions) == 1


def test_slots_past_their_deadline_are_reported_as_missed_and_mail_nobody(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**DAILY)
    exporter.checked()
    operator.stop()
    stage.clock.advance_to(datetime(2026, 11, 27, 12, 0, tzinfo=UTC))
    operator.start()
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Missed", "DeadlineExceeded")
    assert entry["message"].startswith("3 slots between 2026-11-24T23:20:00Z and 2026-11-26T23:20:00Z")
    exporter.wait_for_event("DeadlineExceeded")
    assert exporter.condition("LastRunSucceeded")["status"] == "False"
    assert exporter.status()["nextScheduleTime"] == "2026-11-27T23:20:00Z"
    assert stage.sandbox.recorder.distributions == []


def test_slot_due_during_a_run_is_skipped_with_an_entry(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(**{**HOURLY, "schedule.everyHours": 1})
    exporter.checked()
    stage.sandbox.fault("nexthink.execute", hold=True)
    stage.clock.advance(25 * 60)  # 12:25, the slot of 12:20
    stage.sandbox.reached("nexthink.execute")
    stage.clock.advance(60 * 60)
    stage.sandbox.release()
    exporter.ended(2)
    results = {entry["scheduledTime"]: (entry["result"], entry["reason"]) for entry in exporter.history()}
    assert results["2026-11-24T13:20:00Z"] == ("Skipped", "RunActive")
    assert len(stage.sandbox.recorder.distributions) <= 1


def test_deleted_exporter_loses_its_metrics_and_sends_nothing(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**DAILY)
    exporter.checked()
    eventually(lambda: "teams-rollout" in operator.metrics(), "its metrics exist")
    assert metrics_of(operator.metrics()) == table_of_metrics()
    exporter.delete()
    eventually(lambda: "teams-rollout" not in operator.metrics(), "its metrics are removed")
    stage.clock.advance(24 * 3600)
    other = stage.exporter("another", **DAILY)
    other.checked()
    assert stage.sandbox.recorder.distributions == []
