"""A reference implementation of slots: it reads the local time of every minute.

It shares no code with `qualtrics_exporter.schedule`. It is slow and does not calculate clock changes, so the two are
unlikely to have the same mistakes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Change:
    """A clock change, with the first instant of the new offset."""

    zone: str
    instant: datetime
    before: timedelta
    after: timedelta

    @property
    def shape(self) -> tuple[object, ...]:
        """Equal for changes that differ only in their date, for any schedule."""
        local = self.instant.astimezone(ZoneInfo(self.zone))
        return self.before, self.after, local.hour, local.minute, local.second

    def __str__(self) -> str:
        return f"{self.zone} {self.instant:%Y-%m-%d %H:%M}"


def offsets(name: str, first: int, last: int) -> tuple[timedelta, ...]:
    """The offset from UTC at the beginning of each day of those years."""
    zone = ZoneInfo(name)
    return tuple(offset(zone, midnight) for midnight in midnights(first, last))


@lru_cache(maxsize=1)
def midnights(first: int, last: int) -> tuple[datetime, ...]:
    """The beginning of each day of those years, in UTC."""
    days = (date(last + 1, 1, 1) - date(first, 1, 1)).days
    return tuple(datetime(first, 1, 1, tzinfo=UTC) + n * DAY for n in range(days))


def offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def changes(name: str, year: int, by_day: tuple[timedelta, ...]) -> Iterator[Change]:
    """The changes between those offsets, to the minute."""
    zone = ZoneInfo(name)
    for day, (before, after) in enumerate(pairwise(by_day)):
        if before != after:
            instant = datetime(year, 1, 1, tzinfo=UTC) + day * DAY
            for step in (HOUR, MINUTE):
                while offset(zone, instant + step) == before:
                    instant += step
            yield Change(name, instant + MINUTE, before, after)


@lru_cache(maxsize=8)
def local_times(zone: ZoneInfo, first: datetime, last: datetime) -> dict[datetime, datetime]:
    """The local time at each minute."""
    minutes = int((last - first) / MINUTE)
    instants = (first + n * MINUTE for n in range(minutes + 1))
    return {instant: instant.astimezone(zone).replace(tzinfo=None) for instant in instants}


def starts_every_hour(clock: dict[datetime, datetime]) -> Iterator[tuple[datetime, str]]:
    """For each UTC hour, the first minute of a full local hour, or the minute after a clock change that skipped it."""
    full_hours: dict[str, datetime] = {}
    skipped: dict[str, datetime] = {}
    previous = None
    for instant, local in clock.items():
        name = f"{instant:%Y-%m-%dT%HZ}"
        if local.minute == 0:
            full_hours.setdefault(name, instant)
        elif previous is not None and local > previous and local.hour != previous.hour:
            skipped.setdefault(name, instant)  # set forward, past the full hour
        elif previous is not None and local < previous and previous.minute == 59:
            skipped.setdefault(name, instant)  # set back, just before the full hour
        previous = local
    for name, instant in sorted((skipped | full_hours).items()):
        yield instant, name


def starts_by_local_time(
    clock: dict[datetime, datetime], hours: range, weekday: int | None, name: str
) -> Iterator[tuple[datetime, str]]:
    """For each local time of the schedule, its first minute, or the first minute after the gap that contains it."""
    first_minute: dict[datetime, datetime] = {}
    for instant, local in clock.items():
        first_minute.setdefault(local, instant)
    found: dict[datetime, str] = {}
    day = min(clock.values()).replace(hour=0, minute=0)
    while day <= max(clock.values()):
        for hour in hours:
            wanted = day.replace(hour=hour)
            if weekday is None or day.weekday() == weekday:
                instant = first_minute.get(wanted) or next((i for i, local in clock.items() if local > wanted), None)
                if instant is not None:
                    found[instant] = wanted.strftime(name)  # a later start replaces an earlier one
        day += DAY
    yield from sorted(found.items())


def slots(
    zone: ZoneInfo, hours: int | None, weekday: int | None, after: datetime, until: datetime
) -> list[tuple[datetime, str]]:
    """(due, identity) of the slots with after < due <= until."""
    clock = local_times(zone, after - DAY, until + DAY)
    if hours == 1:
        starts = starts_every_hour(clock)
    elif hours:
        local = starts_by_local_time(clock, range(0, 24, hours), None, "%H")
        starts = ((start, start.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")) for start, _ in local)
    else:
        starts = starts_by_local_time(clock, range(1), weekday, "%Y-%m-%d")
    wait = 0 if weekday is not None else 20
    dues = ((start + wait * MINUTE, name) for start, name in starts)
    return [(due, name) for due, name in dues if after < due <= until]
