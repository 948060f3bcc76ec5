"""Slots under a clock that the test holds: each fires once, whatever happens around it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.environment.stage import Stage
from tests.environment.waiting import eventually

HOURLY: dict[str, Any] = {"schedule.frequency": "Hourly", "schedule.everyHours": 4, "schedule.dayOfWeek": None}
DAILY = {"schedule.frequency": "Daily", "schedule.dayOfWeek": None}
WEEKLY = {"schedule.frequency": "Weekly", "schedule.dayOfWeek": "Friday"}

# From Tuesday noon in UTC, 13:00 in Zurich.
FIRST: dict[str, tuple[dict[str, Any], datetime]] = {
    "hourly": (HOURLY, datetime(2026, 11, 24, 15, 20, tzinfo=UTC)),
    "daily": (DAILY, datetime(2026, 11, 24, 23, 20, tzinfo=UTC)),
    "weekly": (WEEKLY, datetime(2026, 11, 26, 23, 0, tzinfo=UTC)),
}


def stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("kind", FIRST)
def test_a_slot_fires_once_also_after_a_restart_within_it(stage: Stage, kind: str) -> None:
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
    exporter.annotate(test_requested_at="looks-at-it-again")
    exporter.tested("looks-at-it-again")
    assert len(exporter.history()) == 1
    assert len(stage.sandbox.ledger.distributions) == 1


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
    assert len(stage.sandbox.ledger.distributions) == 1
    assert exporter.status()["timeZone"] == zone


def test_a_slot_missed_while_down_is_caught_up_within_its_deadline(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**DAILY)
    exporter.checked()
    operator.stop()
    stage.clock.advance_to(datetime(2026, 11, 25, 0, 15, tzinfo=UTC))
    operator.start()
    entry = exporter.ended()
    assert (entry["result"], entry["scheduledTime"]) == ("Succeeded", stamp(FIRST["daily"][1]))
    assert len(stage.sandbox.ledger.distributions) == 1


def test_a_slot_missed_beyond_its_deadline_is_told_and_mails_nobody(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**DAILY)
    exporter.checked()
    operator.stop()
    stage.clock.advance_to(datetime(2026, 11, 27, 12, 0, tzinfo=UTC))
    operator.start()
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Missed", "DeadlineExceeded")
    assert entry["message"].startswith("3 slots between 2026-11-24T23:20:00Z and 2026-11-26T23:20:00Z")
    exporter.told("DeadlineExceeded")
    assert exporter.condition("LastRunSucceeded")["status"] == "False"
    assert exporter.status()["nextScheduleTime"] == "2026-11-27T23:20:00Z"
    assert stage.sandbox.ledger.distributions == []


def test_a_slot_that_falls_due_during_a_run_is_skipped_and_told(stage: Stage) -> None:
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
    assert len(stage.sandbox.ledger.distributions) <= 1


def test_a_deleted_exporter_is_forgotten_with_its_metrics(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**DAILY)
    exporter.checked()
    eventually(lambda: "teams-rollout" in operator.metrics(), "its series are there")
    exporter.delete()
    eventually(lambda: "teams-rollout" not in operator.metrics(), "its series are gone")
    stage.clock.advance(24 * 3600)
    other = stage.exporter("another", **DAILY)
    other.checked()
    assert stage.sandbox.ledger.distributions == []
