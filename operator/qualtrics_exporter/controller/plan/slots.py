"""Slots of an exporter: which slot is due, which are over, and the entry of each.

`lastScheduleTime` is the newest slot that is done, by a run or by an entry. Clocks jump, so this does not suffice to
know which slots had their run. `claimedSlots` records the newest of those by their start and their name, independently
of the history. A slot in this record never runs again, nor does a slot that is older than the record.
"""

from datetime import datetime, timedelta
from typing import NamedTuple, Self

from qualtrics_exporter import schedule as slots
from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.export.run_ids import slot_run_id
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import CLAIMED_SLOTS, ClaimedSlot, HistoryEntry, Result, Status, timestamp

MAX_SLOTS = 20_000
"""How many slots are counted, which takes a tenth of a second: two years of an hourly schedule. Older slots are left
out, even if a status says that slots count since 2001.
"""
INSTANT = timedelta.resolution


class _Passed(NamedTuple):
    """Slots that did not run."""

    number: int
    newest: slots.Slot
    oldest: slots.Slot

    @classmethod
    def one(cls, slot: slots.Slot) -> Self:
        return cls(1, slot, slot)


def with_record(status: Status) -> Status:
    """The status with a record of claimed slots. If an older version wrote it, all slots up to now are over."""
    if status.claimed_slots is not None:
        return status
    return status.model_copy(update={"claimed_slots": [], "claimed_slots_since": _record_since(status)})


def _record_since(status: Status) -> datetime | None:
    """The time after which every slot that had a run is in the record."""
    if status.claimed_slots is None:
        return status.last_schedule_time
    return status.claimed_slots_since


def without_future(status: Status, now: datetime) -> Status:
    """The status without the times of a clock that was ahead. Waiting until then would be silence."""
    anew = restarted_since(status, now)
    if status.schedule_since and status.schedule_since > now:
        status = status.model_copy(update={"schedule_since": anew})
    if status.last_schedule_time is None or status.last_schedule_time <= now:
        return status
    done = [slot.due_time for slot in status.claimed_slots or []]
    done += [entry.scheduled_time for entry in status.history or [] if entry.scheduled_time]
    past = max((due for due in done if due <= now), default=None)
    since = status.schedule_since
    if (recorded := _record_since(status)) and recorded > now:
        since = anew  # it is unknown which slots before now had their run
    return status.model_copy(update={"last_schedule_time": past, "schedule_since": since})


def restarted_since(status: Status, now: datetime) -> datetime:
    """The time from which slots count if that time was lost: now, but before an announced slot that is due."""
    announced = status.next_schedule_time
    return min(now, announced - INSTANT) if announced else now


def with_next_slot_again(status: Status, now: datetime) -> Status:
    """The status with the announced slot restored; without it the exporter would look suspended."""
    schedule = slots.Schedule.from_description(status.schedule or "")
    if schedule is None or status.schedule_since is None or status.next_schedule_time is not None:
        return status
    upcoming = slots.next_slot(schedule, _counted_from(status, schedule, now)).due
    return status.model_copy(update={"next_schedule_time": upcoming})


def counted_from(status: Status, now: datetime) -> datetime:
    """The time up to which every slot is done.

    A claimed slot does not show it: a clock that was ahead may have claimed it long before the slots that precede it.
    But up to the newest slot that left the record, each slot had its run or its entry.
    """
    times = (status.schedule_since, status.last_schedule_time, status.claimed_slots_since)
    return max((time for time in times if time and time <= now), default=now)


def _counted_from(status: Status, schedule: slots.Schedule, now: datetime) -> datetime:
    return max(counted_from(status, now), now - MAX_SLOTS * schedule.interval())


def claim_due(
    exporter: Exporter, status: Status, schedule: slots.Schedule, deadline: timedelta, context: Context
) -> tuple[Status, slots.Slot | None]:
    """The status with a claim for the slot that runs now, and that slot. The slots before it get their entries."""
    now = context.now
    since = _counted_from(status, schedule, now)
    newest = slots.newest_slot(schedule, since, now)
    if newest is None:
        return status, None
    in_time = context.lateness(newest.due) <= deadline
    status = _passed_over(exporter, status, schedule, since, newest.due - INSTANT if in_time else newest.due, context)
    status = status.model_copy(update={"last_schedule_time": newest.due})
    if not in_time:
        return status, None
    if _is_done(status, newest):
        return status, None
    reason = _not_again(exporter, status, newest)
    status = claimed(status, newest)
    if reason:
        return _with_entry(exporter, status, _Passed.one(newest), now, "Skipped", reason), None
    return status, newest


