"""The wall clock is set while an operator works, and what that may do to slots: nothing but delay them.

An exporter has every slot once, whatever its clock shows in between. A slot that the clock jumps over has an entry.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from tests.environment.stage import NOON, AppliedExporter
from tests.environment.waiting import HANG_SECONDS, eventually
from tests.faults import oracle
from tests.faults.oracle import Finding, Found
from tests.faults.story import SHORT_PATIENCE_SECONDS, Story

Moment = Literal["idle", "waiting for a slot", "in a run", "in a look-up", "at a restart"]
MOMENTS: tuple[Moment, ...] = ("idle", "waiting for a slot", "in a run", "in a look-up", "at a restart")
BY = {
    "7 minutes": timedelta(minutes=7),
    "12 hours": timedelta(hours=12),
    "a day": timedelta(days=1),
    "400 days": timedelta(days=400),
}
FOR = {"a minute": timedelta(minutes=1), "an hour": timedelta(hours=1), "good": None}
SCHEDULES = {"every hour": 1, "every 2 hours": 2, "every day": 24}
UNSURE = timedelta(minutes=6)
"""Longer than the operator waits after its clock was set forward."""
_RANGE = re.compile(r"^\d+ slots between (\S+) and (\S+) ")
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class ClockStep:
    """The wall clock is set by that much, for so long, at that moment of an exporter with that schedule."""

    by: str
    forward: bool
    for_: str
    moment: Moment
    schedule: str

    def __str__(self) -> str:
        direction = "forward" if self.forward else "back"
        return f"{direction} by {self.by} for {self.for_}, {self.moment}, {self.schedule}"

    @property
    def delta(self) -> timedelta:
        return BY[self.by] if self.forward else -BY[self.by]


def every_step() -> Iterator[ClockStep]:
    """All combinations of size, direction, duration and moment; schedules take turns."""
    schedules = itertools.cycle(SCHEDULES)
    combinations = itertools.product(MOMENTS, BY, (True, False), FOR)
    for number, (moment, by, forward, for_) in enumerate(combinations):
        if number % len(SCHEDULES) == 0:
            next(schedules)  # otherwise the same schedule would meet the same duration each time
        yield ClockStep(by, forward, for_, moment, next(schedules))


@dataclass
class Stepped:
    """One exporter whose clock is set, with an operator that other scenarios use as well."""

    story: Story
    step: ClockStep
    found: list[Found] = field(default_factory=list)

    def play(self, *, hour_by_hour: bool = False) -> list[Found]:
        """Everything that is wrong after the scenario; `hour_by_hour` lets each slot of the wrong time come again."""
        self._begin()
        self._next_slot()  # a slot that ran before
        strikes: dict[Moment, Callable[[], None]] = {
            "idle": self._idle,
            "waiting for a slot": self._waiting,
            "in a run": partial(self._held, "qualtrics.import_status"),
            "in a look-up": self._look_up,
            "at a restart": self._restart,
        }
        strikes[self.step.moment]()
        self._next_slot()
        self._next_slot()
        if hour_by_hour:
            while self._now() < self._latest():
                self._next_slot()
        elif BY[self.step.by] <= timedelta(days=1) and (latest := self._latest()) > self._now():
            self._clock.advance_to(latest + timedelta(seconds=1))
            self._next_slot()
        self._kept.append((self._since, self._now()))
        self._exporter.delete()
        return [*self.found, *self._sends(), *self._entries(), *self._silence()]

    # The scenario

    def _begin(self) -> None:
        self._clock = self.story.stage.clock
        self._clock.set_wall(NOON)
        self._clock.advance(UNSURE.total_seconds())
        self._hours = SCHEDULES[self.step.schedule]
        schedule: dict[str, Any] = {"frequency": "Hourly", "everyHours": self._hours, "timeZone": "UTC"}
        if self._hours == 24:
            schedule = {"frequency": "Daily", "timeZone": "UTC"}
        self._sent_before = len(self.story.stage.sandbox.ledger.distributions)
        self._exporter: AppliedExporter = self.story.stage.exporter(f"clock-{next(_NUMBERS)}", schedule=schedule)
        self._exporter.checked()
        self._uid: str = self._exporter.get()["metadata"]["uid"]
        self._since = self._now()
        self._kept: list[tuple[datetime, datetime]] = []
        """Intervals of the wall clock in which every slot needs an entry."""

    def _idle(self) -> None:
        self._clock.advance(300)
        self._set()

    def _waiting(self) -> None:
        self._clock.advance_to(self._announced() - timedelta(seconds=20))
        self._set()

    def _held(self, operation: str) -> None:
        sandbox = self.story.stage.sandbox
        sandbox.fault(operation, hold="before")
        self._clock.advance_to(self._announced() + timedelta(seconds=1))
        self.story.stage.reached(operation)
        self._set(sandbox.release)
        sandbox.clear_faults()

    def _look_up(self) -> None:
        self.story.stage.sandbox.fault("qualtrics.create_distribution", drop="after")
        self._held("qualtrics.list_distributions")

    def _restart(self) -> None:
        self.story.operator.kill()
        self._set(self.story.operator.start, noticed=False)

    def _set(self, act: Callable[[], None] | None = None, *, noticed: bool = True) -> None:
        """Set the clock, let something happen, and set it back if it is not for good."""
        told, stop = self._notices(), self._now()
        self._clock.set_wall(stop + self.step.delta)
        if act and not noticed:
            act()
        for_ = FOR[self.step.for_]
        began = self._clock.monotonic()
        if noticed:
            self._until(lambda: self._notices() > told, "the operator notices that its clock was set", pace=5)
        if act and noticed:
            act()
        if for_ is None:
            if not self.step.forward:
                self._kept.append((self._since, stop))
                self._since = self._now()
        else:
            while (left := for_.total_seconds() - (self._clock.monotonic() - began)) > 0:
                self._clock.advance(min(left, 600))
            if for_ > UNSURE:
                self._at_rest()
            told = self._notices()
            self._clock.set_wall(self._now() - self.step.delta)
            self._until(lambda: self._notices() > told, "the operator notices that its clock was set back", pace=5)
        self._at_rest()

    def _next_slot(self) -> None:
        """Let the announced slot fall due, which then has to be sent."""
        due = self._announced()
        known = {entry["id"] for entry in self._exporter.history()}  # a clock that was ahead may have written it off
        self._clock.advance_to(due + timedelta(seconds=1))

        def look() -> Mapping[str, Any] | None:
            new = (entry for entry in self._exporter.history() if entry["id"] not in known)
            return next((entry for entry in new if _time(entry.get("scheduledTime")) == due), None)

        try:
            entry = self._until(look, f"the slot of {due} has an entry")
        except AssertionError:
            self.found.append(Found(Finding.SILENT, f"the slot of {due} was announced, and has no entry"))
            return
        if entry["result"] != "Succeeded":
            self.found.append(Found(Finding.SILENT, f"the slot of {due} ended as {entry['result']}: {entry['reason']}"))

    def _announced(self) -> datetime:
        """The time of the next slot, which lies ahead, and no further away than the schedule says."""

        def look() -> datetime | None:
            status = self._exporter.status()
            due = _time(status.get("nextScheduleTime"))
            done = {_time(slot["dueTime"]) for slot in status.get("claimedSlots", [])}
            upcoming = next(slot for slot in self._slots(self._now()) if slot not in done)
            return due if due == upcoming and self._is_at_rest(status) else None

        found: datetime = self._until(look, "the next slot is announced")
        return found

    def _at_rest(self) -> None:
        """Wait until no run is active and no slot is due."""

        def look() -> bool:
            return self._is_at_rest(self._exporter.status())

        self._until(look, "no run is active and no slot is due")

    def _is_at_rest(self, status: Mapping[str, Any]) -> bool:
        newest = next(self._slots(self._now())) - timedelta(hours=self._hours)
        done = max(_time(status.get(name)) for name in ("lastScheduleTime", "scheduleSince"))
        return "activeRun" not in status and newest <= done

    def _until(self, look: Callable[[], Any], what: str, *, pace: float = 10) -> Any:
        patience = SHORT_PATIENCE_SECONDS if self.story.broken else HANG_SECONDS
        return self.story.stage.while_time_passes(partial(eventually, look, what, patience=patience), seconds=pace)

    def _now(self) -> datetime:
        return self._clock.now()

    def _notices(self) -> int:
        return self.story.operator.log.count("the wall clock was set")

    def _latest(self) -> datetime:
        """The newest slot that has an entry: a clock that was ahead may have brought it too early."""
        return max(_time(entry["scheduledTime"]) for entry in self._of_slots())

    def _slots(self, after: datetime) -> Iterator[datetime]:
        midnight = after.replace(hour=0, minute=20, second=0, microsecond=0) - timedelta(days=1)
        for number in itertools.count():
            if (slot := midnight + timedelta(hours=number * self._hours)) > after:
                yield slot

    # What is wrong

    def _of_slots(self) -> list[Mapping[str, Any]]:
        return [entry for entry in self.story.entries(self._uid) if entry["trigger"] == "Schedule"]

    def _sends(self) -> Iterable[Found]:
        ledger = self.story.stage.sandbox.ledger
        sent = ledger.distributions[self._sent_before :]
        # By the batch: what was sent with a clock that was ahead goes out later, and names nobody until then.
        runs_of = {one.id: ledger.batches[one.batch_id or ""].run_ids for one in sent}
        for run, number in Counter(run for one in sent for run in runs_of[one.id]).items():
            if number > 1:
                yield Found(Finding.DOUBLE, f"run {run} was sent {number} times")
        for one in sent:
            if self.step.for_ == "a minute" and not one.mailed:
                yield Found(Finding.SILENT, f"{one.id} is not mailed before {one.send_date}")
        yield from oracle.unwritten(sent, self.story.written(self._uid))
        runs: dict[str, list[Mapping[str, Any]]] = {}
        for entry in self._of_slots():
            if "startTime" in entry:
                runs.setdefault(entry["id"], []).append(entry)
        for run, entries in runs.items():
            ours = [one for one in sent if run in runs_of[one.id]]
            yield from oracle.judged(ledger, ours, entries[-1], self.story.people)

    def _entries(self) -> Iterable[Found]:
        """A slot that had its run has no further entry."""
        ran: set[str] = set()
        for entry in self._of_slots():
            if (slot := entry["scheduledTime"]) in ran:
                yield Found(Finding.UNTRUE, f"the slot of {slot} had its run, and then: {entry['reason']}")
            if "startTime" in entry:
                ran.add(slot)

    def _silence(self) -> Iterable[Found]:
        told = [_told(entry) for entry in self._of_slots()]
        for since, until in self._kept:
            for slot in itertools.takewhile(lambda slot: slot <= until, self._slots(since)):  # noqa: B023
                if not any(first <= slot <= last for first, last in told):
                    yield Found(Finding.SILENT, f"the slot of {slot} has no entry")


def _told(entry: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """The first and the last slot that an entry is about."""
    slot = _time(entry["scheduledTime"])
    if match := _RANGE.match(entry["message"]):
        return _time(match[1]), _time(match[2])
    return slot, slot


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=NOON.tzinfo)


def some(steps: Iterable[ClockStep], wanted: Sequence[tuple[Moment, str, bool, str]]) -> list[ClockStep]:
    """Those steps: by moment, size, direction and duration."""
    return [step for step in steps if (step.moment, step.by, step.forward, step.for_) in wanted]
