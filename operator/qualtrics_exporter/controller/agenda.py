"""What an exporter needs next, as pure functions of (exporter, time).

`bookkeep` turns what is due into one new status: first sight, a settled run, a changed schedule, missed and skipped
slots, refused requests, and the claim of a run. Because all of it is one status, it is written in one compare-and-set:
a slot can't be claimed without `lastScheduleTime` having moved past it, nor a token acted on without its receipt.
`finished` is the same for the end of a run. `next_wake` tells when to look at an exporter again, from nothing but the
object itself, so that a restart loses no plan.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import cast

from qualtrics_exporter import schedule as slots
from qualtrics_exporter.controller import conditions, delivery, settling
from qualtrics_exporter.export.identity import request_run_id, settlement_id, slot_run_id, test_run_id
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.http.errors import Permanent
from qualtrics_exporter.resource.exporter import RUN_REQUESTED_AT, SETTLE_RUN, TEST_MODE, TEST_REQUESTED_AT, Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import (
    HANDLED_REQUESTS,
    ActiveRun,
    HistoryEntry,
    Result,
    Status,
    Trigger,
    entry_of,
    timestamp,
)

STARTING_DEADLINE = timedelta(hours=1)
CHECK_INTERVAL = timedelta(hours=6)
# How often the Secrets of an exporter that is not Ready are looked at; less than the minute that is promised.
SECRET_WATCH = timedelta(seconds=30)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Plan:
    """The status to write, and what it means for the process that writes it.

    `claimed` is a run that is in the hands of the holder given to `bookkeep` once this status is written.
    """

    status: Status
    claimed: ActiveRun | None = None


def schedule_of(exporter: Exporter, spec: Spec, default_zone: str) -> slots.Schedule:
    """The schedule of an exporter with that spec. Raises `Permanent` (SpecInvalid) for one that an older CRD let in.

    One that names no time zone keeps that of the operator who first saw it. Otherwise two operators with different
    defaults would each take the other's schedule for a changed one, for ever, and no slot would ever be due.
    """
    wish = spec.schedule
    try:
        zone = slots.zone(wish.time_zone or exporter.status.time_zone or default_zone)
        return slots.Schedule(wish.frequency, zone, wish.every_hours, wish.day_of_week)
    except ValueError as error:
        raise Permanent(Reason.SPEC_INVALID, f"spec.schedule: {error}") from error


def spec_problem(exporter: Exporter, default_zone: str) -> Permanent | None:
    """Why this spec can't be used at all, if so."""
    if exporter.spec is None:
        return Permanent(exporter.spec_reason, exporter.spec_error)
    try:
        schedule_of(exporter, exporter.spec, default_zone)
    except Permanent as error:
        return error
    return None


def bookkeep(
    exporter: Exporter,
    now: datetime,
    holder: str,
    default_zone: str,
    *,
    noticed: datetime | None = None,
    orphaned: bool = False,
) -> Plan:
    """The status that says what is due now, with a run claimed for `holder` if one has to start.

    `noticed` is when a running operator saw that the exporter needs attention: a slot that then waited for its turn is
    not late. `orphaned` tells that nobody works on the active run any more.
    """
    status = _settled(exporter, _first_sight(exporter, now), now)
    claimed: ActiveRun | None = None
    if orphaned and status.active_run:
        status, claimed = _take_over(exporter, status, status.active_run, now, holder)
    if problem := spec_problem(exporter, default_zone):
        if status.active_run is None:
            status = _forgone_slot(exporter, status, now, "Failed", problem.reason)
        status = status.model_copy(update={"next_schedule_time": None})
        return Plan(_refuse_run(exporter, status, now, "Failed", problem.reason, problem.what), claimed)

    spec = cast("Spec", exporter.spec)  # there is no problem with it
    schedule = schedule_of(exporter, spec, default_zone)
    if exporter.suspended:
        status = _forgone_slot(exporter, status, now, "Skipped", Reason.SUSPENDED)
    elif status.schedule != schedule.words():
        status = _forgone_slot(exporter, status, now, "Missed", Reason.SCHEDULE_CHANGED)
    status = _counting_since(exporter, status, schedule, now)
    default = None if spec.schedule.time_zone else schedule.zone.key
    status = status.model_copy(update={"time_zone": default})
    if status.active_run is None and not exporter.suspended:
        waited = max(timedelta(0), now - (noticed or now))
        status, claimed = _due_slots(exporter, status, schedule, now, holder, _deadline(spec) + waited)
    if status.active_run is None or claimed:
        status, claimed = _run_request(exporter, status, claimed, now, holder)
        status, claimed = _delivering_test(exporter, status, claimed, now, holder)

    return Plan(_with_next_slot(exporter, status, schedule, now), claimed)


