"""When a run is orphaned, and what happens to it then."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.plan.deadlines import starting_deadline
from qualtrics_exporter.controller.status import conditions, resolution
from qualtrics_exporter.export.run_ids import slot_run_id
from qualtrics_exporter.export.sample import everybody, with_group
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import (
    SENT_RUNS,
    ActiveRun,
    HistoryEntry,
    SampledGroup,
    Status,
    entry_of,
    timestamp,
)

ABANDONED = timedelta(minutes=5)
"""A run of another process that has not moved for this time is orphaned: its heartbeat comes every minute. If that is
wrong, because its holder cannot reach the API server, the holder loses the run at its next write.
"""

_KEPT = (
    "id", "trigger", "scheduledTime", "startTime", "surveyId", "batchId", "distributionId", "sendTime",
)  # fmt: skip


def take_over(exporter: Exporter, status: Status, run: ActiveRun, context: Context) -> tuple[Status, ActiveRun | None]:
    """Resume a run with a new holder. If the old holder comes back, it loses the run at its next write.

    Before `Sending` nothing was sent: the run starts again, unless no operator was leading for so long that the survey
    would arrive too late. After a refused send nothing was sent either: the run continues there with the same batch.
    From `Sending` on, a run is always brought to its end, however late it is.
    """
    if run.before_send:
        # A holder with a recent heartbeat may have waited for hours, for a rate limit or an import: that is not late.
        alive = run.heartbeat_time or run.start_time
        late = context.lateness(alive if alive <= context.now else run.start_time)
        if run.trigger != "Test" and late > starting_deadline(exporter.spec):
            message = (
                f"The run was interrupted before it sent anything, and could not start again in time. "
                f"{Reason.DEADLINE_EXCEEDED.next_step} Nobody was mailed."
            )
            entry = entry_of(run, "Missed", Reason.DEADLINE_EXCEEDED, message, context.now)
            status = status.model_copy(update={"active_run": None}).with_entry(entry)
            return conditions.last_run(status, entry, exporter.generation, context.now), None
        if run.step != "Sending":
            run = run.model_copy(update={"step": "Claimed", "generation": exporter.generation, "batch_id": None})
    run = run.model_copy(update={"holder": context.holder, "attempt": run.attempt + 1, "heartbeat_time": context.now})
    return status.model_copy(update={"active_run": run}), run


def end_unreadable(exporter: Exporter, status: Status, now: datetime) -> Status:
    """The status with an entry for a run whose journal this version cannot read.

    Another version or a tool wrote it. The run cannot be resumed, but it must not vanish: it may have been sent.
    """
    if (run := exporter.unreadable_run) is None:
        return status
    before_send = run.get("step") in ("Claimed", "Importing")
    reason = Reason.INTERNAL_ERROR if before_send else Reason.DELIVERY_UNKNOWN
    certainly = "Nobody was mailed." if before_send else "It is not known whether the survey was sent."
    known: dict[str, Any] = {
        **_identity_of(exporter, status, run, now),
        "completionTime": now,
        "result": "Failed" if before_send else "Unknown",
        "reason": str(reason),
        "message": f"The journal of this run cannot be understood, so it was ended. {certainly} {reason.next_step}",
    }
    for name in _KEPT:
        if name in run:
            with suppress(ValidationError):
                HistoryEntry.model_validate({**known, name: run[name]})
                known[name] = run[name]
    entry = HistoryEntry.model_validate(known)
    if before_send:
        entry = entry.model_copy(update={"send_time": None})
    else:
        send_time = entry.send_time
        entry = entry.model_copy(update={"send_time": send_time or entry.start_time or now})
        status = status.model_copy(update={"sent_runs": [entry.id, *(status.sent_runs or [])][:SENT_RUNS]})
        if entry.trigger != "Test":
            # Without a group or a time in the journal, everybody counts as surveyed, now.
            group = everybody(entry.id, entry.scheduled_time or now)
            with suppress(ValidationError):
                group = SampledGroup.model_validate(run.get("sampledGroup"))
            sent = group.model_copy(update={"send_time": send_time or now})
            status = status.model_copy(update={"sampled_groups": with_group(status.sampled_groups, sent)})
    if entry.trigger == "Test":
        return resolution.with_last_test(status, entry)
    return conditions.last_run(status.with_entry(entry), entry, exporter.generation, now)


def _identity_of(exporter: Exporter, status: Status, run: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The id and the trigger for the entry of an unreadable run.

    The newest claimed slot is the slot of the run, unless that slot has an entry.
    """
    ended = {*(entry.id for entry in status.history or []), *(status.sent_runs or [])}
    newest = next((slot for slot in status.claimed_slots or [] if slot.due_time == status.last_schedule_time), None)
    if newest and run.get("trigger") not in ("Request", "Test"):
        id_ = slot_run_id(exporter.uid, newest.identity)
        if id_ not in ended and run.get("id") in (None, id_):
            return {"id": id_, "trigger": "Schedule", "scheduledTime": newest.due_time}
    return {"id": slot_run_id(exporter.uid, f"unreadable {timestamp(now)}"), "trigger": "Request"}
