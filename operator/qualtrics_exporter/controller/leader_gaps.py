"""When an operator was leading, and when none was.

A slot is late only by the time in which no operator was leading: what waits for its turn is not late, and a rolling
restart that hands the work over within a second is not a reason to drop it. So the leader keeps the intervals in which
nobody led (and those that the wall clock jumped over) and passes them on to the next leader in an annotation of the
Lease. All times are wall-clock times; a clock that is wrong makes slots late or early, never sent twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.resource.exporter import GROUP
from qualtrics_exporter.resource.status import timestamp

ANNOTATION = f"{GROUP}/not-led"
MAX_GAPS = 8
SHORTEST = timedelta(seconds=30)
"""A shorter gap is the usual change of leaders. It delays nothing that matters."""


UNSURE_SECONDS = 300.0
"""After the clock was set forward by `LARGE_STEP` or more, slots wait for so long.

So a clock that is wrong for a minute costs none of them.
"""


LARGE_STEP = timedelta(minutes=1)
"""A clock that loses time is set forward by seconds, again and again: that is no reason to wait."""


class Gap(NamedTuple):
    """An interval in which no operator was leading. Without a start, nobody knows since when."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True, slots=True)
class Leadership:
    """The newest intervals without a leader, newest first."""

    gaps: tuple[Gap, ...] = ()

    @classmethod
    def started(cls, now: datetime) -> Self:
        """An operator that leads from now on and knows nothing about the time before."""
        return cls((Gap(None, now),))

    @classmethod
    def continued(cls, annotation: str | None, renewed: datetime | None, now: datetime) -> Self:
        """An operator that takes over a Lease with this annotation, which was last renewed at that time."""
        known = _parsed(annotation)
        if renewed is None or known is None or renewed - now > SHORTEST:
            return cls.started(now)
        renewed = min(renewed, now)  # the clocks of two nodes differ by seconds
        return cls(known)._with(Gap(renewed, now))

    def stepped(self, by: timedelta, now: datetime) -> Self:
        """The same after the wall clock was set forward (`by` > 0) or back, and shows `now`."""
        if by > timedelta(0):
            return self._with(Gap(now - by, now))
        return type(self)(tuple(Gap(gap.start and gap.start + by, gap.end + by) for gap in self.gaps))

    def since(self, now: datetime) -> datetime | None:
        """Since when an operator has been leading without a gap; None if that is longer than anybody remembers."""
        return max((gap.end for gap in self.gaps if gap.end <= now), default=None)

    def lateness(self, due: datetime, now: datetime) -> timedelta:
        """For how long nobody led between the two times."""
        late = timedelta(0)
        for gap in self.gaps:
            start = due if gap.start is None else max(due, gap.start)
            late += max(timedelta(0), min(now, gap.end) - start)
        return late

    def annotation(self) -> str:
        """As the Lease keeps it."""
        return ",".join(f"{timestamp(gap.start) if gap.start else ''}/{timestamp(gap.end)}" for gap in self.gaps)

    def _with(self, gap: Gap) -> Self:
        if gap.start and gap.end - gap.start < SHORTEST:
            return self
        # What is not kept counts as led. That is long ago: a slot that old is not on time by any other measure.
        return type(self)((gap, *self.gaps)[:MAX_GAPS])


class LeaderRecord:
    """The leadership as this process knows it, by a wall clock that may be set at any time."""

    def __init__(self, clock: WatchedClock) -> None:
        self._clock = clock
        self._unsure_until = 0.0
        self._ahead = timedelta(0)
        """By how much the wall clock was set forward since it was last sure."""
        self.current = Leadership.started(clock.now())
        clock.on_step.append(self._stepped)

    @property
    def unsure(self) -> bool:
        """Whether the wall clock was set forward a moment ago, and may be set back in the next."""
        return self._clock.monotonic() < self._unsure_until

    def now(self) -> datetime:
        """The wall clock."""
        return self._clock.now()

    def acquired(self, annotation: str | None, renewed: datetime | None) -> None:
        """This process takes the Lease; it found that annotation and the time of the last renewal in it."""
        self.current = Leadership.continued(annotation, renewed, self.now())

    def _stepped(self, by: timedelta) -> None:
        self.current = self.current.stepped(by, self._clock.now())
        if not self.unsure:
            self._ahead, self._unsure_until = timedelta(0), self._clock.monotonic() + UNSURE_SECONDS
        self._ahead += by
        if self._ahead < LARGE_STEP:  # too little to matter, or it was set back again
            self._unsure_until = 0.0


def _parsed(annotation: str | None) -> tuple[Gap, ...] | None:
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