def finished(exporter: Exporter, ended: Ended, now: datetime, default_zone: str) -> Status:
    """The status after a run has ended: its entry, its conditions, and what it overtook.

    A slot that fell due and a run that was requested while the run was active are skipped, visibly. A test overtakes
    nothing: it is short, and nobody expects it to cost a slot.
    """
    entry = ended.entry
    status = exporter.status.model_copy(update={"active_run": None})
    if entry.trigger == "Test":
        return status.model_copy(update={"last_test": entry})
    status = status.with_entry(entry)
    status = conditions.ran(status, ended, exporter.generation, now)
    if entry.result == "Succeeded":
        status = status.model_copy(update={"last_successful_time": entry.completion_time})
    if exporter.spec is None or spec_problem(exporter, default_zone) or exporter.suspended:
        return status
    schedule = schedule_of(exporter, exporter.spec, default_zone)
    status = _overtaken_slots(exporter, status, schedule, now)
    status = _with_next_slot(exporter, status, schedule, now)
    return _refuse_run(exporter, status, now, "Skipped", Reason.RUN_ACTIVE, "The requested run did not start")


def next_wake(exporter: Exporter, now: datetime, default_zone: str) -> datetime:
    """When the exporter needs attention next: `now` or earlier means at once."""
    status = exporter.status
    if (
        status.schedule_since is None
        or status.active_run is not None
        or status.observed_generation != exporter.generation
        or requested_run(exporter)
        or requested_test(exporter)
        or requested_settlement(exporter)
    ):
        return now
    if exporter.spec is None or spec_problem(exporter, default_zone):
        return NEVER  # until somebody changes the spec; that is an event
    schedule = schedule_of(exporter, exporter.spec, default_zone)
    if status.schedule != schedule.words() or exporter.suspended is not (status.next_schedule_time is None):
        return now
    if _from_the_future(status, schedule, now):
        return now
    wakes = [check_due(exporter, now)]
    if not exporter.suspended:
        wakes.append(slots.next_slot(schedule, _counted_from(status, now)).due)
    wakes += [read for entry in status.history or [] if (read := delivery.next_read(entry))]
    wakes += [look for entry in settling.in_doubt(status) if (look := settling.next_look(entry))]
    return min(wakes)


def check_due(exporter: Exporter, now: datetime) -> datetime:
    """When credentials and ids are to be looked at again: soon while that may help, every few hours otherwise."""
    status = exporter.status
    if status.observed_generation != exporter.generation:
        return now
    if not conditions.is_ready(status, exporter.generation) and status.next_retry_time:
        return min(status.next_retry_time, now + SECRET_WATCH)
    if exporter.suspended and conditions.is_ready(status, exporter.generation):
        return NEVER
    # Spread over an hour by the uid: ten thousand exporters made by one commit are not checked in one minute.
    spread = timedelta(seconds=int(hashlib.sha256(exporter.uid.encode()).hexdigest()[:4], 16) % 3600)
    return (status.last_check_time or now) + CHECK_INTERVAL + spread


def requested_run(exporter: Exporter, status: Status | None = None) -> str | None:
    """The token of a run request that was not handled yet, as this status (by default the exporter's) tells it."""
    status, token = status or exporter.status, _token(exporter, RUN_REQUESTED_AT)
    return _unhandled(status, token, status.last_handled_run_request, partial(request_run_id, exporter.uid))


