"""The next status of an exporter: with everything that is due now, or after a run has ended.

`plan` puts everything that is due into one status: the first reconciliation, a resolved run, a changed schedule, slots
that were missed, overtaken or skipped, refused requests, and the claim of a run. This status is written in one
compare-and-set. So no slot is claimed without `lastScheduleTime` and `claimedSlots`, and no token acts without its
receipt. `finished` returns the status after the end of a run.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from qualtrics_exporter import schedule as schedules
from qualtrics_exporter.controller.plan import slots
from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.plan.deadlines import starting_deadline
from qualtrics_exporter.controller.plan.repair import repaired
from qualtrics_exporter.controller.plan.requests import (
    RUN,
    SETTLEMENT,
    TEST,
    refuse_run,
    refuse_test,
    requested,
    wants_delivery,
    with_current_receipts,
    with_receipt,
    with_tokens_handled,
    without_texts,
)
from qualtrics_exporter.controller.plan.slot_repair import without_wrong_times
from qualtrics_exporter.controller.plan.takeover import take_over
from qualtrics_exporter.controller.plan.usable_spec import schedule_of, spec_problem
from qualtrics_exporter.controller.status import conditions, resolution
from qualtrics_exporter.export.heavy_query import remembered
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.run_ids import request_run_id, slot_run_id, test_run_id
from qualtrics_exporter.export.sample import with_send
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import SENT_RUNS, ActiveRun, Status, Trigger


@dataclass(frozen=True, slots=True)
class Plan:
    """The status to write, and the run that this process holds once it is written."""

    status: Status
    claimed: ActiveRun | None = None


def plan(exporter: Exporter, context: Context) -> Plan:
    """The status with everything that is due now. A run that has to start is claimed in it."""
    now = context.now
    exporter = repaired(exporter, now, clock_unsure=context.clock_unsure, default_zone=context.default_zone)
    status = _resolved(exporter, _first_sight(exporter, now), now)
    status = without_wrong_times(exporter, slots.with_record(status), now)
    status = with_current_receipts(exporter, without_texts(status))
    claimed: ActiveRun | None = None
    if context.orphaned and status.active_run and not (context.clock_unsure and status.active_run.before_send):
        status, claimed = take_over(exporter, status, status.active_run, context)
    if problem := spec_problem(exporter, context.default_zone):
        status = slots.given_up(exporter, status, now, "Failed", problem.reason)
        status = status.model_copy(update={"next_schedule_time": None})
        return Plan(refuse_run(exporter, status, now, "Failed", problem.reason, problem.what), claimed)

    spec = cast("Spec", exporter.spec)  # there is no problem with it
    schedule = schedule_of(exporter, spec, context.default_zone)
    if not context.clock_unsure or exporter.suspended:  # a slot that becomes due during a suspension never runs
        status, claimed = _with_slots(exporter, status, spec, schedule, claimed, context)
    elif status.schedule is None:  # the exporter is new, and no slots depend on the clock yet
        status = _counting_since(exporter, status, schedule, now)
    if status.active_run is None or claimed:
        status, claimed = _run_request(exporter, status, claimed, context)
        status, claimed = _delivering_test(exporter, status, claimed, context)
    if status.schedule == schedule.describe():  # otherwise the slots of the old schedule come first
        status = _with_next_slot(exporter, status, schedule, now)
    return Plan(status, claimed)


def _with_slots(
    exporter: Exporter,
    status: Status,
    spec: Spec,
    schedule: schedules.Schedule,
    claimed: ActiveRun | None,
    context: Context,
) -> tuple[Status, ActiveRun | None]:
    """The status with an entry for each slot that is over, and with a claim for the slot that runs now."""
    now = context.now
    if exporter.suspended:
        status = slots.given_up(exporter, status, now, "Skipped", Reason.SUSPENDED)
    elif status.schedule != schedule.describe():
        status = slots.given_up(exporter, status, now, "Missed", Reason.SCHEDULE_CHANGED)
    status = _counting_since(exporter, status, schedule, now)
    default = None if spec.schedule.time_zone else schedule.zone.key
    if status.time_zone != default:
        status = status.model_copy(update={"time_zone": default})
    if status.active_run is None and not exporter.suspended:
        status, slot = slots.claim_due(exporter, status, schedule, starting_deadline(spec), context)
        if slot:
            run_id = slot_run_id(exporter.uid, slot.identity)
            return _claim(exporter, status, "Schedule", run_id, context, slot.due)
    return status, claimed


def finished(exporter: Exporter, ended: Ended, now: datetime, default_zone: str) -> Status:
    """The status after a run has ended: with its entry, its conditions, and what became due meanwhile.

    Slots that became due and runs that were requested during the run are skipped and have entries. A test skips
    nothing: it is short, and nobody expects it to cost a slot.
    """
    entry, run = ended.entry, exporter.status.active_run
    status = without_wrong_times(exporter, exporter.status, now).model_copy(update={"active_run": None})
    status = status.model_copy(update={"sampled_groups": with_send(status.sampled_groups, run, entry)})
    generation = run.generation if run else None
    drifted = conditions.has_drifted(status, generation)
    heavy = remembered(status.heavy_query, ended.begin_with, generation, now, drifted=drifted)
    status = status.model_copy(update={"heavy_query": heavy})
    if entry.send_time:
        status = status.model_copy(update={"sent_runs": [entry.id, *(status.sent_runs or [])][:SENT_RUNS]})
    if entry.trigger == "Test":
        return resolution.with_last_test(status, entry)
    status = status.with_entry(entry)
    status = conditions.ran(status, ended, exporter.generation, now)
    if entry.result == "Succeeded":
        status = status.model_copy(update={"last_successful_time": entry.completion_time})
    if exporter.spec is None or spec_problem(exporter, default_zone) or exporter.suspended:
        return status
    schedule = schedule_of(exporter, exporter.spec, default_zone)
    if status.schedule == schedule.describe():  # otherwise the next plan handles the slots of the old schedule
        status = slots.due_during_run(exporter, status, schedule, now)
        status = _with_next_slot(exporter, status, schedule, now)
    return refuse_run(exporter, status, now, "Skipped", Reason.RUN_ACTIVE, "The requested run did not start")


def _first_sight(exporter: Exporter, now: datetime) -> Status:
    status = exporter.status
    if status.schedule_since is not None:
        return status
    if status.schedule is not None and status.claimed_slots is not None:  # only this time was lost
        return status.model_copy(update={"schedule_since": slots.restarted_since(status, now)})
    # Tokens in the annotations count as handled: a new object or a lost status must not start a run.
    status = status.model_copy(update={"schedule_since": now, "schedule": None})
    return conditions.first_seen(with_tokens_handled(exporter, status), exporter.generation, now)


def _resolved(exporter: Exporter, status: Status, now: datetime) -> Status:
    """Act on a report about a run that ended as Unknown, also while suspended: this sends nothing."""
    value = requested(SETTLEMENT, exporter, status)
    if value is None:
        return status
    report = resolution.understood(value.identity)
    if report and status.active_run and status.active_run.id == report.run:
        return status  # the run may still end as Unknown: a value acts once, so an early value has to wait
    status = resolution.resolve(status, value.identity, exporter.generation, now)
    return with_receipt(SETTLEMENT, exporter, status, value)


def _counting_since(exporter: Exporter, status: Status, schedule: schedules.Schedule, now: datetime) -> Status:
    """Slots count from now on if the schedule is new or changed, or if the exporter was suspended until now."""
    words = schedule.describe()
    resumed = not exporter.suspended and status.next_schedule_time is None
    if status.schedule == words and not resumed:
        return status
    return status.model_copy(update={"schedule": words, "schedule_since": now})


def _with_next_slot(exporter: Exporter, status: Status, schedule: schedules.Schedule, now: datetime) -> Status:
    upcoming = slots.announced(exporter, status, schedule, now)
    if status.next_schedule_time == upcoming:
        return status
    return status.model_copy(update={"next_schedule_time": upcoming})


def _claim(
    exporter: Exporter, status: Status, trigger: Trigger, run_id: str, context: Context, due: datetime | None = None
) -> tuple[Status, ActiveRun]:
    """The status with a new run that this process holds. `due` is the due time of its slot."""
    run = ActiveRun(
        id=run_id,
        trigger=trigger,
        scheduled_time=due,
        start_time=context.now,
        generation=exporter.generation,
        holder=context.holder,
        heartbeat_time=context.now,
        step="Claimed",
    )
    return status.model_copy(update={"active_run": run}), run


def _run_request(
    exporter: Exporter, status: Status, claimed: ActiveRun | None, context: Context
) -> tuple[Status, ActiveRun | None]:
    token = requested(RUN, exporter, status)
    if token is None:
        return status, claimed
    run_id = request_run_id(exporter.uid, token.identity)
    why = Reason.SUSPENDED if exporter.suspended else Reason.RUN_ACTIVE if claimed else None
    if run_id in _sent(status):
        why = Reason.ALREADY_SENT  # its receipt was lost
    if why:
        status = refuse_run(exporter, status, context.now, "Skipped", why, "The requested run did not start")
        return status, claimed
    return _claim(exporter, with_receipt(RUN, exporter, status, token), "Request", run_id, context)


def _delivering_test(
    exporter: Exporter, status: Status, claimed: ActiveRun | None, context: Context
) -> tuple[Status, ActiveRun | None]:
    """Claim a test that e-mails people: it has the journal of a run. It waits while another run is active."""
    token = requested(TEST, exporter, status)
    if token is None or claimed or not wants_delivery(exporter):
        return status, claimed
    run_id = test_run_id(exporter.uid, token.identity)
    if run_id in _sent(status):  # its receipt was lost
        return refuse_test(exporter, status, context.now, Reason.ALREADY_SENT), claimed
    return _claim(exporter, with_receipt(TEST, exporter, status, token), "Test", run_id, context)


def _sent(status: Status) -> set[str]:
    """The ids of runs that were sent, or may have been. An older CRD drops `sentRuns`, but not the entries."""
    return {*(status.sent_runs or []), *(entry.id for entry in status.entries if entry.send_time)}
