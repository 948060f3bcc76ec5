"""When an exporter needs attention next. Every such time is decided here; the work queue only stores it.

It follows from the object, so a restart loses no plan. The exceptions are what only this process knows: until when
Qualtrics is not asked again, and that another process holds the run.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Literal, NamedTuple

from qualtrics_exporter.controller.plan import slots
from qualtrics_exporter.controller.plan.requests import KINDS, requested
from qualtrics_exporter.controller.plan.takeover import ABANDONED
from qualtrics_exporter.controller.plan.usable_spec import schedule_of, spec_problem
from qualtrics_exporter.controller.status import conditions, delivery_figures, followed_deliveries, resolution
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry, Status
from qualtrics_exporter.schedule import next_slot

CHECK_INTERVAL = timedelta(hours=6)
SECRET_WATCH = timedelta(seconds=30)
"""How often to look at the Secrets of an exporter that is not Ready; less than the minute that the docs promise."""
FOREIGN_RUN_WATCH = ABANDONED / 5
"""How often to look at a run that another process holds."""

About = Literal["outcome", "figures", "followed"]
FAR = datetime.max.replace(tzinfo=UTC)


class Wake(NamedTuple):
    """When an exporter needs attention next. Slots and requests are urgent; checks and figures can wait for those."""

    at: datetime
    urgent: bool = True
    urgent_at: datetime = FAR
    """When a slot becomes due, if something that can wait is due before that."""

    def first(self, other: "Wake") -> "Wake":
        """The earlier one of two."""
        return min(self, other)._replace(urgent_at=min(self.urgent_at, other.urgent_at))


class Question(NamedTuple):
    """A question to Qualtrics about a run that has ended. The answer to one question says nothing about the other."""

    about: About
    run: str
    distribution: str = ""
    """The distribution of the run, if it is known. A user may report another one."""

    @classmethod
    def of(cls, about: About, entry: HistoryEntry) -> "Question":
        return cls(about, entry.id, entry.distribution_id or "")


FOLLOWED = Question("followed", "")
"""The figures of all distributions whose entries left the history: one answer delays them all."""


class OpenQuestion(NamedTuple):
    """A question that has no final answer yet."""

    question: Question
    entry: HistoryEntry
    at: datetime
    """When to ask it next."""


NEVER = Wake(FAR, urgent=False)
NO_RETRIES: Mapping[Question, datetime] = MappingProxyType({})


def next_wake(
    exporter: Exporter,
    now: datetime,
    default_zone: str,
    retries: Mapping[Question, datetime] = NO_RETRIES,
    *,
    foreign_run: bool = False,
) -> Wake:
    """When the exporter needs attention next: `now` or earlier means at once.

    `retries` says until when a question is not asked again. `foreign_run` says that another process held the run when
    this process last planned. Future times in the status are ignored: a clock that was ahead wrote them.
    """
    status = exporter.status
    if status.active_run and foreign_run:
        return Wake(now + FOREIGN_RUN_WATCH)
    unfinished = status.active_run or exporter.unreadable_run is not None
    # A request or a slot that comes before the repair would be refused because of it.
    damaged = exporter.damaged and not exporter.deleting
    if status.schedule_since is None or unfinished or damaged or any(requested(kind, exporter) for kind in KINDS):
        return Wake(now)
    if exporter.spec is None or spec_problem(exporter, default_zone):
        # Only a change of the spec helps, and the watch reports it.
        return NEVER if status.observed_generation == exporter.generation else Wake(now, urgent=False)
    schedule = schedule_of(exporter, exporter.spec, default_zone)
    ahead = slots.without_future(status, now) is not status
    upcoming = slots.announced(exporter, status, schedule, now)
    shown = status.next_schedule_time
    if ahead or status.schedule != schedule.describe() or (shown is None) is not (upcoming is None):
        return Wake(now)
    if shown and upcoming and shown > upcoming:
        return Wake(now)
    due = min([check_due(exporter, now), *(question.at for question in open_questions(status, now, retries))])
    if at := followed_deliveries.next_time(status, now):
        due = min(due, max(at, retries.get(FOLLOWED, at)))
    if exporter.suspended:
        return Wake(due, urgent=False)
    slot = next_slot(schedule, slots.counted_from(status, now)).due
    return Wake(slot) if slot <= due else Wake(due, urgent=False, urgent_at=slot)


def check_due(exporter: Exporter, now: datetime) -> datetime:
    """When to check credentials and ids again: soon while that may help, otherwise every few hours."""
    status = exporter.status
    checked = status.last_check_time
    if status.observed_generation != exporter.generation or (checked and checked > now):
        return now
    if status.condition(conditions.READY) is None:
        return now  # a tool has removed it
    if not conditions.is_ready(status, exporter.generation) and status.next_retry_time:
        return min(status.next_retry_time, now + SECRET_WATCH)
    if exporter.suspended and conditions.is_ready(status, exporter.generation):
        return NEVER.at
    if checked is None:
        return now  # a tool has removed it, and a time that is counted from now never comes
    # The uid spreads checks over an hour: ten thousand exporters of one commit are not checked in the same minute.
    spread = timedelta(seconds=int(hashlib.sha256(exporter.uid.encode()).hexdigest()[:4], 16) % 3600)
    return checked + CHECK_INTERVAL + spread


def open_questions(
    status: Status, now: datetime, retries: Mapping[Question, datetime] = NO_RETRIES
) -> list[OpenQuestion]:
    """What to ask Qualtrics about runs that have ended: their outcomes first, then their delivery figures."""
    times = [(Question.of("outcome", e), e, resolution.next_look(e, now)) for e in resolution.in_doubt(status)]
    times += [(Question.of("figures", e), e, delivery_figures.next_read(e, now)) for e in status.history or []]
    return [OpenQuestion(question, entry, max(at, retries.get(question, at))) for question, entry, at in times if at]
