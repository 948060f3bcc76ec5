"""A run that ended as Unknown, and how its outcome becomes known after all.

There are two sources: a person who looked in Qualtrics and reports the outcome with an annotation, and Qualtrics' list
of distributions, which may lag longer than the look-up of the run waits. Both change the entry of the run, and what the
status says about it elsewhere. Neither ever sends anything, and no slot waits for them.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.delivery_figures import is_id, next_mark
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import HISTORY_LENGTH, HistoryEntry, Result, Settlement, Status, timestamp

MARKS = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""When to look, after the send. The next look follows from the entry alone: a restart neither repeats nor skips it."""
GIVEN_UP = timedelta(days=7)
"""How long after the send a look that fails is not retried any more: by then nobody fixes the cause."""

# Strict, because the status shows values that match: an id of a run, an id of Qualtrics, and a time. Each value acts
# once, so the time makes it possible to report the same again.
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_VALUE = re.compile(rf"(?P<run>[a-z2-7]{{20}})=(?P<outcome>Sent|NotSent|EMD_[A-Za-z0-9]{{1,64}})(@{_TIME})?")


@dataclass(frozen=True, slots=True)
class OutcomeReport:
    """The report of a person about a run: whether it was sent, and perhaps as which distribution."""

    run: str
    sent: bool
    distribution_id: str | None = None


def understood(value: str) -> OutcomeReport | None:
    """The report in the value of the annotation; None if it cannot be parsed."""
    match = _VALUE.fullmatch(value)
    if match is None:
        return None
    outcome = match["outcome"]
    return OutcomeReport(match["run"], outcome != "NotSent", outcome if outcome.startswith("EMD_") else None)


def unknown_entries(status: Status) -> list[HistoryEntry]:
    """The entries whose outcome is unknown, newest first; the last test, if it is one, at the end."""
    return [entry for entry in status.entries if entry.result == "Unknown"]


def reportable(status: Status) -> list[HistoryEntry]:
    """The entries whose outcome a person can report: unknown ones, and those of an earlier report, to correct it."""
    return [entry for entry in status.entries if entry.result == "Unknown" or is_reported(entry)]


def is_reported(entry: HistoryEntry) -> bool:
    """Whether only the report of a person says how this ended."""
    return entry.reason in (Reason.SETTLED_AS_SENT, Reason.SETTLED_AS_NOT_SENT)


def in_doubt(status: Status) -> list[HistoryEntry]:
    """The entries that Qualtrics may still show as sent, in the same order: a report of "not sent" may be too early."""
    return [entry for entry in status.entries if entry.result == "Unknown" or reported_not_sent(entry)]


def reported_not_sent(entry: HistoryEntry) -> bool:
    """Whether only the report of a person says that this was not sent."""
    return entry.result == "Failed" and entry.reason == Reason.SETTLED_AS_NOT_SENT


def with_last_test(status: Status, entry: HistoryEntry) -> Status:
    """The status with that last test. If the outcome of the previous test is in doubt, that moves into the history.

    The next test can follow within seconds, so nobody may have had the time to report its outcome.
    """
    before = status.last_test
    doubted = before is not None and before.id != entry.id and any(e is before for e in in_doubt(status))
    status = status.model_copy(update={"last_test": entry})
    if not doubted or before is None:
        return status
    older = [e for e in status.history or [] if e.completion_time <= before.completion_time]
    newer = [e for e in status.history or [] if e.completion_time > before.completion_time]
    return status.model_copy(update={"history": [*newer, before, *older][:HISTORY_LENGTH]})


def resolve(status: Status, value: str, generation: int, now: datetime) -> Status:
    """The status after the report of a person: the outcome of the run, or why the operator cannot use the report."""
    report = understood(value)
    if report is None:
        return _refused(status, "Its value is not understood.", now)
    entry = next((e for e in reportable(status) if e.id == report.run), None)
    if entry is None:
        other = next((e for e in status.entries if e.id == report.run), None)
        if other:
            return _refused(status, f"Run {report.run} ended as {other.result}, not as Unknown.", now)
        return _refused(status, f"There is no entry of a run {report.run}.", now)
    reason = Reason.SETTLED_AS_SENT if report.sent else Reason.SETTLED_AS_NOT_SENT
    message = _message(entry, reason, report.distribution_id)
    result: Result = "Succeeded" if report.sent else "Failed"
    look = next_look(entry.model_copy(update={"result": result, "reason": reason}), now)
    if look and (look > now or is_reported(entry)):  # an earlier report of "sent" has ended the looks
        when = f"at {timestamp(look)} (UTC)" if look > now else "now"
        message += f" But the operator's next look is due {when}: better wait for that."
    status = _known(status, entry, result, reason, message, report.distribution_id, generation, now)
    return _with_settlement(status, reason, f"Run {report.run}: {message}", now)