def _not_again(exporter: Exporter, status: Status, slot: slots.Slot) -> Reason | None:
    """Why a slot that is due must not run, even though it has no entry yet."""
    if status.claimed_slots_since and slot.due <= status.claimed_slots_since:
        return Reason.CLOCK_STEPPED
    run_id = slot_run_id(exporter.uid, slot.identity)
    known = {slot.identity for slot in status.claimed_slots or []}
    ids = {*(status.sent_runs or []), *(entry.id for entry in status.history or [] if entry.start_time)}
    return Reason.SLOT_ALREADY_RAN if slot.identity in known or run_id in ids else None


def _is_done(status: Status, slot: slots.Slot) -> bool:
    """Whether this very slot already had its run, because the clock was set back. Then it has its entry."""
    return any(known.due_time == slot.due for known in status.claimed_slots or []) or any(
        entry.scheduled_time == slot.due and entry.start_time for entry in status.history or []
    )


def claimed(status: Status, slot: slots.Slot) -> Status:
    claimed = [ClaimedSlot(due_time=slot.due, identity=slot.identity), *(status.claimed_slots or [])]
    claimed.sort(key=lambda known: known.due_time, reverse=True)
    dropped = [known.due_time for known in claimed[CLAIMED_SLOTS:]]
    since = max([*dropped, *([status.claimed_slots_since] if status.claimed_slots_since else [])], default=None)
    return status.model_copy(update={"claimed_slots": claimed[:CLAIMED_SLOTS], "claimed_slots_since": since})


def _passed_over(
    exporter: Exporter, status: Status, schedule: slots.Schedule, since: datetime, until: datetime, context: Context
) -> Status:
    """The status with entries for the slots after `since`, up to `until`, which never run.

    Slots that were due while no operator was leading were missed (`DeadlineExceeded`). The others waited until the next
    slot was due (`SlotOvertaken`).
    """
    status, since = _with_uncertain(exporter, status, schedule, since, until, context.now)
    led = context.led_since()
    split = min(until, max(since, led - INSTANT)) if led else since
    status = _missed(exporter, status, schedule, since, split, context, Reason.DEADLINE_EXCEEDED)
    return _missed(exporter, status, schedule, split, until, context, Reason.SLOT_OVERTAKEN)


def _with_uncertain(
    exporter: Exporter, status: Status, schedule: slots.Schedule, since: datetime, until: datetime, now: datetime
) -> tuple[Status, datetime]:
    """Write an entry for slots that are no longer in the record. Returns the time at which the other slots begin.

    Such slots exist only after the clock was set back: otherwise the slots that left the record are older than `since`.
    """
    if status.claimed_slots_since is None or status.claimed_slots_since <= since:
        return status, since
    until = min(until, status.claimed_slots_since)
    if passed := _without_run(status, schedule, since, until):
        status = _with_entry(exporter, status, passed, now, "Skipped", Reason.CLOCK_STEPPED)
    return status, until


def _missed(
    exporter: Exporter,
    status: Status,
    schedule: slots.Schedule,
    since: datetime,
    until: datetime,
    context: Context,
    reason: Reason,
) -> Status:
    if not (passed := _without_run(status, schedule, since, until)):
        return status
    figures = ""
    if reason is Reason.SLOT_OVERTAKEN:
        waited = int((context.now - passed.oldest.due).total_seconds())
        figures = (
            f"It had been due for {waited} s. Of all exporters, {context.waiting} wait for their turn and "
            f"{context.in_progress} are in progress."
        )
    status = _with_entry(exporter, status, passed, context.now, "Missed", reason, figures)
    return conditions.last_run(status, (status.history or [])[0], exporter.generation, context.now)


def due_during_run(exporter: Exporter, status: Status, schedule: slots.Schedule, now: datetime) -> Status:
    """The status with one entry for the slots that became due while a run was active."""
    return passed_without_run(exporter, status, schedule, counted_from(status, now), now, Reason.RUN_ACTIVE)


