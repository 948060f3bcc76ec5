"""The rules of slots, each with an example."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from qualtrics_exporter.schedule import (
    Frequency,
    Schedule,
    Slot,
    count_slots,
    newest_slot,
    next_slot,
    slot_due_at,
    slots_between,
)
from tests.support.work import work


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def hourly(every: int, zone: str) -> Schedule:
    return Schedule("Hourly", ZoneInfo(zone), every_hours=every)


def daily(zone: str) -> Schedule:
    return Schedule("Daily", ZoneInfo(zone))


def weekly(day: str, zone: str) -> Schedule:
    return Schedule("Weekly", ZoneInfo(zone), day_of_week=day)


# The rule, a schedule, a time, and the next slots: the local due time and the identity of each.
RULES: list[tuple[str, Schedule, str, list[str]]] = [
    (
        "an hourly slot is due 20 minutes after the hour and is named after the hour of UTC",
        hourly(1, "Europe/Zurich"),
        "2026-11-24T03:00Z",
        ["2026-11-24 04:20+01:00 2026-11-24T03Z", "2026-11-24 05:20+01:00 2026-11-24T04Z"],
    ),
    (
        "every 4 hours means the local hours divisible by 4, named after the instant in UTC",
        hourly(4, "Europe/Zurich"),
        "2026-11-24T20:00Z",
        ["2026-11-25 00:20+01:00 2026-11-24T23:00Z", "2026-11-25 04:20+01:00 2026-11-25T03:00Z"],
    ),
    (
        "every 12 hours means midnight and noon",
        hourly(12, "America/New_York"),
        "2026-11-24T17:20Z",
        ["2026-11-25 00:20-05:00 2026-11-25T05:00Z", "2026-11-25 12:20-05:00 2026-11-25T17:00Z"],
    ),
    (
        "a daily slot starts at midnight, is due 20 minutes later and is named after the local date",
        daily("Europe/Zurich"),
        "2026-11-24T00:00Z",
        ["2026-11-25 00:20+01:00 2026-11-25", "2026-11-26 00:20+01:00 2026-11-26"],
    ),
    (
        "a weekly slot is due at midnight of its day, at once",
        weekly("Monday", "Europe/Zurich"),
        "2026-11-24T00:00Z",
        ["2026-11-30 00:00+01:00 2026-11-30", "2026-12-07 00:00+01:00 2026-12-07"],
    ),
    (
        "a weekly slot is on the day of the schedule",
        weekly("Sunday", "UTC"),
        "2026-11-24T00:00Z",
        ["2026-11-29 00:00+00:00 2026-11-29", "2026-12-06 00:00+00:00 2026-12-06"],
    ),
    (
        "a slot that is due exactly at the given time is not after it",
        daily("UTC"),
        "2026-11-24T00:20Z",
        ["2026-11-25 00:20+00:00 2026-11-25"],
    ),
    (
        "a slot that is due a microsecond later is after the given time",
        daily("UTC"),
        "2026-11-24T00:19:59.999999Z",
        ["2026-11-24 00:20+00:00 2026-11-24"],
    ),
    (
        "the given time can be in any zone",
        daily("UTC"),
        "2026-11-24T01:19:59+01:00",
        ["2026-11-24 00:20+00:00 2026-11-24"],
    ),
    (
        "a leap day is a day",
        daily("Asia/Tokyo"),
        "2028-02-28T00:00Z",
        ["2028-02-29 00:20+09:00 2028-02-29", "2028-03-01 00:20+09:00 2028-03-01"],
    ),
    (
        "a year without a leap day has no slots on it",
        hourly(12, "UTC"),
        "2027-02-28T01:00Z",
        ["2027-02-28 12:20+00:00 2027-02-28T12:00Z", "2027-03-01 00:20+00:00 2027-03-01T00:00Z"],
    ),
    (
        "a daily slot in the gap at midnight moves to the first instant after it, and waits its 20 minutes from there",
        daily("Asia/Beirut"),
        "2026-03-28T00:00Z",
        ["2026-03-29 01:20+03:00 2026-03-29", "2026-03-30 00:20+03:00 2026-03-30"],
    ),
    (
        "a daily slot in the gap at midnight moves to one o'clock in São Paulo as well",
        daily("America/Sao_Paulo"),
        "2018-11-03T12:00Z",
        ["2018-11-04 01:20-02:00 2018-11-04", "2018-11-05 00:20-02:00 2018-11-05"],
    ),
    (
        "a weekly slot in the gap at midnight moves to the first instant after it and keeps its name",
        weekly("Friday", "Africa/Cairo"),
        "2026-04-20T00:00Z",
        ["2026-04-24 01:00+03:00 2026-04-24", "2026-05-01 00:00+03:00 2026-05-01"],
    ),
    (
        "a clock set forward one minute after midnight does not move the slot, only its local due time",
        daily("America/St_Johns"),
        "2010-03-13T12:00Z",
        ["2010-03-14 01:20-02:30 2010-03-14", "2010-03-15 00:20-02:30 2010-03-15"],
    ),
    (
        "a midnight that exists twice counts the first time, even if the clock is set back before the slot is due",
        daily("America/St_Johns"),
        "2010-11-06T12:00Z",
        ["2010-11-06 23:20-03:30 2010-11-07", "2010-11-08 00:20-03:30 2010-11-08"],
    ),
    (
        "a slot that was due before the clock was set back is not due again in the repeated hour",
        daily("America/St_Johns"),
        "2010-11-07T03:05Z",
        ["2010-11-08 00:20-03:30 2010-11-08", "2010-11-09 00:20-03:30 2010-11-09"],
    ),
    (
        "a midnight that exists twice counts once for a weekly slot",
        weekly("Sunday", "America/Havana"),
        "2026-10-31T12:00Z",
        ["2026-11-01 00:00-04:00 2026-11-01", "2026-11-08 00:00-05:00 2026-11-08"],
    ),
    (
        "a clock set back from midnight to 23:00 leaves one midnight, the later one",
        daily("America/Sao_Paulo"),
        "2019-02-16T12:00Z",
        ["2019-02-17 00:20-03:00 2019-02-17", "2019-02-18 00:20-03:00 2019-02-18"],
    ),
    (
        "in spring a slot every 2 hours moves from two o'clock to three",
        hourly(2, "Europe/Zurich"),
        "2026-03-29T00:00Z",
        ["2026-03-29 03:20+02:00 2026-03-29T01:00Z", "2026-03-29 04:20+02:00 2026-03-29T02:00Z"],
    ),
    (
        "in autumn two o'clock exists twice and counts once, the first time",
        hourly(2, "Europe/Zurich"),
        "2026-10-24T22:30Z",
        ["2026-10-25 02:20+02:00 2026-10-25T00:00Z", "2026-10-25 04:20+01:00 2026-10-25T03:00Z"],
    ),
    (
        "in spring an hourly schedule has no slot for the missing hour",
        hourly(1, "Europe/Zurich"),
        "2026-03-28T23:30Z",
        ["2026-03-29 01:20+01:00 2026-03-29T00Z", "2026-03-29 03:20+02:00 2026-03-29T01Z"],
    ),
    (
        "in autumn an hourly schedule has a slot for each of the two equal hours",
        hourly(1, "Europe/Zurich"),
        "2026-10-24T23:30Z",
        [
            "2026-10-25 02:20+02:00 2026-10-25T00Z",
            "2026-10-25 02:20+01:00 2026-10-25T01Z",
            "2026-10-25 03:20+01:00 2026-10-25T02Z",
        ],
    ),
    (
        "in a zone with a half-hour offset the full hour is in the middle of the UTC hour that gives the name",
        hourly(1, "Asia/Kolkata"),
        "2026-11-24T23:00Z",
        ["2026-11-25 05:20+05:30 2026-11-24T23Z", "2026-11-25 06:20+05:30 2026-11-25T00Z"],
    ),
    (
        "in a zone with a 45-minute offset the name is that of the start, not of the due time",
        hourly(1, "Asia/Kathmandu"),
        "2026-11-24T23:00Z",
        ["2026-11-25 05:20+05:45 2026-11-24T23Z", "2026-11-25 06:20+05:45 2026-11-25T00Z"],
    ),
    (
        "a half-hour offset west of Greenwich counts in the other direction",
        hourly(1, "America/St_Johns"),
        "2026-11-24T23:00Z",
        ["2026-11-24 20:20-03:30 2026-11-24T23Z", "2026-11-24 21:20-03:30 2026-11-25T00Z"],
    ),
    (
        "a clock set forward by half an hour starts the skipped hour at the end of the gap",
        hourly(1, "Australia/Lord_Howe"),
        "2026-10-03T14:00Z",
        [
            "2026-10-04 01:20+10:30 2026-10-03T14Z",
            "2026-10-04 02:50+11:00 2026-10-03T15Z",
            "2026-10-04 03:20+11:00 2026-10-03T16Z",
        ],
    ),
    (
        "a clock set back by half an hour gives no UTC hour two slots",
        hourly(1, "Australia/Lord_Howe"),
        "2026-04-04T14:00Z",
        [
            "2026-04-05 01:20+11:00 2026-04-04T14Z",
            "2026-04-05 02:20+10:30 2026-04-04T15Z",
            "2026-04-05 03:20+10:30 2026-04-04T16Z",
        ],
    ),
    (
        "put forward over three o'clock to 03:45, that hour of UTC has one slot, when the clock strikes four",
        hourly(1, "Pacific/Chatham"),
        "2026-09-26T13:00Z",
        [
            "2026-09-27 02:20+12:45 2026-09-26T13Z",
            "2026-09-27 04:20+13:45 2026-09-26T14Z",
            "2026-09-27 05:20+13:45 2026-09-26T15Z",
        ],
    ),
    (
        "a clock set back by half an hour just before the full hour still gives the UTC hour its slot",
        hourly(1, "Pacific/Norfolk"),
        "2015-10-03T13:00Z",
        [
            "2015-10-04 01:20+11:30 2015-10-03T13Z",
            "2015-10-04 01:50+11:00 2015-10-03T14Z",
            "2015-10-04 02:20+11:00 2015-10-03T15Z",
        ],
    ),
    (
        "a midnight that exists twice in one hour of UTC has one slot in it",
        hourly(1, "Asia/Colombo"),
        "2006-04-14T17:30Z",
        ["2006-04-15 00:20+06:00 2006-04-14T18Z", "2006-04-15 01:20+05:30 2006-04-14T19Z"],
    ),
    (
        "every 3 hours after a half-hour clock change means the same local hours",
        hourly(3, "Australia/Lord_Howe"),
        "2026-10-03T14:00Z",
        ["2026-10-04 03:20+11:00 2026-10-03T16:00Z", "2026-10-04 06:20+11:00 2026-10-03T19:00Z"],
    ),
    (
        "two local hours in one gap are one slot",
        hourly(2, "Antarctica/Casey"),
        "2009-10-17T17:00Z",
        ["2009-10-18 05:20+11:00 2009-10-17T18:00Z", "2009-10-18 06:20+11:00 2009-10-17T19:00Z"],
    ),
    (
        "the daily slot of a skipped day is that of the next day",
        daily("Pacific/Apia"),
        "2011-12-28T12:00Z",
        [
            "2011-12-29 00:20-10:00 2011-12-29",
            "2011-12-31 00:20+14:00 2011-12-31",
            "2012-01-01 00:20+14:00 2012-01-01",
        ],
    ),
    (
        "the slots every 12 hours of a skipped day are those of the next day",
        hourly(12, "Pacific/Fakaofo"),
        "2011-12-29T12:00Z",
        [
            "2011-12-29 12:20-11:00 2011-12-29T23:00Z",
            "2011-12-31 00:20+13:00 2011-12-30T11:00Z",
            "2011-12-31 12:20+13:00 2011-12-30T23:00Z",
        ],
    ),
    (
        "a weekly slot on a skipped day moves to the next day and keeps its name",
        weekly("Friday", "Pacific/Apia"),
        "2011-12-24T12:00Z",
        ["2011-12-31 00:00+14:00 2011-12-30", "2012-01-06 00:00+14:00 2012-01-06"],
    ),
    (
        "a skipped day does not interrupt the hourly slots",
        hourly(1, "Pacific/Apia"),
        "2011-12-30T09:00Z",
        ["2011-12-29 23:20-10:00 2011-12-30T09Z", "2011-12-31 00:20+14:00 2011-12-30T10Z"],
    ),
    (
        "the daily slot of the skipped day in Kwajalein is that of the next day",
        daily("Pacific/Kwajalein"),
        "1993-08-20T00:00Z",
        ["1993-08-20 00:20-12:00 1993-08-20", "1993-08-22 00:20+12:00 1993-08-22"],
    ),
]


@pytest.mark.parametrize(("schedule", "after", "lines"), [pytest.param(*rule, id=name) for name, *rule in RULES])
def test_schedule_has_the_expected_slots(schedule: Schedule, after: str, lines: list[str]) -> None:
    expected = [Slot(at(line[:22]).astimezone(UTC), line[23:]) for line in lines]
    shown = [at(line[:22]).replace(tzinfo=None) for line in lines]

    assert next_slot(schedule, at(after)) == expected[0]
    assert list(slots_between(schedule, at(after), expected[-1].due)) == expected
    assert count_slots(schedule, at(after), expected[-1].due) == len(expected)
    assert newest_slot(schedule, at(after), expected[-1].due) == expected[-1]
    assert [slot_due_at(schedule, slot.due) for slot in expected] == expected
    assert [slot.due.astimezone(schedule.zone).replace(tzinfo=None) for slot in expected] == shown


@pytest.mark.parametrize(
    ("schedule", "words", "interval"),
    [
        (hourly(1, "UTC"), "every hour at :20, UTC", timedelta(hours=1)),
        (hourly(4, "Europe/Zurich"), "every 4 hours at :20, Europe/Zurich", timedelta(hours=4)),
        (daily("Europe/Zurich"), "every day at 00:20, Europe/Zurich", timedelta(days=1)),
        (weekly("Monday", "Europe/Zurich"), "every Monday at 00:00, Europe/Zurich", timedelta(weeks=1)),
    ],
)
def test_schedule_has_a_description_and_an_interval(schedule: Schedule, words: str, interval: timedelta) -> None:
    assert schedule.describe() == words
    assert schedule.interval() == interval


@pytest.mark.parametrize(
    ("frequency", "recurrence"),
    [
        ("Hourly", {}),
        ("Hourly", {"every_hours": 5}),
        ("Hourly", {"every_hours": 24}),
        ("Hourly", {"every_hours": 4, "day_of_week": "Monday"}),
        ("Daily", {"every_hours": 1}),
        ("Daily", {"every_hours": 5}),
        ("Daily", {"day_of_week": "Monday"}),
        ("Weekly", {}),
        ("Weekly", {"day_of_week": "monday"}),
        ("Weekly", {"day_of_week": "Monday", "every_hours": 1}),
    ],
)
def test_recurrence_that_does_not_fit_the_frequency_is_rejected(
    frequency: Frequency, recurrence: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"a {frequency} schedule cannot have"):
        Schedule(frequency, ZoneInfo("UTC"), **recurrence)


def test_slots_are_immutable_and_ordered_by_due_time() -> None:
    first = next_slot(daily("UTC"), at("2026-11-24T12:00Z"))
    second = next_slot(daily("UTC"), first.due)
    assert sorted([second, first]) == [first, second]
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.identity = "another"  # type: ignore[misc]


def test_reversed_time_range_has_no_slots() -> None:
    now, earlier = at("2026-11-24T12:00Z"), at("2026-11-20T12:00Z")
    for schedule in (hourly(1, "UTC"), hourly(4, "UTC"), daily("UTC"), weekly("Monday", "UTC")):
        assert list(slots_between(schedule, now, earlier)) == []
        assert count_slots(schedule, now, earlier) == 0
        assert newest_slot(schedule, now, earlier) is None


def test_time_that_is_not_a_due_time_has_no_slot() -> None:
    assert slot_due_at(daily("UTC"), at("2026-11-24T00:00Z")) is None
    assert slot_due_at(daily("UTC"), at("2026-11-24T00:20:01Z")) is None
    assert slot_due_at(daily("Europe/Zurich"), at("2026-11-24T00:20Z")) is None


def test_time_without_a_zone_is_rejected() -> None:
    with pytest.raises(TypeError):
        next_slot(daily("UTC"), datetime(2026, 11, 24))  # noqa: DTZ001


@pytest.mark.parametrize("every", [1, 2])
def test_slots_of_five_years_are_counted_with_little_work(every: int) -> None:
    schedule, after, until = hourly(every, "Europe/Zurich"), at("2020-01-01T00:00Z"), at("2025-01-01T00:00Z")
    number, calls = work(count_slots, schedule, after, until)
    assert number == (until - after) / timedelta(hours=every)
    assert calls < 20 * number