def requested_test(exporter: Exporter, status: Status | None = None) -> str | None:
    """The token of a test request that was not handled yet, likewise."""
    status, token = status or exporter.status, _token(exporter, TEST_REQUESTED_AT)
    return _unhandled(status, token, status.last_handled_test_request, partial(test_run_id, exporter.uid))


def requested_settlement(exporter: Exporter, status: Status | None = None) -> str | None:
    """A person's word on a run that was not handled yet, as the receipt keeps it: what is not understood by its digest.

    So nothing gets into a status that somebody wrote by mistake, such as an address.
    """
    status, value = status or exporter.status, exporter.annotations.get(SETTLE_RUN)
    if value and not settling.understood(value):
        value = _digest(value)
    return _unhandled(status, value, status.last_handled_settlement, partial(settlement_id, exporter.uid))


def _unhandled(status: Status, token: str | None, last: str | None, id_of: Callable[[str], str]) -> str | None:
    """The token, unless it is the last one that was handled, or one of those that are remembered by their ids."""
    if not token or token == last or id_of(token) in (status.handled_requests or []):
        return None
    return token


def with_run_receipt(exporter: Exporter, status: Status, token: str) -> Status:
    """The status with the receipt of a run token. Older ones are remembered too: Git may bring one back."""
    handled = _remembered(status, request_run_id(exporter.uid, token))
    return status.model_copy(update={"last_handled_run_request": token, "handled_requests": handled})


def with_test_receipt(exporter: Exporter, status: Status, token: str) -> Status:
    """The status with the receipt of a test token, likewise."""
    handled = _remembered(status, test_run_id(exporter.uid, token))
    return status.model_copy(update={"last_handled_test_request": token, "handled_requests": handled})


def with_settlement_receipt(exporter: Exporter, status: Status, value: str) -> Status:
    """The status with the receipt of a person's word on a run, likewise."""
    handled = _remembered(status, settlement_id(exporter.uid, value))
    return status.model_copy(update={"last_handled_settlement": value, "handled_requests": handled})


def _remembered(status: Status, request_id: str) -> list[str]:
    return [request_id, *(status.handled_requests or [])][:HANDLED_REQUESTS]


def wants_delivery(exporter: Exporter) -> bool:
    """Whether the test is to be delivered: only the exact word counts, a test that is unsure mails nobody.

    Nor does one whose token begins with "dry": mode and token are two annotations, and whoever asks for a dry test
    cannot keep a GitOps tool from putting an old "Deliver" back beside it.
    """
    meant_dry = exporter.annotations.get(TEST_REQUESTED_AT, "").lower().startswith("dry")
    return exporter.annotations.get(TEST_MODE) == "Deliver" and not meant_dry


def _first_sight(exporter: Exporter, now: datetime) -> Status:
    status = exporter.status
    if status.schedule_since is not None:
        return status
    # Tokens that are there already count as handled: nothing runs because an object was created or its status lost.
    status = status.model_copy(update={"schedule_since": now, "schedule": None})
    if token := requested_run(exporter, status):
        status = with_run_receipt(exporter, status, token)
    if token := requested_test(exporter, status):
        status = with_test_receipt(exporter, status, token)
    if value := requested_settlement(exporter, status):
        status = with_settlement_receipt(exporter, status, value)
    return conditions.first_seen(status, exporter.generation, now)


def _settled(exporter: Exporter, status: Status, now: datetime) -> Status:
    """Do what a person says of a run that ended Unknown: suspended or invalid, for nothing is sent by it."""
    value = requested_settlement(exporter, status)
    if value is None:
        return status
    word = settling.understood(value)
    if word and status.active_run and status.active_run.id == word.run:
        return status  # it may yet end as Unknown: a value acts once, and it should not be lost by being early
    status = settling.settle(status, value, exporter.generation, now)
    return with_settlement_receipt(exporter, status, value)


