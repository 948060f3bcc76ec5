"""When to look at an exporter again, from nothing but the object: a restart loses no plan."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Literal, NamedTuple

from qualtrics_exporter.controller.plan import slots
from qualtrics_exporter.controller.plan.deadlines import schedule_of, spec_problem
from qualtrics_exporter.controller.plan.requests import KINDS, requested
from qualtrics_exporter.controller.status import conditions, delivery_figures, resolution
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.schedule import next_slot

CHECK_INTERVAL = timedelta(hours=6)
# How often the Secrets of an exporter that is not Ready are looked at; less than the minute that is promised.
SECRET_WATCH = timedelta(seconds=30)


About = Literal["outcome", "figures"]


class Wake(NamedTuple):
    """When an exporter needs attention next. A slot or a request is urgent; a check or a figure can wait for those."""

    at: datetime
    urgent: bool = True


class Question(NamedTuple):
    """What Qualtrics is asked about a run that has ended. Whether it has an answer to one says nothing of the other."""

    about: About
    run: str


NEVER = Wake(datetime.max.replace(tzinfo=UTC), urgent=False)


def next_wake(
    exporter: Exporter, now: datetime, default_zone: str, retries: Mapping[Question, datetime] = MappingProxyType({})
) -> Wake:
    """When the exporter needs attention next: `now` or earlier means at once.

    `retries` are the times before which Qualtrics is not asked again about a run, by the question.
    Times in the status that are in the future count for nothing: a clock that was ahead wrote them.
    """
    status = exporter.status
    unfinished = status.active_run or exporter.unreadable_run is not None
    # A request or a slot that comes before the repair would be refused because of it.
    damaged = exporter.damaged and not exporter.deleting
    if status.schedule_since is None or unfinished or damaged or any(requested(kind, exporter) for kind in KINDS):
        return Wake(now)
    if exporter.spec is None or spec_problem(exporter, default_zone):
        # Until somebody changes the spec; that is an event.
        return NEVER if status.observed_generation == exporter.generation else Wake(now, urgent=False)
    schedule = schedule_of(exporter, exporter.spec, default_zone)
    ahead = slots.without_future(status, now) is not status
    upcoming = slots.announced(exporter, status, schedule, now)
    shown = status.next_schedule_time
    if ahead or status.schedule != schedule.words() or (shown is None) is not (upcoming is None):
        return Wake(now)
    if shown and upcoming and shown > upcoming:
        return Wake(now)
    wakes = [Wake(check_due(exporter, now), urgent=False)]
    if not exporter.suspended:
        wakes.append(Wake(next_slot(schedule, slots.counted_from(status, now)).due))
    reads = [(Question("figures", e.id), delivery_figures.next_read(e, now)) for e in status.history or []]
    looks = [(Question("outcome", e.id), resolution.next_look(e, now)) for e in resolution.in_doubt(status)]
    wakes += [Wake(max(at, retries.get(question, at)), urgent=False) for question, at in reads + looks if at]
    return min(wakes)


def check_due(exporter: Exporter, now: datetime) -> datetime:
    """When credentials and ids are to be checked again: soon while that may help, every few hours otherwise."""
    status = exporter.status
    checked = status.last_check_time
    if status.observed_generation != exporter.generation or (checked and checked > now):
        return now
    if not conditions.is_ready(status, exporter.generation) and status.next_retry_time:
        return min(status.next_retry_time, now + SECRET_WATCH)
    if exporter.suspended and conditions.is_ready(status, exporter.generation):
        return NEVER.at
    # Spread over an hour by the uid: ten thousand exporters of one commit are not checked in one minute.
    spread = timedelta(seconds=int(hashlib.sha256(exporter.uid.encode()).hexdigest()[:4], 16) % 3600)
    return (checked or now) + CHECK_INTERVAL + spread