def next_look(entry: HistoryEntry, now: datetime) -> datetime | None:
    """When to ask Qualtrics again whether it has the distribution; None if never."""
    if not (entry.result == "Unknown" or reported_not_sent(entry)):
        return None
    if not (entry.batch_id and is_id(entry.survey_id) and entry.send_time):
        return None
    return look_after(entry, entry.looked_for_time, now)


def look_after(entry: HistoryEntry, after: datetime | None, now: datetime) -> datetime | None:
    """The first time after `after` at which to look for the entry."""
    return next_mark(MARKS, entry.send_time or entry.completion_time, after, now)


def looked_for(
    status: Status, entry: HistoryEntry, distribution_id: str | None, generation: int, now: datetime
) -> Status | None:
    """The status after a look for that entry; None if a person has reported it as sent meanwhile."""
    same = (e for e in in_doubt(status) if (e.id, e.completion_time) == (entry.id, entry.completion_time))
    if (current := next(same, None)) is None:
        return None
    if distribution_id is None:
        return _replaced(status, current, current.model_copy(update={"looked_for_time": now}))
    message = _message(current, Reason.FOUND_LATER, distribution_id)
    if reported_not_sent(current):
        message += (
            " A person had said that it was not sent: if a run was requested since, its people may have been mailed "
            "twice."
        )
    return _known(status, current, "Succeeded", Reason.FOUND_LATER, message, distribution_id, generation, now)


def _message(entry: HistoryEntry, reason: Reason, distribution_id: str | None) -> str:
    when = f" at {timestamp(entry.send_time)} (UTC)" if entry.send_time else ""
    which = f" It is distribution {distribution_id}." if distribution_id else ""
    next_step = reason.next_step
    if next_step and entry.trigger == "Test":
        next_step = "Request the test again with a new token."
    asked = f"It was asked for{when}, for batch {entry.batch_id}."
    return f"{reason.meaning} {asked}{which} {next_step}".rstrip()


def _known(
    status: Status,
    entry: HistoryEntry,
    result: Result,
    reason: Reason,
    message: str,
    distribution_id: str | None,
    generation: int,
    now: datetime,
) -> Status:
    """The status when the outcome of that entry is known. The entry keeps its place and its times."""
    looked = (
        entry.looked_for_time if result == "Failed" else None
    )  # the operator still looks for an entry that was reported as not sent
    update = {"result": result, "reason": str(reason), "message": message, "looked_for_time": looked}
    fresh = entry.model_copy(update={**update, "distribution_id": distribution_id, "delivery": None})
    shown = conditions.newest_run(status) is entry or conditions.is_about(status, entry)
    status = _replaced(status, entry, fresh)
    if entry.trigger == "Test":
        return status
    last = status.last_successful_time
    if result == "Succeeded":
        last = max(last or entry.completion_time, entry.completion_time)
    elif last == entry.completion_time:  # set by an earlier report, which was wrong
        ended = (e.completion_time for e in status.history or [] if e.result == "Succeeded" and e.trigger != "Test")
        last = max(ended, default=None)
    status = status.model_copy(update={"last_successful_time": last})
    return conditions.last_run(status, fresh, generation, now) if shown else status


def _replaced(status: Status, old: HistoryEntry, new: HistoryEntry) -> Status:
    if old is status.last_test:
        return status.model_copy(update={"last_test": new})
    return status.model_copy(update={"history": [new if entry is old else entry for entry in status.history or []]})


def _refused(status: Status, why: str, now: datetime) -> Status:
    reason = Reason.SETTLEMENT_REFUSED
    return _with_settlement(status, reason, f"{reason.meaning} {why} {reason.next_step}", now)


def _with_settlement(status: Status, reason: Reason, message: str, now: datetime) -> Status:
    settlement = Settlement(handled_time=now, reason=str(reason), message=message)
    return status.model_copy(update={"last_settlement": settlement})
