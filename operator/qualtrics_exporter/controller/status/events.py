"""Which Events a change of status causes: one for each change of state, recoveries included."""

from qualtrics_exporter.controller.kube.event_recorder import EventToRecord
from qualtrics_exporter.controller.status import conditions, resolution
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Kind, Reason
from qualtrics_exporter.resource.status import Condition, HistoryEntry, Result, Status, StatusWarning

_ACTIONS: dict[str, str] = {
    Reason.FOUND_LATER: "LookUp",
    Reason.SETTLED_AS_SENT: "Settle",
    Reason.SETTLED_AS_NOT_SENT: "Settle",
}
_OUTCOMES: tuple[Result, ...] = ("Succeeded", "Failed")


def new_entries(before: Status, after: Status) -> list[HistoryEntry]:
    """What ended between two states, oldest first."""
    # A test whose result is Unknown moves into the history when another test follows.
    known = {(entry.id, entry.completion_time, entry.result) for entry in before.entries}
    # An entry whose Unknown result becomes known is not new: its changed reason has an Event.
    known |= {(id_, time, result) for id_, time, was in known if was == "Unknown" for result in _OUTCOMES}
    reported = [e for e in before.entries if resolution.is_reported(e)]  # another report, or a look-up, may correct it
    known |= {(e.id, e.completion_time, result) for e in reported for result in _OUTCOMES}
    fresh = [e for e in after.history or [] if (e.id, e.completion_time, e.result) not in known]
    return fresh[::-1]


def events(before: Exporter, after: Exporter) -> list[EventToRecord]:
    old, new = before.status, after.status
    found = [_ended(entry, "Run") for entry in new_entries(old, new) if _deserves_event(entry, new)]
    found += [_ended(now, _ACTIONS.get(now.reason, "Delivery"), earlier) for earlier, now in _other_reason(old, new)]
    found += [_stopped(entry) for entry in _without_figures(old, new)]
    if new.last_test and not (old.last_test and _same_result(old.last_test, new.last_test)):
        same = old.last_test if old.last_test and old.last_test.id == new.last_test.id else None
        found.append(_ended(new.last_test, "Test", same))
    return (
        found
        + _settlement(old, new, after.uid)
        + _new_warnings(old, new, after.uid)
        + _readiness(old.condition(conditions.READY), new.condition(conditions.READY), after.uid)
    )


def _same_result(one: HistoryEntry, other: HistoryEntry) -> bool:
    """Whether the two differ at most in the time of the last look-up."""
    return one == other.model_copy(update={"looked_for_time": one.looked_for_time})


def _settlement(old: Status, new: Status, uid: str) -> list[EventToRecord]:
    """A settlement that was refused. For any other, the changed entry has an Event."""
    settlement, receipt = new.last_settlement, new.last_handled_settlement
    if settlement is None or settlement.reason != Reason.SETTLEMENT_REFUSED:
        return []
    if (settlement, receipt) == (old.last_settlement, old.last_handled_settlement):
        return []
    moment = f"{uid} {receipt} {settlement.handled_time.isoformat()}"
    return [EventToRecord("Warning", settlement.reason, settlement.message, "Settle", moment)]


def _deserves_event(entry: HistoryEntry, status: Status) -> bool:
    """Whether the entry has an Event. Scheduled runs that keep ending in the same way have one Event.

    Requested runs always have one, because somebody waits for the result. So do Unknown results, because a person has
    to look each time.
    """
    if entry.trigger != "Schedule" or entry.result == "Unknown":
        return True
    older = (status.history or [])[(status.history or []).index(entry) + 1 :]
    before = next((e for e in older if e.trigger == "Schedule"), None)
    return before is None or (before.result, before.reason) != (entry.result, entry.reason)


