"""When an operator was leading, and when none was.

A slot is late only by the time without a leader: a slot that waits for its turn is not late, and a rolling restart that
changes the leader within a second is not a reason to drop a slot. So the leader keeps the intervals without a leader,
and the intervals that the wall clock skipped, and passes them on to the next leader in an annotation of the Lease. All
times are wall-clock times. A wrong clock makes slots late or early, but no slot is sent twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.resource.names import GROUP
from qualtrics_exporter.resource.status import timestamp

ANNOTATION = f"{GROUP}/not-led"
MAX_GAPS = 8
SHORTEST = timedelta(seconds=30)
"""A shorter gap is a normal change of leaders, and does not count."""
CLOCK_UNSURE_SECONDS = 300.0
"""How long slots wait after the clock was set forward by `LARGE_STEP` or more, so that a clock that is wrong for a
minute costs no slot.
"""
LARGE_STEP = timedelta(minutes=1)
"""A slow clock is set forward by seconds, again and again. Slots do not wait for that."""


class Gap(NamedTuple):
    """An interval without a leader. Without a start, its beginning is unknown."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True, slots=True)
class Leadership:
    """The newest intervals without a leader, newest first."""

    gaps: tuple[Gap, ...] = ()

    @classmethod
    def started(cls, now: datetime) -> Self:
        """Of an operator that leads from now on and knows nothing about the time before."""
        return cls((Gap(None, now),))

    @classmethod
    def continued(cls, annotation: str | None, renewed: datetime | None, now: datetime) -> Self:
        """Of an operator that acquires a Lease with this annotation, last renewed at that time."""
        known = _parse(annotation)
        if renewed is None or known is None or renewed - now > SHORTEST:
            return cls.started(now)
        renewed = min(renewed, now)  # the clocks of two nodes may differ by seconds
        return cls(known)._plus(Gap(renewed, now))

    def stepped(self, by: timedelta, now: datetime) -> Self:
        """After the wall clock was set to `now`: forward by `by`, or back if `by` is negative."""
        if by > timedelta(0):
            return self._plus(Gap(now - by, now))
        return type(self)(tuple(Gap(gap.start and gap.start + by, gap.end + by) for gap in self.gaps))

    def since(self, now: datetime) -> datetime | None:
        """Since when operators have been leading without a gap; None if no gap is known."""
        return max((gap.end for gap in self.gaps if gap.end <= now), default=None)

    def lateness(self, due: datetime, now: datetime) -> timedelta:
        """For how long there was no leader between the two times."""
        late = timedelta(0)
        for gap in self.gaps:
            start = due if gap.start is None else max(due, gap.start)
            late += max(timedelta(0), min(now, gap.end) - start)
        return late

    def annotation(self) -> str:
        """The value of the annotation of the Lease."""
        return ",".join(f"{timestamp(gap.start) if gap.start else ''}/{timestamp(gap.end)}" for gap in self.gaps)

    def _plus(self, gap: Gap) -> Self:
        if gap.start and gap.end - gap.start < SHORTEST:
            return self
        # Gaps that are not kept count as led. They are long ago: a slot that old is late by any other rule.
        return type(self)((gap, *self.gaps)[:MAX_GAPS])


class LeaderRecord:
    """The leadership as this process knows it. The wall clock may be set at any time."""

    def __init__(self, clock: WatchedClock) -> None:
        self._clock = clock
        self._in_doubt_until = 0.0
        self._ahead = timedelta(0)
        """By how much the wall clock was set forward in the current uncertain period."""
        self.current = Leadership.started(clock.now())
        clock.on_step.append(self._stepped)

    @property
    def clock_unsure(self) -> bool:
        """Whether the wall clock was set forward recently, and may soon be set back."""
        return self._clock.monotonic() < self._in_doubt_until

    def now(self) -> datetime:
        return self._clock.now()

    def acquired(self, annotation: str | None, renewed: datetime | None) -> None:
        """This process acquires the Lease. `annotation` and `renewed` are those of the Lease before."""
        self.current = Leadership.continued(annotation, renewed, self.now())

    def _stepped(self, by: timedelta) -> None:
        self.current = self.current.stepped(by, self._clock.now())
        if not self.clock_unsure:
            self._ahead, self._in_doubt_until = timedelta(0), self._clock.monotonic() + CLOCK_UNSURE_SECONDS
        self._ahead += by
        if self._ahead < LARGE_STEP:  # too small a step, or the clock was set back again
            self._in_doubt_until = 0.0


def _parse(annotation: str | None) -> tuple[Gap, ...] | None:
    if annotation is None:
        return None
    try:
        return tuple(_gaps(part.split("/") for part in annotation.split(",") if part))[:MAX_GAPS]
    except (ValueError, OverflowError):
        return None


def _gaps(parts: Iterable[list[str]]) -> Iterable[Gap]:
    for start, end in parts:
        yield Gap(_utc(start) if start else None, _utc(end))


def _utc(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None or not 2000 <= time.year <= 9000:
        raise ValueError("not a time that an operator wrote")
    return time.astimezone(UTC)
