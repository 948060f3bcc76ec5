"""What runs now, what was missed: after a night's sleep, a holiday, a clock that was set back."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from qualtrics_exporter.controller.leader_gaps import Leadership
from qualtrics_exporter.resource.status import Status
from qualtrics_exporter.schedule import Schedule, next_slot
from tests.controller.exporters import exporter, planned, seen

EVERY_HOUR = Schedule("Hourly", ZoneInfo("UTC"), every_hours=1)
EVERY_4_HOURS = Schedule("Hourly", ZoneInfo("Europe/Zurich"), every_hours=4)
EVERY_DAY = Schedule("Daily", ZoneInfo("UTC"))
EVERY_MONDAY = Schedule("Weekly", ZoneInfo("UTC"), day_of_week="Monday")

# sentence, schedule, since, now, deadline in seconds: what runs, how many were missed, from the oldest to the newest
CASES: list[tuple[str, Schedule, str, str, int, tuple[str | None, int, str | None, str | None]]] = [
    (
        "nothing is due before the first slot",
        EVERY_DAY,
        "2026-11-24T00:20Z",
        "2026-11-25T00:19:59Z",
        3600,
        (None, 0, None, None),
    ),
    (
        "a slot runs the moment it is due",
        EVERY_DAY,
        "2026-11-24T00:20Z",
        "2026-11-25T00:20Z",
        3600,
        ("2026-11-25", 0, None, None),
    ),
    (
        "a slot that was due when the schedule began to count never runs",
        EVERY_DAY,
        "2026-11-25T00:20Z",
        "2026-11-25T00:20Z",
        3600,
        (None, 0, None, None),
    ),
    (
        "a slot may be late by as much as the deadline",
        EVERY_DAY,
        "2026-11-24T12:00Z",
        "2026-11-25T01:20Z",
        3600,
        ("2026-11-25", 0, None, None),
    ),
    (
        "a slot that is later than the deadline is missed",
        EVERY_DAY,
        "2026-11-24T12:00Z",
        "2026-11-25T01:20:01Z",
        3600,
        (None, 1, "2026-11-25", "2026-11-25"),
    ),
    (
        "with the least patience a slot still runs in its moment",
        EVERY_DAY,
        "2026-11-24T12:00Z",
        "2026-11-25T00:20Z",
        60,
        ("2026-11-25", 0, None, None),
    ),
    (
        "only the newest slot is caught up, the others are missed, however patient one is",
        EVERY_DAY,
        "2026-11-20T12:00Z",
        "2026-11-24T12:00Z",
        86400,
        ("2026-11-24", 3, "2026-11-21", "2026-11-23"),
    ),
    (
        "one slot caught up, one missed",
        EVERY_HOUR,
        "2026-11-24T10:30Z",
        "2026-11-24T12:45Z",
        3600,
        ("2026-11-24T12Z", 1, "2026-11-24T11Z", "2026-11-24T11Z"),
    ),
    (
        "when even the newest is too late, all are missed",
        EVERY_4_HOURS,
        "2026-11-23T12:00Z",
        "2026-11-24T12:30Z",
        3600,
        (None, 6, "2026-11-23T15:00Z", "2026-11-24T11:00Z"),
    ),
    (
        "a clock that was set back finds nothing to do",
        EVERY_HOUR,
        "2026-11-24T12:30Z",
        "2026-11-24T08:30Z",
        3600,
        (None, 0, None, None),
    ),
    (
        "years of a weekly schedule are one entry",
        EVERY_MONDAY,
        "2026-11-24T00:00Z",
        "2028-11-21T00:00Z",
        3600,
        (None, 104, "2026-11-30", "2028-11-20"),
    ),
]


MOMENT = timedelta.resolution


def due(
    schedule: Schedule, since: str, now: str, deadline: int | None
) -> tuple[str | None, int, str | None, str | None]:
    """What an operator that has just started makes of an exporter that was first seen at `since`."""
    spec = {"frequency": schedule.frequency, "timeZone": schedule.zone.key, "everyHours": schedule.every_hours}
    spec |= {"dayOfWeek": schedule.day_of_week, "startingDeadlineSeconds": deadline}
    spec = {key: value for key, value in spec.items() if value is not None}
    plan = planned(exporter(seen(datetime.fromisoformat(since), **spec), **spec), datetime.fromisoformat(now))
    slot = next_slot(schedule, plan.claimed.scheduled_time - MOMENT) if plan.claimed else None  # type: ignore[operator]
    return slot.identity if slot else None, *_missed(schedule, plan.status)


def _missed(schedule: Schedule, status: Status) -> tuple[int, str | None, str | None]:
    """How many slots were missed, the oldest and the newest, as the one entry about them tells."""
    if not status.history:
        return 0, None, None
    (entry,) = status.history
    assert (entry.result, entry.reason) == ("Missed", "DeadlineExceeded")
    assert entry.scheduled_time
    several = re.match(r"(\d+) slots between (\S+) and (\S+) ", entry.message)
    oldest = datetime.fromisoformat(several[2]) if several else entry.scheduled_time
    names = [next_slot(schedule, moment - MOMENT).identity for moment in (oldest, entry.scheduled_time)]
    return int(several[1]) if several else 1, names[0], names[1]


@pytest.mark.parametrize(
    ("schedule", "since", "now", "deadline", "expected"), [pytest.param(*case, id=name) for name, *case in CASES]
)
def test_due(
    schedule: Schedule, since: str, now: str, deadline: int, expected: tuple[str | None, int, str | None, str | None]
) -> None:
    assert due(schedule, since, now, deadline) == expected


def test_a_slot_may_be_an_hour_late_unless_one_says_otherwise() -> None:
    assert due(EVERY_DAY, "2026-11-24T12:00Z", "2026-11-25T01:20Z", None)[0]
    assert not due(EVERY_DAY, "2026-11-24T12:00Z", "2026-11-25T01:20:01Z", None)[0]


def test_a_slot_runs_once_when_each_look_begins_where_the_last_one_ended() -> None:
    spec = {"frequency": "Hourly", "everyHours": 4, "timeZone": "Europe/Zurich"}
    now = datetime.fromisoformat("2026-10-24T00:00Z")
    led, status = Leadership.started(now), seen(now, **spec)
    ran: list[str] = []
    while now < datetime.fromisoformat("2026-10-26T00:00Z"):
        now += timedelta(minutes=7)
        plan = planned(exporter(status, **spec), now, leadership=led)
        assert plan.status.history is None
        if plan.claimed and plan.claimed.scheduled_time:
            ran.append(plan.claimed.scheduled_time.astimezone(EVERY_4_HOURS.zone).strftime("%Y-%m-%dT%H"))
        status = plan.status.model_copy(update={"active_run": None})
    assert ran == [f"2026-10-{day}T{hour:02}" for day in (24, 25, 26) for hour in range(0, 24, 4)][1:13]
