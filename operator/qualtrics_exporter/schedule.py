"""Slots: the times at which a survey can be sent, as pure functions of (schedule, time).

A slot has a *start*, which is a local time of its schedule, a *due* time, at which it runs, and an *identity*, from
which the id of its run is derived. Hourly and Daily slots are due 20 minutes of elapsed time after the start, because
until then the last time bucket of Nexthink is open. Weekly slots are due at the start. The identity ensures that a slot
has at most one distribution. So after clock changes, these rules choose one slot too few rather than one too many:

- Every hour: one slot for each hour of UTC, which is its identity. It starts at the full local hour within that UTC
  hour (at 23:30 UTC in Asia/Kolkata), with the offset at the beginning of the UTC hour. So it does not matter how
  often a local hour exists, and no change of offset puts two slots into one hour.
- Every 2, 3, 4, 6 or 12 hours: one slot for each local hour divisible by that number. Its identity is the start in UTC:
  after a change of time zone, the same local hour is another slot.
- Daily, Weekly: one slot for each local midnight, or midnight of that weekday. Its identity is the local date, even if
  the slot moved: after a change of time zone, the same date is the same slot.
- A local time that exists twice counts once, the first time. A local time that does not exist moves to the first
  instant after the gap, and the 20 minutes are counted from there.
- Slots that move to the same instant, or to the instant of another slot, are one slot with the identity of the latest:
  in Pacific/Apia, where 30 December 2011 does not exist, the Daily slot of the 31st replaces both. A Weekly slot of
  that Friday runs at the beginning of Saturday, with the identity of the Friday.

Implementation: nominal starts are numbered, so a division gives the number of the newest one, and one or two steps
correct it for clock changes. Start times never decrease with their number. If several are equal, the last of them is
the slot. Only `slots_between` and `count_slots` iterate over all slots.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

Frequency = Literal["Hourly", "Daily", "Weekly"]

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EVERY_HOURS = (1, 2, 3, 4, 6, 12)
BUCKET_DELAY = timedelta(minutes=20)

_HOUR = timedelta(hours=1)
_WORDS = re.compile(
    rf"every (?:(?P<hour>(?:(?P<hours>[0-9]+) )?hours?) at :20|(?P<day>{'|'.join(WEEKDAYS)}) at 00:00|day at 00:20)"
    r", (?P<zone>\S+)"
)
_ORIGIN = datetime(1, 1, 1)  # noqa: DTZ001  a Monday in local time; nominal start number 0


class UnknownTimeZone(ValueError):
    """The name is not in the IANA time zone database."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule in a time zone."""

    frequency: Frequency
    zone: ZoneInfo
    every_hours: int | None = None
    day_of_week: str | None = None

    def __post_init__(self) -> None:
        # The numbering relies on starts at the same hours every day.
        if self.every_hours not in (EVERY_HOURS if self.frequency == "Hourly" else (None,)):
            raise ValueError(f"a {self.frequency} schedule cannot have every_hours={self.every_hours!r}")
        if self.day_of_week not in (WEEKDAYS if self.frequency == "Weekly" else (None,)):
            raise ValueError(f"a {self.frequency} schedule cannot have day_of_week={self.day_of_week!r}")

    def describe(self) -> str:
        """The schedule as text. Two schedules with the same text have the same slots."""
        if self.every_hours:
            hours = "hour" if self.every_hours == 1 else f"{self.every_hours} hours"
            return f"every {hours} at :20, {self.zone.key}"
        if self.day_of_week:
            return f"every {self.day_of_week} at 00:00, {self.zone.key}"
        return f"every day at 00:20, {self.zone.key}"

    @classmethod
    def from_description(cls, words: str) -> "Schedule | None":
        """The schedule that `describe` returned for. None if the text or its time zone is unknown."""
        match = _WORDS.fullmatch(words)
        if match is None:
            return None
        hours = int(match["hours"] or 1) if match["hour"] else None
        try:
            if match["hour"]:
                return cls("Hourly", zone(match["zone"]), hours)
            return cls("Weekly" if match["day"] else "Daily", zone(match["zone"]), None, match["day"])
        except ValueError:
            return None

    def interval(self) -> timedelta:
        """The time between two slots without clock changes."""
        if self.every_hours:
            return timedelta(hours=self.every_hours)
        return timedelta(days=7 if self.day_of_week else 1)


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One slot of a schedule: when it is due, in UTC, and its permanent identity."""

    due: datetime
    identity: str


def next_slot(schedule: Schedule, after: datetime) -> Slot:
    """The first slot that is due after this time."""
    due = _due(schedule, slot_number(schedule, after) + 1)
    return numbered_slot(schedule, slot_number(schedule, due))  # the last of those due at the same instant


def slots_between(schedule: Schedule, after: datetime, until: datetime) -> Iterator[Slot]:
    """The slots with after < due <= until, one by one, oldest first."""
    for number in range(slot_number(schedule, after) + 1, slot_number(schedule, until) + 1):
        if _start(schedule, number) < _start(schedule, number + 1):
            yield numbered_slot(schedule, number)


def newest_slot(schedule: Schedule, after: datetime, until: datetime) -> Slot | None:
    """The last of `slots_between`, without iterating over the others."""
    slot = numbered_slot(schedule, slot_number(schedule, until))
    return slot if slot.due > after else None


def count_slots(schedule: Schedule, after: datetime, until: datetime) -> int:
    """The number of `slots_between`."""
    first, last = slot_number(schedule, after) + 1, slot_number(schedule, until)
    if schedule.every_hours == 1:
        return max(0, last - first + 1)
    starts = (_start(schedule, number) for number in range(first, last + 2))
    return sum(start < following for start, following in pairwise(starts))


def slot_due_at(schedule: Schedule, due: datetime) -> Slot | None:
    """The slot that is due at exactly this time, if the schedule has one."""
    slot = numbered_slot(schedule, slot_number(schedule, due))
    return slot if slot.due == due else None


def slot_number(schedule: Schedule, until: datetime) -> int:
    """The number of the newest slot that is due by then. It grows by one with each slot, even if that does not run.

    It does not depend on when the exporter was created. It differs between frequencies, and between values of
    `every_hours`. If several slots become one, that slot has the last of their numbers.
    """
    clock = UTC if schedule.every_hours == 1 else schedule.zone
    shown = (until - _bucket_delay(schedule)).astimezone(clock).replace(tzinfo=None)
    number = (shown - _ORIGIN) // schedule.interval()
    while _due(schedule, number) > until:
        number -= 1
    while _due(schedule, number + 1) <= until:
        number += 1
    return number


def numbered_slot(schedule: Schedule, number: int) -> Slot:
    return Slot(_due(schedule, number), _identity(schedule, number))


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises `UnknownTimeZone` for anything else, including names of files."""
    if name not in zone_names():
        names = {known.lower(): known for known in sorted(zone_names())}
        meant = get_close_matches(name.lower(), names, n=1, cutoff=0.9)
        instead = f"did you mean {names[meant[0]]!r}?" if meant else "write one such as 'Europe/Zurich' or 'UTC'."
        raise UnknownTimeZone(f"{name!r} is not the name of an IANA time zone: {instead}")
    return ZoneInfo(name)


