"""The repair of what a status says about slots.

Several fields overlap, so a lost field can be restored from the others. If they do not say enough, a slot that was due
does not run, and has an entry. While the clock is in doubt, no conclusion is drawn from it: a time one year ahead would
prevent every slot of that year from running.
"""

from datetime import datetime

from qualtrics_exporter import schedule as schedules
from qualtrics_exporter.controller.plan import slots
from qualtrics_exporter.controller.plan.usable_spec import schedule_of, spec_problem
from qualtrics_exporter.export.run_ids import slot_run_id
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import CLAIMED_SLOTS, Status


def with_slots_again(
    exporter: Exporter, status: Status, now: datetime, *, clock_unsure: bool, default_zone: str
) -> Status:
    """The status with the times that say which slots are done and which is next, restored from other fields."""
    lost = {
        name for name in ("nextScheduleTime", "schedule", "scheduleSince", "lastScheduleTime") if _lost(exporter, name)
    }
    if not lost:
        return status
    uncertain = "nextScheduleTime" in lost and len(lost) > 1
    if "lastScheduleTime" in lost:
        status = status.model_copy(update={"last_schedule_time": _last_done(status, now, clock_unsure=clock_unsure)})
    if uncertain:
        return _with_slots_in_doubt(exporter, status, now, clock_unsure=clock_unsure, default_zone=default_zone)
    if "scheduleSince" in lost and _written(exporter, status):
        status = status.model_copy(update={"schedule_since": slots.restarted_since(status, now)})
    return slots.with_next_slot_again(status, now) if "nextScheduleTime" in lost else status


def without_wrong_times(exporter: Exporter, status: Status, now: datetime) -> Status:
    """The status without the times of a clock that was ahead, and with an entry if slots may have been lost.

    It is unknown since when the clock has been right. Slots that became due since then, before the operator noticed it,
    do not run: the schedule may have been different when they were due.
    """
    corrected = slots.without_future(status, now)
    schedule, since = schedules.Schedule.from_description(status.schedule or ""), corrected.schedule_since
    if schedule is None or since is None or since == status.schedule_since or status.next_schedule_time is None:
        return corrected
    seen = max((time for time in (_last_trace(status, now), exporter.created) if time), default=since)
    return slots.passed_without_run(exporter, corrected, schedule, seen, since, Reason.CLOCK_STEPPED)


def with_claims_again(exporter: Exporter, status: Status, now: datetime, *, clock_unsure: bool) -> Status:
    """The status after damage to the record of claimed slots: no slot runs that may have had its run."""
    if not clock_unsure:
        status = slots.given_up(exporter, status, now, "Skipped", Reason.STATUS_NOT_UNDERSTOOD)
    status = status.model_copy(update={"claimed_slots": status.claimed_slots or []})
    schedule = schedules.Schedule.from_description(status.schedule or "")
    known = {slot.due_time for slot in status.claimed_slots or []}
    for due in sorted(_started(status) - known):
        # The clock may be set back, and the entry may leave the history: then only this record shows that it ran.
        if schedule and (slot := schedules.slot_due_at(schedule, due)):
            status = slots.claimed(status, slot)
    since = _claimed_up_to(status, now) if clock_unsure else _announced_up_to(status, now)
    # Not earlier than before the damage: while a clock was ahead, slots may have run that are not due yet.
    return status.model_copy(update={"claimed_slots_since": max(since, status.claimed_slots_since or since)})


def _lost(exporter: Exporter, name: str) -> bool:
    return f"status.{name}" in exporter.ignored


def _written(exporter: Exporter, status: Status) -> bool:
    """Whether an operator seems to have written this status. Otherwise the exporter counts as new."""
    return status.claimed_slots is not None or _lost(exporter, "claimedSlots")


def _started(status: Status) -> set[datetime]:
    """The due times of slots that had a run, from the entries and the active run."""
    entries = [entry for entry in status.history or [] if entry.trigger == "Schedule" and entry.start_time]
    run = status.active_run
    times = [entry.scheduled_time for entry in entries] + [run.scheduled_time if run else None]
    return {time for time in times if time}


