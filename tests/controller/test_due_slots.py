"""Which slot runs and which slots are missed if an operator starts late, or if its clock was set back."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from qualtrics_exporter.controller.election.leadership import Leadership
from qualtrics_exporter.resource.status import Status
from qualtrics_exporter.schedule import Schedule, next_slot
from tests.controller.exporters import exporter, initial_status, planned

EVERY_HOUR = Schedule("Hourly", ZoneInfo("UTC"), every_hours=1)
EVERY_4_HOURS = Schedule("Hourly", ZoneInfo("Europe/Zurich"), every_hours=4)
EVERY_DAY = Schedule("Daily", ZoneInfo("UTC"))
EVERY_MONDAY = Schedule("Weekly", ZoneInfo("UTC"), day_of_week="Monday")

# id, schedule, since, now, deadline in seconds; the slot that runs, the number of missed slots, the oldest, the newest
CASES: list[tuple[str, Schedule, str, str, int, tuple[str | None, int, str | None, str | None]]] = [
    (
        "before the first slot",
        EVERY_DAY,
        "2026-11-24T00:20Z",
        "2026-11-25T00:19:59Z",
        3600,
        (None, 0, None, None),
    ),
    (
        "exactly at a slot",
        EVERY_DAY,
        "2026-11-24T00:20Z",
        "2026-11-25T00:20Z",
        3600,
        ("2026-11-25", 0, None, None),
    ),
    (
        "a slot at which the schedule begins",
        EVERY_DAY,
        "2026-11-25T00:20Z",
        "2026-11-25T00:20Z",
        3600,
        (None, 0, None, None),
    ),
    (
        "exactly at the deadline of a slot",
        EVERY_DAY,
        "2026-11-24T12:00Z",
        "2026-11-25T01:20Z",
        3600,
        ("2026-11-25", 0, None, None),
    ),
    (
        "after the deadline of a slot",
        EVERY_DAY,
        "2026-11-24T12:00Z",
        "2026-11-25T01:20:01Z",
        3600,
        (None, 1, "2026-11-25", "2026-11-25"),
    ),
    (
        "exactly at a slot with the shortest deadline",
        EVERY_DAY,
        "2026-11-24T12:00Z",
        "2026-11-25T00:20Z",
        60,
        ("2026-11-25", 0, None, None),
    ),
    (
        "four due slots with a long deadline",
        EVERY_DAY,
        "2026-11-20T12:00Z",
        "2026-11-24T12:00Z",
        86400,
        ("2026-11-24", 3, "2026-11-21", "2026-11-23"),
    ),
    (
        "two due slots",
        EVERY_HOUR,
        "2026-11-24T10:30Z",
        "2026-11-24T12:45Z",
        3600,
        ("2026-11-24T12Z", 1, "2026-11-24T11Z", "2026-11-24T11Z"),
    ),
    (
        "six slots after their deadlines",
        EVERY_4_HOURS,
        "2026-11-23T12:00Z",
        "2026-11-24T12:30Z",
        3600,
        (None, 6, "2026-11-23T15:00Z", "2026-11-24T11:00Z"),
    ),
    (
        "a clock that was set back",
        EVERY_HOUR,
        "2026-11-24T12:30Z",
        "2026-11-24T08:30Z",
        3600,
        (None, 0, None, None),
    ),
    (
        "two years of a weekly schedule",
        EVERY_MONDAY,
        "2026-11-24T00:00Z",
        "2028-11-21T00:00Z",
        3600,
        (None, 104, "2026-11-30", "2028-11-20"),
    ),
]


RESOLUTION = timedelta.resolution


def due_and_missed(
    schedule: Schedule, since: str, now: str, deadline: int | None
) -> tuple[str | None, int, str | None, str | None]:
    """Plan as an operator that starts `now`. Return its slot, how many slots it missed, the oldest and the newest."""
    spec = {"frequency": schedule.frequency, "timeZone": schedule.zone.key, "everyHours": schedule.every_hours}
    spec |= {"dayOfWeek": schedule.day_of_week, "startingDeadlineSeconds": deadline}
    spec = {key: value for key, value in spec.items() if value is not None}
    plan = planned(exporter(initial_status(datetime.fromisoformat(since), **spec), **spec), datetime.fromisoformat(now))
    slot = next_slot(schedule, plan.claimed.scheduled_time - RESOLUTION) if plan.claimed else None  # type: ignore[operator]
    return slot.identity if slot else None, *_missed(schedule, plan.status)


def _missed(schedule: Schedule, status: Status) -> tuple[int, str | None, str | None]:
    """Return how many slots were missed, the oldest and the newest, from the entry about them."""
    if not status.history:
        return 0, None, None
    (entry,) = status.history
    assert (entry.result, entry.reason) == ("Missed", "DeadlineExceeded")
    assert entry.scheduled_time
    match = re.match(r"(\d+) slots between (\S+) and (\S+) ", entry.message)
    oldest = datetime.fromisoformat(match[2]) if match else entry.scheduled_time
    names = [next_slot(schedule, moment - RESOLUTION).identity for moment in (oldest, entry.scheduled_time)]
    return int(match[1]) if match else 1, names[0], names[1]


@pytest.mark.parametrize(
    ("schedule", "since", "now", "deadline", "expected"), [pytest.param(*case, id=name) for name, *case in CASES]
)
def test_newest_due_slot_runs_within_its_deadline_and_the_others_are_missed(
    schedule: Schedule, since: str, now: str, deadline: int, expected: tuple[str | None, int, str | None, str | None]
) -> None:
    assert due_and_missed(schedule, since, now, deadline) == expected


def test_slot_may_be_an_hour_late_by_default() -> None:
    assert due_and_missed(EVERY_DAY, "2026-11-24T12:00Z", "2026-11-25T01:20Z", None)[0]
    assert not due_and_missed(EVERY_DAY, "2026-11-24T12:00Z", "2026-11-25T01:20:01Z", None)[0]


def test_each_slot_runs_once_if_it_is_planned_every_few_minutes_across_a_clock_change() -> None:
    spec = {"frequency": "Hourly", "everyHours": 4, "timeZone": "Europe/Zurich"}
    now = datetime.fromisoformat("2026-10-24T00:00Z")
    leadership, status = Leadership.started(now), initial_status(now, **spec)
    slots: list[str] = []
    while now < datetime.fromisoformat("2026-10-26T00:00Z"):
        now += timedelta(minutes=7)
        plan = planned(exporter(status, **spec), now, leadership=leadership)
        assert plan.status.history is None
        if plan.claimed and plan.claimed.scheduled_time:
            slots.append(plan.claimed.scheduled_time.astimezone(EVERY_4_HOURS.zone).strftime("%Y-%m-%dT%H"))
        status = plan.status.model_copy(update={"active_run": None})
    assert slots == [f"2026-10-{day}T{hour:02}" for day in (24, 25, 26) for hour in range(0, 24, 4)][1:13]