@cache
def zone_names() -> frozenset[str]:
    """The names of all IANA time zones."""
    # A list, because ZoneInfo() opens files: it accepts "localtime", and any case on some file systems.
    return frozenset(files("tzdata").joinpath("zones").read_text("utf-8").split())


def _identity(schedule: Schedule, number: int) -> str:
    if schedule.every_hours == 1:
        return _nominal(schedule, number).isoformat(timespec="hours") + "Z"
    if schedule.every_hours:
        return _start(schedule, number).strftime("%Y-%m-%dT%H:%MZ")
    return _nominal(schedule, number).date().isoformat()


def _due(schedule: Schedule, number: int) -> datetime:
    return _start(schedule, number) + _bucket_delay(schedule)


def _bucket_delay(schedule: Schedule) -> timedelta:
    return timedelta(0) if schedule.frequency == "Weekly" else BUCKET_DELAY


def _nominal(schedule: Schedule, number: int) -> datetime:
    """The start before clock changes, without a zone: in UTC for every hour, otherwise local."""
    day = WEEKDAYS.index(schedule.day_of_week) if schedule.day_of_week else 0
    return _ORIGIN + timedelta(days=day) + number * schedule.interval()


@lru_cache(maxsize=4096)
def _start(schedule: Schedule, number: int) -> datetime:
    """The instant of a nominal start, in UTC. Cached, because callers ask repeatedly for the few starts near now."""
    nominal = _nominal(schedule, number)
    if schedule.every_hours == 1:
        hour = nominal.replace(tzinfo=UTC)
        local = hour.astimezone(schedule.zone)
        return hour + -timedelta(minutes=local.minute, seconds=local.second) % _HOUR
    local = nominal.replace(tzinfo=schedule.zone)
    first, second = local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
    return first if first <= second else _end_of_gap(nominal, schedule.zone, second, first)


def _end_of_gap(nominal: datetime, zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first instant after a gap in local time, found by a search, because zoneinfo has no list of changes."""

    def passed(second: int) -> bool:
        return (before + timedelta(seconds=second)).astimezone(zone).replace(tzinfo=None) > nominal

    gap = range(int((after - before).total_seconds()) + 1)
    return before + timedelta(seconds=bisect_left(gap, True, key=passed))