def _ended(entry: HistoryEntry, action: str, earlier: HistoryEntry | None = None) -> EventToRecord:
    """How it ended; `earlier` is the entry before the change."""
    fine = entry.result in ("Succeeded", "DryRun") and _kind(entry.reason) is Kind.NOTE
    if earlier and resolution.reported_not_sent(earlier):
        fine = False  # relying on that, somebody may have requested another run
    return EventToRecord(
        type="Normal" if fine else "Warning",
        reason=entry.reason,
        note=f"{entry.result}: {entry.message}",
        action=action,
        dedup=f"{entry.id} {entry.result} {entry.reason} {entry.completion_time.isoformat()}"
        + _correction(entry, earlier),
    )


def _correction(entry: HistoryEntry, earlier: HistoryEntry | None) -> str:
    """What distinguishes the Events of one report after the other about the same run; empty if nothing is corrected."""
    if earlier is None or not resolution.is_reported(earlier):
        return ""
    return f" {earlier.reason} {earlier.distribution_id} {entry.distribution_id}"


def _other_reason(old: Status, new: Status) -> list[tuple[HistoryEntry, HistoryEntry]]:
    """The entries whose reason or distribution changed, before and after the change."""
    before = {(entry.id, entry.completion_time): entry for entry in old.history or []}
    pairs = [(before.get((e.id, e.completion_time), e), e) for e in new.history or []]
    return [
        (earlier, now)
        for earlier, now in pairs
        if (earlier.reason, earlier.distribution_id) != (now.reason, now.distribution_id)
    ]


def _without_figures(old: Status, new: Status) -> list[HistoryEntry]:
    """The entries whose delivery figures are no longer read since this change."""
    before = {(e.id, e.completion_time) for e in old.history or [] if e.delivery and e.delivery.stopped_reason}
    stopped = [e for e in new.history or [] if e.delivery and e.delivery.stopped_reason]
    return [entry for entry in stopped if (entry.id, entry.completion_time) not in before]


def _stopped(entry: HistoryEntry) -> EventToRecord:
    reason = (entry.delivery.stopped_reason if entry.delivery else None) or ""
    known = next((one for one in Reason if one == reason), None)
    meaning = f" {known.meaning} {known.next_step}".rstrip() if known else ""
    return EventToRecord(
        type="Warning",
        reason=reason,
        note=f"The delivery figures of run {entry.id} could not be read, and are not asked for again.{meaning}",
        action="Delivery",
        dedup=f"{entry.id} figures {reason} {entry.completion_time.isoformat()}"
        + (f" {entry.distribution_id}" if resolution.is_reported(entry) else ""),
    )


def _new_warnings(old: Status, new: Status, uid: str) -> list[EventToRecord]:
    """An Event for each warning that the check before did not find. A CRD without `warnings` drops them: no Events."""
    known = old.warnings or []
    return [
        EventToRecord(
            type="Warning",
            reason=warning.reason,
            note=_note(warning),
            action="Check",
            dedup=f"{uid} {warning.reason} {new.observed_generation} {warning.message}",
        )
        for warning in new.warnings or []
        if warning not in known
    ]


def _note(warning: StatusWarning) -> str:
    if warning.reason == Reason.QUERY_NOT_COMPARED:
        return warning.message  # it holds all runs
    return f"{warning.message} (it stops nothing)"


def _readiness(earlier: Condition | None, now: Condition | None, uid: str) -> list[EventToRecord]:
    if now is None or now.status == "Unknown":
        return []
    if earlier and (earlier.status, earlier.reason) == (now.status, now.reason):
        return []
    moment = f"{uid} {now.reason} {now.observed_generation} {now.last_transition_time.isoformat()}"
    if now.status == "True":
        recovered = earlier is not None and earlier.status == "False"
        reason = str(Reason.RECOVERED) if recovered else now.reason
        return [EventToRecord("Normal", reason, now.message, "Check", f"{reason} {moment}")]
    return [EventToRecord("Warning", now.reason, now.message, "Check", moment)]


def _kind(reason: str) -> Kind:
    return next((known.kind for known in Reason if known == reason), Kind.WARNING)
