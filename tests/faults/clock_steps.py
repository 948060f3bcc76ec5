"""Sets the wall clock while an operator works, and judges what happens to the slots of an exporter.

Each slot runs once, and may only be delayed. A slot that the clock skips has an entry.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from tests.faults import assertions
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.scenario import MUTANT_SECONDS, Scenario
from tests.support.applied_exporter import AppliedExporter
from tests.support.stage import NOON
from tests.support.waiting import HANG_SECONDS, eventually

Moment = Literal["idle", "waiting for a slot", "in a run", "in a look-up", "at a restart"]
MOMENTS: tuple[Moment, ...] = ("idle", "waiting for a slot", "in a run", "in a look-up", "at a restart")
SIZES = {
    "7 minutes": timedelta(minutes=7),
    "12 hours": timedelta(hours=12),
    "a day": timedelta(days=1),
    "400 days": timedelta(days=400),
}
DURATIONS = {"a minute": timedelta(minutes=1), "an hour": timedelta(hours=1), "good": None}
SCHEDULES = {"every hour": 1, "every 2 hours": 2, "every day": 24}
SETTLING_TIME = timedelta(minutes=6)
"""Longer than the operator waits after its clock was set forward."""
_RANGE = re.compile(r"^\d+ slots between (\S+) and (\S+) ")
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class ClockStep:
    """The wall clock is set by this size for this duration, at this moment of an exporter with this schedule."""

    size: str
    forward: bool
    duration: str
    moment: Moment
    schedule: str

    def __str__(self) -> str:
        direction = "forward" if self.forward else "back"
        return f"{direction} by {self.size} for {self.duration}, {self.moment}, {self.schedule}"

    @property
    def delta(self) -> timedelta:
        return SIZES[self.size] if self.forward else -SIZES[self.size]


def all_steps() -> Iterator[ClockStep]:
    """All combinations of moment, size, direction and duration. The schedules alternate."""
    schedules = itertools.cycle(SCHEDULES)
    combinations = itertools.product(MOMENTS, SIZES, (True, False), DURATIONS)
    for number, (moment, size, forward, duration) in enumerate(combinations):
        if number % len(SCHEDULES) == 0:
            next(schedules)  # otherwise each duration would always have the same schedule
        yield ClockStep(size, forward, duration, moment, next(schedules))


@dataclass
class ClockStepScenario:
    """One exporter whose clock is set. Several of these scenarios use the same operator, one after the other."""

    scenario: Scenario
    step: ClockStep
    found: list[Violation] = field(default_factory=list)

    def play(self, *, hour_by_hour: bool = False) -> list[Violation]:
        """Play it, and return its violations. With `hour_by_hour`, each slot of the wrong time falls due again."""
        self._begin()
        self._next_slot()  # a slot that ran before
        strikes: dict[Moment, Callable[[], None]] = {
            "idle": self._set_while_idle,
            "waiting for a slot": self._set_before_a_slot,
            "in a run": partial(self._set_during_call, "qualtrics.import_status"),
            "in a look-up": self._set_during_look_up,
            "at a restart": self._set_at_restart,
        }
        strikes[self.step.moment]()
        self._next_slot()
        self._next_slot()
        if hour_by_hour:
            while self._now() < self._latest():
                self._next_slot()
        elif SIZES[self.step.size] <= timedelta(days=1) and (latest := self._latest()) > self._now():
            self._clock.advance_to(latest + timedelta(seconds=1))
            self._next_slot()
        self._covered.append((self._since, self._now()))
        self._exporter.delete()
        return [*self.found, *self._send_violations(), *self._repeated_slots(), *self._silent_slots()]

    # The scenario

    def _begin(self) -> None:
        self._clock = self.scenario.stage.clock
        self._clock.set_wall(NOON)
        self._clock.advance(SETTLING_TIME.total_seconds())
        self._hours = SCHEDULES[self.step.schedule]
        schedule: dict[str, Any] = {"frequency": "Hourly", "everyHours": self._hours, "timeZone": "UTC"}
        if self._hours == 24:
            schedule = {"frequency": "Daily", "timeZone": "UTC"}
        self._sent_before = len(self.scenario.stage.sandbox.recorder.distributions)
        name = f"clock-{next(_NUMBERS)}"
        self._exporter: AppliedExporter = self.scenario.stage.exporter(name, schedule=schedule)
        self._exporter.checked()
        self._uid: str = self._exporter.get()["metadata"]["uid"]
        self._since = self._now()
        self._covered: list[tuple[datetime, datetime]] = []
        """Intervals of the wall clock in which every slot needs an entry."""

    def _set_while_idle(self) -> None:
        self._clock.advance(300)
        self._set()

    def _set_before_a_slot(self) -> None:
        self._clock.advance_to(self._announced() - timedelta(seconds=20))
        self._set()

    def _set_during_call(self, operation: str) -> None:
        sandbox = self.scenario.stage.sandbox
        sandbox.fault(operation, hold="before")
        self._clock.advance_to(self._announced() + timedelta(seconds=1))
        self.scenario.stage.reached(operation)
        self._set(sandbox.release)
        sandbox.clear_faults()

    def _set_during_look_up(self) -> None:
        self.scenario.stage.sandbox.fault("qualtrics.create_distribution", drop="after")
        self._set_during_call("qualtrics.list_distributions")

    def _set_at_restart(self) -> None:
        self.scenario.operator.kill()
        self._set(self.scenario.operator.start, running=False)

    def _set(self, action: Callable[[], None] | None = None, *, running: bool = True) -> None:
        """Set the clock, do the action, and set the clock back after the duration.

        With `running`, wait until the operator has noticed the step before the action.
        """
        noticed, stop = self._count_notices(), self._now()
        self._clock.set_wall(stop + self.step.delta)
        if action and not running:
            action()
        duration = DURATIONS[self.step.duration]
        began = self._clock.monotonic()
        if running:
            self._until(lambda: self._count_notices() > noticed, "the operator notices the step", pace=5)
        if action and running:
            action()
        if duration is None:
            if not self.step.forward:
                self._covered.append((self._since, stop))
                self._since = self._now()
        else:
            while (left := duration.total_seconds() - (self._clock.monotonic() - began)) > 0:
                self._clock.advance(min(left, 600))
            if duration > SETTLING_TIME:
                self._wait_until_at_rest()
            noticed = self._count_notices()
            self._clock.set_wall(self._now() - self.step.delta)
            self._until(lambda: self._count_notices() > noticed, "the operator notices the step back", pace=5)
        self._wait_until_at_rest()

    def _next_slot(self) -> None:
        """Let the announced slot fall due. It must be sent."""
        due = self._announced()
        known = {entry["id"] for entry in self._exporter.history()}  # a clock that was ahead may have skipped the slot
        self._clock.advance_to(due + timedelta(seconds=1))

        def poll() -> Mapping[str, Any] | None:
            new = (entry for entry in self._exporter.history() if entry["id"] not in known)
            return next((entry for entry in new if _time(entry.get("scheduledTime")) == due), None)

        try:
            entry = self._until(poll, f"the slot of {due} has an entry")
        except AssertionError:
            self._silent(f"the slot of {due} was announced, and has no entry")
            return
        if entry["result"] != "Succeeded":
            self._silent(f"the slot of {due} ended as {entry['result']}: {entry['reason']}")

    def _silent(self, description: str) -> None:
        self.found.append(Violation(ViolationKind.SILENT_SLOT, description))

    def _announced(self) -> datetime:
        """The time of the next slot: in the future, and not later than the schedule says."""

        def poll() -> datetime | None:
            status = self._exporter.status()
            due = _time(status.get("nextScheduleTime"))
            done = {_time(slot["dueTime"]) for slot in status.get("claimedSlots", [])}
            upcoming = next(slot for slot in self._slots(self._now()) if slot not in done)
            return due if due == upcoming and self._is_at_rest(status) else None

        announced: datetime = self._until(poll, "the next slot is announced")
        return announced

    def _wait_until_at_rest(self) -> None:
        def poll() -> bool:
            return self._is_at_rest(self._exporter.status())

        self._until(poll, "no run is active and no slot is due")

    def _is_at_rest(self, status: Mapping[str, Any]) -> bool:
        newest = next(self._slots(self._now())) - timedelta(hours=self._hours)
        done = max(_time(status.get(name)) for name in ("lastScheduleTime", "scheduleSince"))
        return "activeRun" not in status and newest <= done

    def _until(self, poll: Callable[[], Any], what: str, *, pace: float = 10) -> Any:
        patience = MUTANT_SECONDS if self.scenario.mutant else HANG_SECONDS
        return self.scenario.stage.while_time_passes(partial(eventually, poll, what, patience=patience), seconds=pace)

    def _now(self) -> datetime:
        return self._clock.now()

    def _count_notices(self) -> int:
        return self.scenario.operator.log.count("the wall clock was set")

    def _latest(self) -> datetime:
        """The newest slot that has an entry. A clock that was ahead may have run it too early."""
        return max(_time(entry["scheduledTime"]) for entry in self._slot_entries())

    def _slots(self, after: datetime) -> Iterator[datetime]:
        midnight = after.replace(hour=0, minute=20, second=0, microsecond=0) - timedelta(days=1)
        for number in itertools.count():
            if (slot := midnight + timedelta(hours=number * self._hours)) > after:
                yield slot

    # The violations

    def _slot_entries(self) -> list[Mapping[str, Any]]:
        return [entry for entry in self.scenario.entries(self._uid) if entry["trigger"] == "Schedule"]

    def _send_violations(self) -> Iterable[Violation]:
        recorder = self.scenario.stage.sandbox.recorder
        sent = recorder.distributions[self._sent_before :]
        # By the batch: a distribution of a clock that was ahead goes out later, and has no recipients until then.
        runs_of = {one.id: recorder.batches[one.batch_id or ""].run_ids for one in sent}
        for run, number in Counter(run for one in sent for run in runs_of[one.id]).items():
            if number > 1:
                yield Violation(ViolationKind.DOUBLE_SEND, f"run {run} was sent {number} times")
        for one in sent:
            if self.step.duration == "a minute" and not one.mailed:
                yield Violation(ViolationKind.SILENT_SLOT, f"{one.id} is not mailed before {one.send_date}")
        yield from assertions.unjournaled_sends(sent, self.scenario.journal_writes(self._uid))
        runs: dict[str, list[Mapping[str, Any]]] = {}
        for entry in self._slot_entries():
            if "startTime" in entry:
                runs.setdefault(entry["id"], []).append(entry)
        for run, entries in runs.items():
            ours = [one for one in sent if run in runs_of[one.id]]
            yield from assertions.slot_violations(recorder, ours, entries[-1], self.scenario.people)

    def _repeated_slots(self) -> Iterable[Violation]:
        """A slot that had its run must not have another entry."""
        ran: set[str] = set()
        for entry in self._slot_entries():
            if (slot := entry["scheduledTime"]) in ran:
                description = f"the slot of {slot} had its run, and then: {entry['reason']}"
                yield Violation(ViolationKind.UNTRUE_ENTRY, description)
            if "startTime" in entry:
                ran.add(slot)

    def _silent_slots(self) -> Iterable[Violation]:
        ranges = [_slot_range(entry) for entry in self._slot_entries()]
        for since, until in self._covered:
            for slot in itertools.takewhile(lambda slot: slot <= until, self._slots(since)):  # noqa: B023
                if not any(first <= slot <= last for first, last in ranges):
                    yield Violation(ViolationKind.SILENT_SLOT, f"the slot of {slot} has no entry")


def _slot_range(entry: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """The first and the last slot of an entry."""
    slot = _time(entry["scheduledTime"])
    if match := _RANGE.match(entry["message"]):
        return _time(match[1]), _time(match[2])
    return slot, slot


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=NOON.tzinfo)


def select(steps: Iterable[ClockStep], selected: Sequence[tuple[Moment, str, bool, str]]) -> list[ClockStep]:
    """The steps with these moments, sizes, directions and durations."""
    return [step for step in steps if (step.moment, step.size, step.forward, step.duration) in selected]
