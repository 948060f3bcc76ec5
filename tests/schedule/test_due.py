"""What runs now, what was missed: after a night's sleep, a holiday, a clock that was set back."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from qualtrics_exporter.schedule import Due, Schedule, due

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
        "without any patience a slot runs in its moment only",
        EVERY_DAY,
        "2026-11-24T12:00Z",
        "2026-11-25T00:20Z",
        0,
        ("2026-11-25", 0, None, None),
    ),
    (
        "only the newest slot is caught up, the others are missed, however patient one is",
        EVERY_DAY,
        "2026-11-20T12:00Z",
        "2026-11-24T12:00Z",
        7 * 86400,
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
        (None, 6, "2026-11-23T16", "2026-11-24T12"),
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


@pytest.mark.parametrize(
    ("schedule", "since", "now", "deadline", "expected"), [pytest.param(*case, id=name) for name, *case in CASES]
)
def test_due(
    schedule: Schedule, since: str, now: str, deadline: int, expected: tuple[str | None, int, str | None, str | None]
) -> None:
    found = due(schedule, datetime.fromisoformat(since), datetime.fromisoformat(now), timedelta(seconds=deadline))
    oldest, newest = found.oldest_missed, found.newest_missed
    names = [slot and slot.identity for slot in (found.run, oldest, newest)]
    assert (names[0], found.missed, names[1], names[2]) == expected


def test_a_slot_may_be_an_hour_late_unless_one_says_otherwise() -> None:
    since = datetime.fromisoformat("2026-11-24T12:00Z")
    assert due(EVERY_DAY, since, datetime.fromisoformat("2026-11-25T01:20Z")).run
    assert not due(EVERY_DAY, since, datetime.fromisoformat("2026-11-25T01:20:01Z")).run


def test_a_slot_runs_once_when_each_look_begins_where_the_last_one_ended() -> None:
    since = now = datetime.fromisoformat("2026-10-24T00:00Z")
    ran: list[str] = []
    while now < datetime.fromisoformat("2026-10-26T00:00Z"):
        now += timedelta(minutes=7)
        found: Due = due(EVERY_4_HOURS, since, now)
        assert found.missed == 0
        if found.run:
            ran.append(found.run.identity)
            since = found.run.due
    assert ran == [f"2026-10-{day}T{hour:02}" for day in (24, 25, 26) for hour in range(0, 24, 4)][1:13]
