"""Slots in every time zone and around every clock change, compared with a reference implementation."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qualtrics_exporter.schedule import (
    EVERY_HOURS,
    WEEKDAYS,
    Schedule,
    Slot,
    count_slots,
    newest_slot,
    next_slot,
    slot_due_at,
    slots_between,
)
from tests.schedule import reference
from tests.schedule.reference import Change

YEARS = 2000, 2040
MOMENT = timedelta.resolution
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
INSTANTS = st.integers(0, 41 * 365 * 86400).map(lambda second: datetime(YEARS[0], 1, 1, tzinfo=UTC) + second * SECOND)
NAMES = sorted(available_timezones() - {"localtime"})
# All clock changes take a minute. Every 25th shows a mistake within seconds.
STEP = pytest.mark.parametrize("step", [25, pytest.param(1, marks=pytest.mark.long)])


def schedules(zone: ZoneInfo, weekdays: Iterable[str] = WEEKDAYS) -> Iterator[Schedule]:
    yield from (Schedule("Hourly", zone, every_hours=hours) for hours in EVERY_HOURS)
    yield Schedule("Daily", zone)
    yield from (Schedule("Weekly", zone, day_of_week=day) for day in weekdays)


def zone_file(name: str) -> bytes:
    """The rules of a zone as `zoneinfo` reads them: from the system, or else from the package tzdata."""
    for folder in TZPATH:
        if (path := Path(folder, name)).is_file():
            return path.read_bytes()
    return files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


@cache
def zones() -> dict[str, list[Change]]:
    """Every zone with its clock changes, and one of several zones with the same rules. Many names are links."""
    distinct = {zone_file(name): name for name in reversed(NAMES)}
    rules = {reference.offsets(name, *YEARS): name for name in sorted(distinct.values(), reverse=True)}
    return {name: list(reference.changes(name, YEARS[0], by_day)) for by_day, name in rules.items()}


def every_change() -> list[Change]:
    return [change for changes in zones().values() for change in changes]


@cache
def every_shape_of_change() -> list[Change]:
    """One clock change of each kind: the same difference at the same time of day."""
    shapes: dict[tuple[object, ...], Change] = {}
    for change in every_change():
        shapes.setdefault(change.shape, change)
    return list(shapes.values())


def assert_consistent(schedule: Schedule, after: datetime, until: datetime) -> list[Slot]:
    """All functions agree on the slots between two times. Return the slots."""
    slots = list(slots_between(schedule, after, until))
    assert count_slots(schedule, after, until) == len(slots)
    assert newest_slot(schedule, after, until) == (slots[-1] if slots else None)
    assert next_slot(schedule, after) == slots[0] if slots else next_slot(schedule, after).due > until
    assert len({slot.identity for slot in slots}) == len(slots)
    for slot in slots:
        assert after < slot.due <= until
        assert next_slot(schedule, slot.due - MOMENT) == slot
        assert newest_slot(schedule, slot.due - MOMENT, slot.due) == slot
        assert slot_due_at(schedule, slot.due) == slot
        assert slot_due_at(schedule, slot.due + MOMENT) is None
    for slot, following in pairwise(slots):
        assert slot.due < following.due
        assert next_slot(schedule, slot.due) == following
        assert slot_due_at(schedule, slot.due + (following.due - slot.due) / 2) is None
    return slots


def assert_spaced(schedule: Schedule, slots: list[Slot], slack: timedelta) -> None:
    for slot, following in pairwise(slots):
        assert abs(following.due - slot.due - schedule.interval()) <= slack


def assert_matches_reference(schedule: Schedule, after: datetime, until: datetime) -> None:
    weekday = WEEKDAYS.index(schedule.day_of_week) if schedule.day_of_week else None
    expected = reference.slots(schedule.zone, schedule.every_hours, weekday, after, until)
    assert [(slot.due, slot.identity) for slot in slots_between(schedule, after, until)] == expected


@pytest.mark.long  # half a minute; a test below compares at random times
def test_slots_around_each_kind_of_clock_change_match_the_reference() -> None:
    for change in every_shape_of_change():
        day = change.instant.astimezone(ZoneInfo(change.zone)).weekday()
        for schedule in schedules(ZoneInfo(change.zone), weekdays=(WEEKDAYS[day - 1], WEEKDAYS[day])):
            assert_matches_reference(schedule, change.instant - 1.3 * DAY, change.instant + 1.3 * DAY)


@STEP
def test_slots_around_the_latest_clock_change_of_each_zone_are_ordered_unique_and_consistent(step: int) -> None:
    for zone, changes in list(zones().items())[::step]:
        instant = changes[-1].instant if changes else datetime(2028, 2, 29, tzinfo=UTC)
        day = instant.astimezone(ZoneInfo(zone)).weekday()
        for schedule in schedules(ZoneInfo(zone), weekdays=(WEEKDAYS[day],)):
            width = max(DAY, schedule.interval())
            assert_consistent(schedule, instant - width, instant + width)


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_slot_is_not_due_again_while_a_clock_is_set_back(step: int) -> None:
    for change in every_shape_of_change()[::step]:
        day = change.instant.astimezone(ZoneInfo(change.zone)).weekday()
        for schedule in schedules(ZoneInfo(change.zone), weekdays=(WEEKDAYS[day], WEEKDAYS[day - 6])):
            first, last = change.instant - 8 * DAY, change.instant + 8 * DAY
            slots = list(slots_between(schedule, first, last))
            for number in range(-9, 19):
                now = change.instant + number * 10 * MINUTE
                assert newest_slot(schedule, first, now) == max(slot for slot in slots if slot.due <= now)
                assert next_slot(schedule, now) == min(slot for slot in slots if slot.due > now)


def test_clock_change_alters_the_interval_between_slots_by_at_most_twice_its_length() -> None:
    for change in every_shape_of_change():
        difference = abs(change.after - change.before)
        for schedule in schedules(ZoneInfo(change.zone), weekdays=()):
            # A change as long as the interval merges slots, and moves the remaining slot towards the next one.
            slack = difference if difference < schedule.interval() else 2 * difference
            around = slots_between(schedule, change.instant - 1.5 * DAY, change.instant + 1.5 * DAY)
            assert_spaced(schedule, list(around), slack)


@STEP
def test_hourly_schedule_has_exactly_one_slot_in_each_utc_hour(step: int) -> None:
    for change in every_change()[::step]:
        schedule = Schedule("Hourly", ZoneInfo(change.zone), every_hours=1)
        midnight = change.instant.replace(hour=0, minute=0)
        expected = [f"{midnight + n * HOUR:%Y-%m-%dT%HZ}" for n in range(-12, 36)]
        slots = slots_between(schedule, midnight - 13 * HOUR, midnight + 37 * HOUR)
        assert [slot.identity for slot in slots if slot.identity in expected] == expected


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_slots_in_any_zone_at_any_time_are_ordered_unique_and_consistent(data: st.DataObject) -> None:
    zone = ZoneInfo(data.draw(st.sampled_from(NAMES)))
    schedule = data.draw(st.sampled_from(list(schedules(zone))))
    after = data.draw(INSTANTS)
    until = after + data.draw(st.floats(0, 6)) * schedule.interval()
    assert_consistent(schedule, after, until)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_slots_in_any_zone_at_any_time_match_the_reference(
    data: st.DataObject,
) -> None:
    zone = ZoneInfo(data.draw(st.sampled_from(NAMES)))
    schedule = data.draw(st.sampled_from(list(schedules(zone))))
    after = data.draw(INSTANTS)
    after = after.replace(second=0, microsecond=0)
    assert_matches_reference(schedule, after, after + max(DAY, schedule.interval()))


@settings(max_examples=60)
@given(
    zone=st.sampled_from(NAMES).map(ZoneInfo),
    since=INSTANTS,
    days=st.integers(0, 1500),
)
def test_count_and_newest_slot_match_the_list_of_slots(zone: ZoneInfo, since: datetime, days: int) -> None:
    for schedule in (Schedule("Hourly", zone, every_hours=12), Schedule("Daily", zone), Schedule("Hourly", zone, 1)):
        until = since + days * DAY / (10 if schedule.every_hours == 1 else 1)
        slots = list(slots_between(schedule, since, until))
        assert count_slots(schedule, since, until) == len(slots)
        assert newest_slot(schedule, since, until) == (slots[-1] if slots else None)


@pytest.mark.long
def test_slots_around_every_clock_change_of_every_zone_match_the_reference() -> None:
    for change in every_change():
        day = change.instant.astimezone(ZoneInfo(change.zone)).weekday()
        for schedule in schedules(ZoneInfo(change.zone), weekdays=(WEEKDAYS[day - 1], WEEKDAYS[day])):
            assert_matches_reference(schedule, change.instant - 1.3 * DAY, change.instant + 1.3 * DAY)


@pytest.mark.long
@pytest.mark.parametrize("hours", [3, 12, None])
def test_slots_of_every_zone_and_year_are_ordered_and_unique(hours: int | None) -> None:
    after, until = (datetime(year, 1, 1, tzinfo=UTC) for year in YEARS)
    for zone in zones():
        schedule = Schedule("Hourly", ZoneInfo(zone), hours) if hours else Schedule("Daily", ZoneInfo(zone))
        slots = list(slots_between(schedule, after, until))
        assert all(slot.due < following.due for slot, following in pairwise(slots))
        assert len({slot.identity for slot in slots}) == len(slots) == count_slots(schedule, after, until)