def _counting_since(exporter: Exporter, status: Status, schedule: slots.Schedule, now: datetime) -> Status:
    """Slots count from now on when the schedule is new or changed, or when the exporter was suspended until now."""
    words = schedule.words()
    resumed = not exporter.suspended and status.next_schedule_time is None
    if _from_the_future(status, schedule, now):
        # A clock that was far ahead claimed it. Waiting until then would be silence for as long.
        status = status.model_copy(update={"last_schedule_time": None})
    elif status.schedule == words and not resumed:
        return status
    return status.model_copy(update={"schedule": words, "schedule_since": now})


def _from_the_future(status: Status, schedule: slots.Schedule, now: datetime) -> bool:
    """Whether slots seem to be done that are more than one interval away: the clock was set back since."""
    return _counted_from(status, now) > now + schedule.interval()


def _forgone_slot(exporter: Exporter, status: Status, now: datetime, result: Result, reason: Reason) -> Status:
    """Say so when a slot fell due that nobody ran, and now something else takes its place."""
    due = status.next_schedule_time
    if due is None or due > now:
        return status
    return _slots_entry(exporter, status, slots.Slot(due, timestamp(due)), None, 1, now, result, reason)


def _with_next_slot(exporter: Exporter, status: Status, schedule: slots.Schedule, now: datetime) -> Status:
    upcoming = None if exporter.suspended else slots.next_slot(schedule, max(now, status.last_schedule_time or now)).due
    return status.model_copy(update={"next_schedule_time": upcoming})


def _counted_from(status: Status, now: datetime) -> datetime:
    return max(status.schedule_since or now, status.last_schedule_time or datetime.min.replace(tzinfo=UTC))


def _deadline(spec: Spec) -> timedelta:
    seconds = spec.schedule.starting_deadline_seconds
    return STARTING_DEADLINE if seconds is None else timedelta(seconds=seconds)


def _due_slots(
    exporter: Exporter, status: Status, schedule: slots.Schedule, now: datetime, holder: str, deadline: timedelta
) -> tuple[Status, ActiveRun | None]:
    due = slots.due(schedule, _counted_from(status, now), now, deadline)
    if due.missed and due.newest_missed and due.oldest_missed:
        status = _slots_entry(
            exporter, status, due.newest_missed, due.oldest_missed, due.missed, now, "Missed", Reason.DEADLINE_EXCEEDED
        )
        status = conditions.last_run(status, (status.history or [])[0], exporter.generation, now)
    if due.run is None:
        return status, None
    status = status.model_copy(update={"last_schedule_time": due.run.due})
    run_id = slot_run_id(exporter.uid, due.run.identity)
    if any(entry.id == run_id for entry in status.history or []):
        # After a change of zone the same local date can fall due again: it is the same slot, and it had its run.
        return status, None
    run = _claim(exporter, "Schedule", run_id, now, holder, due.run.due)
    return status.model_copy(update={"active_run": run}), run


def _claim(
    exporter: Exporter, trigger: Trigger, run_id: str, now: datetime, holder: str, due: datetime | None = None
) -> ActiveRun:
    """A run at its beginning, in the hands of `holder`; `due` is that of its slot."""
    return ActiveRun(
        id=run_id,
        trigger=trigger,
        scheduled_time=due,
        start_time=now,
        generation=exporter.generation,
        holder=holder,
        step="Claimed",
    )


def _overtaken_slots(exporter: Exporter, status: Status, schedule: slots.Schedule, now: datetime) -> Status:
    since = _counted_from(status, now)
    newest = slots.newest_slot(schedule, since, now)
    if newest is None:
        return status
    oldest = slots.next_slot(schedule, since)
    number = slots.count_slots(schedule, since, now)
    return _slots_entry(exporter, status, newest, oldest, number, now, "Skipped", Reason.RUN_ACTIVE)


