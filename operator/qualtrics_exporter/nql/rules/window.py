"""Whether the time that a query looks at fits the schedule that asks it."""

from collections.abc import Iterator
from datetime import timedelta
from math import ceil

from qualtrics_exporter.nql import syntax
from qualtrics_exporter.nql.findings import Found, Subject, rule
from qualtrics_exporter.resource.reasons import Reason


@rule(Reason.QUERY_WINDOW_MISMATCH)
def window_does_not_fit(subject: Subject) -> Iterator[Found]:
    """Daily goes with the past day, weekly with the past seven: else people are asked twice, or never looked at.

    With groups (spec.sample), each person is asked once in a cycle of several slots: then the window can be as long as
    the cycle.

    What `with` and `include` look at decides; the time of the head only where there is none of them.
    """
    interval = subject.interval
    times = _times(subject.parsed.query)
    cycle = subject.cycle or interval
    fits = any(_fits(_length(time), interval, cycle) for time in times)
    for time in times:
        length = _length(time)
        if length is not None and length <= timedelta(0):
            yield time.span, "this time ends before it begins, so that nobody is found"
        elif interval is not None and not fits:
            yield time.span, _told(length, interval, cycle or interval)


def _fits(length: timedelta | None, interval: timedelta | None, cycle: timedelta | None) -> bool:
    return length is not None and interval is not None and cycle is not None and interval <= length <= cycle


def _times(query: syntax.Query) -> list[syntax.Time]:
    events = [c.time for c in query.clauses if isinstance(c, syntax.With | syntax.Include) and c.time]
    if events or not isinstance(query.head, syntax.Head):
        return events
    return [query.head.time] if query.head.time else []


def _length(time: syntax.Time) -> timedelta | None:
    """How long it is; None for one that does not move along."""
    if isinstance(time, syntax.Past):
        return time.duration.length
    if isinstance(time, syntax.Between) and isinstance(time.start, syntax.Ago) and isinstance(time.end, syntax.Ago):
        return time.start.duration.length - time.end.duration.length
    return None


def _told(length: timedelta | None, interval: timedelta, cycle: timedelta) -> str:
    every = f"every {_words(interval, one=True)}"
    if cycle > interval and length is not None and length > cycle:
        looks = f"the query looks at {_words(length)}, and the cycle of spec.sample has {_words(cycle)}"
        fits = f"`past {_short(cycle)}` or `groups: {ceil(length / interval)}` fits"
        return f"{looks}: the same people can come back {ceil(length / cycle)} times; {fits}"
    if length is None:
        return f"the query looks at fixed dates and is asked {every}: the same people come back each time"
    looks = f"the query looks at {_words(length)} and is asked {every}"
    if length > interval:
        return f"{looks}: the same people can come back {ceil(length / interval)} times; `past {_short(interval)}` fits"
    return f"{looks}: what happens in the rest of the time is never seen; `past {_short(interval)}` fits"


_UNITS = ((timedelta(days=1), "day", "d"), (timedelta(hours=1), "hour", "h"), (timedelta(minutes=1), "minute", "min"))


def _words(length: timedelta, *, one: bool = False) -> str:
    for unit, word, _ in _UNITS:
        if length and not length % unit:
            number = length // unit
            if number == 1:
                return word if one else f"1 {word}"
            return f"{number:,} {word}s"
    return f"{length.total_seconds():,g} seconds"


def _short(length: timedelta) -> str:
    return next(f"{length // unit}{word}" for unit, _, word in _UNITS if not length % unit)
