"""Which Events a change of status deserves: one a change of state, recovery included, none for what stays as it is."""

import re
from dataclasses import dataclass
from typing import Literal

from qualtrics_exporter.controller.status import conditions, resolution
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Kind, Place, Reason
from qualtrics_exporter.resource.status import Condition, HistoryEntry, Result, Status


@dataclass(frozen=True, slots=True)
class EventToRecord:
    """An Event to be. `dedup` makes its name, so that the same thing told twice is one Event."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str
    action: str
    dedup: str


_LATER: dict[str, str] = {
    Reason.FOUND_LATER: "LookUp",
    Reason.SETTLED_AS_SENT: "Settle",
    Reason.SETTLED_AS_NOT_SENT: "Settle",
}
_OUTCOMES: tuple[Result, ...] = ("Succeeded", "Failed")


def new_entries(before: Status, after: Status) -> list[HistoryEntry]:
    """What ended between two states, oldest first."""
    # A test in doubt moves into the history when another one follows.
    entries = [*(before.history or []), *([before.last_test] if before.last_test else [])]
    known = {(entry.id, entry.completion_time, entry.result) for entry in entries}
    # One that was Unknown has not ended anew when its outcome becomes known: that is told as a change of its reason.
    known |= {(id_, time, result) for id_, time, was in known if was == "Unknown" for result in _OUTCOMES}
    known |= {(e.id, e.completion_time, "Succeeded") for e in entries if resolution.said_not_sent(e)}
    fresh = [e for e in after.history or [] if (e.id, e.completion_time, e.result) not in known]
    return fresh[::-1]


def events(before: Exporter, after: Exporter) -> list[EventToRecord]:
    """The Events for a change of one exporter's status."""
    old, new = before.status, after.status
    found = [_ended(entry, "Run") for entry in new_entries(old, new) if _news(entry, new)]
    found += [_ended(is_, _LATER.get(is_.reason, "Delivery"), was) for was, is_ in _other_reason(old, new)]
    found += [_stopped(entry) for entry in _without_figures(old, new)]
    if new.last_test and not (old.last_test and _same_words(old.last_test, new.last_test)):
        same = old.last_test if old.last_test and old.last_test.id == new.last_test.id else None
        found.append(_ended(new.last_test, "Test", same))
    return found + _settlement(old, new, after.uid) + _readiness(old, new, after.uid)


def _same_words(one: HistoryEntry, other: HistoryEntry) -> bool:
    """Whether nothing but a time of looking differs."""
    return one == other.model_copy(update={"looked_for_time": one.looked_for_time})


def _settlement(old: Status, new: Status, uid: str) -> list[EventToRecord]:
    """A settlement that was refused. One that was not is told by what it made of its run."""
    told, receipt = new.last_settlement, new.last_handled_settlement
    if told is None or told.reason != Reason.SETTLEMENT_REFUSED:
        return []
    if (told, receipt) == (old.last_settlement, old.last_handled_settlement):
        return []
    moment = f"{uid} {receipt} {told.handled_time.isoformat()}"
    return [EventToRecord("Warning", told.reason, told.message, "Settle", moment)]


def _news(entry: HistoryEntry, status: Status) -> bool:
    """Whether it deserves an Event: an hourly schedule that keeps ending in the same way is told once.

    Who asked for a run wants to hear of it, and what may have been sent has to be looked after each time.
    """
    if entry.trigger != "Schedule" or entry.result == "Unknown":
        return True
    older = (status.history or [])[(status.history or []).index(entry) + 1 :]
    before = next((e for e in older if e.trigger == "Schedule"), None)
    return before is None or (before.result, before.reason) != (entry.result, entry.reason)


def _ended(entry: HistoryEntry, action: str, was: HistoryEntry | None = None) -> EventToRecord:
    """How it ended; `was` is what was said of it before."""
    fine = entry.result in ("Succeeded", "DryRun") and _kind(entry.reason) is Kind.NOTE
    if was and resolution.said_not_sent(was):
        fine = False  # somebody may have requested a run, trusting in that
    return EventToRecord(
        type="Normal" if fine else "Warning",
        reason=entry.reason,
        note=f"{entry.result}: {entry.message}",
        action=action,
        dedup=f"{entry.id} {entry.result} {entry.reason} {entry.completion_time.isoformat()}",
    )


def _other_reason(old: Status, new: Status) -> list[tuple[HistoryEntry, HistoryEntry]]:
    """The entries whose reason changed, as they were and as they are."""
    before = {(entry.id, entry.completion_time): entry for entry in old.history or []}
    pairs = [(before.get((e.id, e.completion_time), e), e) for e in new.history or []]
    return [(was, is_) for was, is_ in pairs if was.reason != is_.reason]


def _without_figures(old: Status, new: Status) -> list[HistoryEntry]:
    """The entries whose delivery figures are not read any more, since this change."""
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
        dedup=f"{entry.id} figures {reason} {entry.completion_time.isoformat()}",
    )


def _readiness(old: Status, new: Status, uid: str) -> list[EventToRecord]:
    was, is_ = old.condition(conditions.READY), new.condition(conditions.READY)
    if is_ is None or is_.status == "Unknown":
        return []
    return _remarks(was, is_, uid) + _changed(was, is_, uid)


_REMARKS = tuple(reason for reason in Reason if {Place.READY, Place.EVENT} <= set(reason.places))
_REMARK = re.compile(rf"\b({'|'.join(_REMARKS)}): ")


def _remarks(was: Condition | None, is_: Condition, uid: str) -> list[EventToRecord]:
    """`Ready` tells in its message what stops nothing, as a doubtful query; each is an Event when it is new."""
    before = set(_told(was.message)) if was else set()
    return [
        EventToRecord(
            "Warning", reason, _note(reason, text), "Check", f"{uid} {reason} {is_.observed_generation} {text}"
        )
        for reason, text in _told(is_.message)
        if (reason, text) not in before
    ]


def _note(reason: str, text: str) -> str:
    return text if reason == Reason.QUERY_NOT_COMPARED else f"{text} (it stops nothing)"  # that one holds all runs


def _told(message: str) -> list[tuple[str, str]]:
    """The remarks in a message of `Ready`: conditions are all that is kept of them."""
    _, *parts = _REMARK.split(message)
    return [(reason, text.strip()) for reason, text in zip(parts[::2], parts[1::2], strict=True)]


def _changed(was: Condition | None, is_: Condition, uid: str) -> list[EventToRecord]:
    if was and (was.status, was.reason) == (is_.status, is_.reason):
        return []
    moment = f"{uid} {is_.reason} {is_.observed_generation} {is_.last_transition_time.isoformat()}"
    if is_.status == "True":
        recovered = was is not None and was.status == "False"
        reason = str(Reason.RECOVERED) if recovered else is_.reason
        return [EventToRecord("Normal", reason, is_.message, "Check", f"{reason} {moment}")]
    return [EventToRecord("Warning", is_.reason, is_.message, "Check", moment)]


def _kind(reason: str) -> Kind:
    return next((known.kind for known in Reason if known == reason), Kind.WARNING)