def given_up(exporter: Exporter, status: Status, now: datetime, result: Result, reason: Reason) -> Status:
    """The status with one entry for the slots that became due but are given up for this reason.

    They follow from the schedule in the status: the spec may have a different schedule by now.
    """
    due = status.next_schedule_time
    if due is None:
        return status
    schedule = slots.Schedule.from_description(status.schedule or "")
    figures = ""
    if schedule is None:
        last = status.last_schedule_time
        done = last is not None and due <= last <= now
        passed = None if due > now or done else _Passed.one(slots.Slot(due, timestamp(due)))
        figures = "Its schedule is unknown: if later slots of that schedule fell due, they did not run either."
    else:
        # Not from the announced slot on: while the clock is in doubt, earlier slots wait without an entry.
        since = _counted_from(status, schedule, now)
        status, since = _with_uncertain(exporter, status, schedule, since, now, now)
        passed = _without_run(status, schedule, since, now)
    return _with_entry(exporter, status, passed, now, result, reason, figures) if passed else status


def passed_without_run(
    exporter: Exporter, status: Status, schedule: slots.Schedule, since: datetime, until: datetime, reason: Reason
) -> Status:
    """The status with one `Skipped` entry for the slots in this interval without a run and without an entry."""
    since = max(since, until - MAX_SLOTS * schedule.interval())
    status, since = _with_uncertain(exporter, status, schedule, since, until, until)
    passed = _without_run(status, schedule, since, until)
    return _with_entry(exporter, status, passed, until, "Skipped", reason) if passed else status


def announced(exporter: Exporter, status: Status, schedule: slots.Schedule, now: datetime) -> datetime | None:
    """When the next slot without a run is due; None while suspended."""
    if exporter.suspended:
        return None
    slot = slots.next_slot(schedule, now)
    while any(known.due_time == slot.due for known in status.claimed_slots or []):
        slot = slots.next_slot(schedule, slot.due)
    return slot.due


def _with_entry(
    exporter: Exporter,
    status: Status,
    passed: _Passed,
    now: datetime,
    result: Result,
    reason: Reason,
    figures: str = "",
) -> Status:
    """The status with one entry for slots that did not run, named after the newest of them.

    Its id is not the id of a run: if a wrong clock ended a slot too early, that slot may still run.
    """
    number, newest, oldest = passed
    which = (
        f"The slot of {timestamp(newest.due)}"
        if number == 1
        else f"{number} slots between {timestamp(oldest.due)} and {timestamp(newest.due)}"
    )
    # After a clock has jumped, it is unknown whether they ran.
    what = "will not run." if reason is Reason.CLOCK_STEPPED else "did not run, nobody was mailed."
    sentences = [f"{which} {what}", reason.meaning, figures, reason.next_step]
    entry = HistoryEntry(
        id=slot_run_id(exporter.uid, f"{newest.identity} not run {timestamp(now)}"),
        trigger="Schedule",
        scheduled_time=newest.due,
        completion_time=now,
        result=result,
        reason=str(reason),
        message=" ".join(sentence for sentence in sentences if sentence),
    )
    return status.with_entry(entry).model_copy(update={"last_schedule_time": newest.due})


def _without_run(status: Status, schedule: slots.Schedule, since: datetime, until: datetime) -> _Passed | None:
    """The slots with since < due <= until without a run and without an entry; None if there are none."""
    times = [known.due_time for known in status.claimed_slots or []]
    times += [entry.scheduled_time for entry in status.history or [] if entry.scheduled_time]
    done = {due for due in times if since < due <= until and slots.slot_due_at(schedule, due)}
    newest = slots.newest_slot(schedule, since, until)
    while newest and newest.due in done:
        newest = slots.newest_slot(schedule, since, newest.due - INSTANT)
    if newest is None:
        return None
    oldest = slots.next_slot(schedule, since)
    while oldest.due in done:
        oldest = slots.next_slot(schedule, oldest.due)
    number = slots.count_slots(schedule, since, newest.due) - sum(due <= newest.due for due in done)
    return _Passed(number, newest, oldest)
