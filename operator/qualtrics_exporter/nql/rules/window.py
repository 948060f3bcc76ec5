"""The rule about the time range of a query and the interval of its schedule."""

from collections.abc import Iterator
from datetime import timedelta
from math import ceil

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.resource.reasons import Reason


@rule(Reason.QUERY_WINDOW_MISMATCH)
def window_does_not_fit(subject: Subject) -> Iterator[Found]:
    """A daily schedule needs the past day, a weekly one the past seven days. Otherwise the runs repeat or miss people.

    With groups (spec.sample), each person is surveyed once in a cycle of several slots, so the time range can be as
    long as the cycle. The times of `with` and `include` count. The time of the head counts only if there are none.
    """
    interval = subject.interval
    times = _times(subject.parsed.query)
    cycle = subject.cycle or interval
    fits = any(_fits(_length(time), interval, cycle) for time in times)
    for time in times:
        length = _length(time)
        if length is not None and length <= timedelta(0):
            yield time.span, "this time ends before it begins, so the query returns nobody"
        elif interval is not None and not fits:
            yield time.span, _mismatch_message(length, interval, cycle or interval)


def _fits(length: timedelta | None, interval: timedelta | None, cycle: timedelta | None) -> bool:
    return length is not None and interval is not None and cycle is not None and interval <= length <= cycle


def _times(query: syntax.Query) -> list[syntax.Time]:
    events = [c.time for c in query.clauses if isinstance(c, syntax.With | syntax.Include) and c.time]
    if events or not isinstance(query.head, syntax.Head):
        return events
    return [query.head.time] if query.head.time else []


def _length(time: syntax.Time) -> timedelta | None:
    """The length of a relative time. None for fixed dates."""
    if isinstance(time, syntax.Past):
        return time.duration.length
    if isinstance(time, syntax.Between) and isinstance(time.start, syntax.Ago) and isinstance(time.end, syntax.Ago):
        return time.start.duration.length - time.end.duration.length
    return None


def _mismatch_message(length: timedelta | None, interval: timedelta, cycle: timedelta) -> str:
    every = f"runs every {_format(interval, one=True)}"
    if cycle > interval and length is not None and length > cycle:
        covers = f"the query covers {_format(length)}, but the cycle of spec.sample has {_format(cycle)}"
        fix = f"use `past {_short(cycle)}` or {ceil(length / interval)} groups"
        return f"{covers}: it can return the same people {ceil(length / cycle)} times; {fix}"
    if length is None:
        return f"the query covers fixed dates and {every}: it returns the same people each time"
    covers = f"the query covers {_format(length)} and {every}"
    if length > interval:
        times = ceil(length / interval)
        return f"{covers}: it can return the same people {times} times; use `past {_short(interval)}`"
    return f"{covers}: it misses what happens in the rest of the time; use `past {_short(interval)}`"


_UNITS = ((timedelta(days=1), "day", "d"), (timedelta(hours=1), "hour", "h"), (timedelta(minutes=1), "minute", "min"))


def _format(length: timedelta, *, one: bool = False) -> str:
    for unit, word, _ in _UNITS:
        if length and not length % unit:
            number = length // unit
            if number == 1:
                return word if one else f"1 {word}"
            return f"{number:,} {word}s"
    return f"{length.total_seconds():,g} seconds"


def _short(length: timedelta) -> str:
    return next(f"{length // unit}{word}" for unit, _, word in _UNITS if not length % unit)