def _slots_entry(
    exporter: Exporter,
    status: Status,
    newest: slots.Slot,
    oldest: slots.Slot | None,
    number: int,
    now: datetime,
    result: Result,
    reason: Reason,
) -> Status:
    """One entry for all the slots between two, the newest of which gives it its name."""
    which = (
        f"The slot of {timestamp(newest.due)}"
        if number == 1 or oldest is None
        else f"{number} slots between {timestamp(oldest.due)} and {timestamp(newest.due)}"
    )
    entry = HistoryEntry(
        id=slot_run_id(exporter.uid, newest.identity),
        trigger="Schedule",
        scheduled_time=newest.due,
        completion_time=now,
        result=result,
        reason=str(reason),
        message=f"{which} did not run, nobody was mailed. {reason.meaning} {reason.next_step}",
    )
    return status.with_entry(entry).model_copy(update={"last_schedule_time": newest.due})


def _run_request(
    exporter: Exporter, status: Status, claimed: ActiveRun | None, now: datetime, holder: str
) -> tuple[Status, ActiveRun | None]:
    token = requested_run(exporter, status)
    if token is None:
        return status, claimed
    if exporter.suspended or claimed:
        why = Reason.SUSPENDED if exporter.suspended else Reason.RUN_ACTIVE
        return _refuse_run(exporter, status, now, "Skipped", why, "The requested run did not start"), claimed
    run = _claim(exporter, "Request", request_run_id(exporter.uid, token), now, holder)
    return with_run_receipt(exporter, status, token).model_copy(update={"active_run": run}), run


def _delivering_test(
    exporter: Exporter, status: Status, claimed: ActiveRun | None, now: datetime, holder: str
) -> tuple[Status, ActiveRun | None]:
    """A test that mails people has the journal of a run. It waits while another run is active."""
    token = requested_test(exporter, status)
    if token is None or claimed or not wants_delivery(exporter):
        return status, claimed
    run = _claim(exporter, "Test", test_run_id(exporter.uid, token), now, holder)
    return with_test_receipt(exporter, status, token).model_copy(update={"active_run": run}), run


def _refuse_run(exporter: Exporter, status: Status, now: datetime, result: Result, reason: Reason, what: str) -> Status:
    """End a run request that can't run: with its receipt and an entry, so that nobody waits for it."""
    token = requested_run(exporter, status)
    if token is None:
        return status
    entry = HistoryEntry(
        id=request_run_id(exporter.uid, token),
        trigger="Request",
        completion_time=now,
        result=result,
        reason=str(reason),
        message=f"{what}, nobody was mailed. {reason.meaning} {reason.next_step}",
    )
    return with_run_receipt(exporter, status.with_entry(entry), token)


def _take_over(
    exporter: Exporter, status: Status, run: ActiveRun, now: datetime, holder: str
) -> tuple[Status, ActiveRun | None]:
    """Take up a run whose holder is gone: with a new holder, so that the old one loses it should it come back.

    Before `Sending` nothing was sent: the run starts again, unless it has become too late for that (a survey that
    arrives days after its slot is not what the schedule asked for). The same is certain of a send that was refused; the
    run goes on from there, its batch is still good. From `Sending` on it has else to be brought to its end however late
    it is.
    """
    if run.before_send:
        deadline = _deadline(exporter.spec) if exporter.spec else STARTING_DEADLINE
        if run.trigger != "Test" and now - (run.scheduled_time or run.start_time) > deadline:
            message = (
                f"The run was interrupted before it sent anything, and could not start again in time. "
                f"{Reason.DEADLINE_EXCEEDED.next_step} Nobody was mailed."
            )
            entry = entry_of(run, "Missed", Reason.DEADLINE_EXCEEDED, message, now)
            status = status.model_copy(update={"active_run": None}).with_entry(entry)
            return conditions.last_run(status, entry, exporter.generation, now), None
        if run.step != "Sending":
            run = run.model_copy(update={"step": "Claimed", "generation": exporter.generation, "batch_id": None})
    run = run.model_copy(update={"holder": holder, "attempt": run.attempt + 1})
    return status.model_copy(update={"active_run": run}), run


def _token(exporter: Exporter, annotation: str) -> str | None:
    """The token as the receipt keeps it: a very long one by its digest, status fields have a limit."""
    token = exporter.annotations.get(annotation)
    if not token:
        return None
    return token if len(token) <= 253 else _digest(token)


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