def _done(status: Status, now: datetime) -> datetime | None:
    """The newest slot up to now that is done: claimed, or named by an entry."""
    times = {slot.due_time for slot in status.claimed_slots or []} | _started(status)
    times |= {entry.scheduled_time for entry in status.history or [] if entry.scheduled_time}
    return max((time for time in times if time <= now), default=None)


def _last_done(status: Status, now: datetime, *, clock_unsure: bool) -> datetime | None:
    """`lastScheduleTime`, restored from the rest of the status. If nothing else helps, the announced slot is next."""
    announced = status.next_schedule_time
    if (done := _done(status, now)) or announced is None or (clock_unsure and announced > now):
        return done
    return slots.restarted_since(status, now)


def _claimed_up_to(status: Status, now: datetime) -> datetime:
    """The time up to which slots may have had their run, without using a clock that is in doubt.

    Each claim writes `lastScheduleTime`. The announced slot is less reliable: it may come from the same clock.
    """
    last = max((time for time in (status.last_schedule_time, _done(status, now)) if time), default=None)
    return last or status.schedule_since or slots.restarted_since(status, now)


def _announced_up_to(status: Status, now: datetime) -> datetime:
    """Now, or the last slot before the announced slot, if slots between them ran early.

    The announced slot is the first slot without a run. The damaged record had at most `CLAIMED_SLOTS` slots before it.
    """
    schedule = schedules.Schedule.from_description(status.schedule or "")
    announced = status.next_schedule_time
    if schedule is None or announced is None or announced <= now:
        return now
    slot = schedules.next_slot(schedule, now)
    for _ in range(CLAIMED_SLOTS):
        following = schedules.next_slot(schedule, slot.due)
        if following.due == announced:
            return slot.due
        slot = following
    return now


def _with_slots_in_doubt(
    exporter: Exporter, status: Status, now: datetime, *, clock_unsure: bool, default_zone: str
) -> Status:
    """The status in which slots count from now on, with an entry for the slots since its last trace."""
    schedule = schedules.Schedule.from_description(status.schedule or "")
    if schedule is None and exporter.spec and spec_problem(exporter, default_zone) is None:
        schedule = schedule_of(exporter, exporter.spec, default_zone)
    if schedule is None:  # the next plan with a valid spec counts anew
        since = status.schedule_since or now
        return status.model_copy(update={"schedule_since": since}) if _written(exporter, status) else status
    newest = schedules.newest_slot(schedule, now - 2 * schedule.interval(), now)
    since = _last_trace(status, now) or (newest.due - slots.INSTANT if newest else now)
    if newest and slot_run_id(exporter.uid, newest.identity) in (status.sent_runs or []):
        since = max(since, newest.due)
    if not clock_unsure:
        status = slots.passed_without_run(exporter, status, schedule, since, now, Reason.STATUS_NOT_UNDERSTOOD)
        since = now
    upcoming = schedules.next_slot(schedule, now).due
    if _lost(exporter, "scheduleSince") and not _written(exporter, status):
        return status
    return status.model_copy(update={"schedule_since": since, "next_schedule_time": upcoming})


def _last_trace(status: Status, now: datetime) -> datetime | None:
    """The newest time up to which slots are done, from everything in the status."""
    slot_times = (status.last_schedule_time, _done(status, now), status.claimed_slots_since)
    known = [time for time in slot_times if time and time <= now]
    if not known:
        # The operator reconciled the exporter then, so slots that were due before had their turn.
        traces = [status.last_check_time, status.last_successful_time]
        traces += [
            *(entry.completion_time for entry in status.entries),
            *(c.last_transition_time for c in status.conditions or []),
        ]
        known = [time for time in traces if time and time <= now]
    known += [time for time in (status.schedule_since,) if time and time <= now]
    return max(known, default=None)
