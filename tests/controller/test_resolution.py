"""How the outcome of an Unknown run becomes known: a user reports it, or the operator finds it in Qualtrics.

A user reports an outcome with the annotation `settle-run`.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from qualtrics_exporter.controller.kube.event_recorder import EventToRecord, cut
from qualtrics_exporter.controller.plan.next_status import finished
from qualtrics_exporter.controller.plan.requests import SETTLEMENT, requested
from qualtrics_exporter.controller.plan.wake import next_wake
from qualtrics_exporter.controller.status import conditions, delivery_figures, events, resolution
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.messages import unknown_message
from qualtrics_exporter.export.run_ids import request_run_id, settlement_id
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, Delivery, HistoryEntry, Result, Status, Trigger, entry_of
from qualtrics_exporter.telemetry.redact import redact
from tests.controller.exporters import ZONE, at, exporter, initial_status, planned
from tests.controller.test_plan import checked

MONDAY = at("2026-11-23 12:00")
SENT_AT = MONDAY + timedelta(minutes=10)
ENDED_AT = SENT_AT + timedelta(minutes=2)
EVENTUALLY = SENT_AT + timedelta(days=365)
LATER = MONDAY + timedelta(minutes=15)
UID = exporter().uid
RUN = request_run_id(UID, "first")


def run(trigger: Trigger = "Request", name: str = RUN) -> ActiveRun:
    return ActiveRun(
        id=name, trigger=trigger, start_time=MONDAY, generation=1, holder="me", step="Sending", send_time=SENT_AT,
        survey_id="SV_teamsRollout01", batch_id="BT_1", recipients=6,
    )  # fmt: skip


def unknown(trigger: Trigger = "Request", name: str = RUN) -> HistoryEntry:
    """The entry of a run that ended as Unknown."""
    sent = run(trigger, name)
    return entry_of(sent, "Unknown", Reason.DELIVERY_UNKNOWN, unknown_message(sent, "there was no answer"), ENDED_AT)


def after_unknown(trigger: Trigger = "Request", **options: Any) -> Status:
    """The status of an exporter whose last run, or test, ended as Unknown."""
    ready = exporter(checked(Verdict(), **options).status, **options)
    running = exporter(ready.status.model_copy(update={"active_run": run(trigger)}), **options)
    return finished(running, Ended(unknown(trigger)), ENDED_AT, ZONE)


def after_report(value: str, status: Status | None = None, now: datetime = LATER, **options: Any) -> Status:
    """The status after the operator has handled this value of `settle-run`."""
    with_annotation = exporter(status or after_unknown(**options), annotations={"settle-run": value}, **options)
    plan = planned(with_annotation, now)
    assert plan.claimed is None
    return plan.status


def last_run(status: Status) -> tuple[str, str]:
    condition = status.condition("LastRunSucceeded")
    assert condition
    return condition.status, condition.reason


def new_events(before: Status, after: Status) -> list[EventToRecord]:
    assert events.new_entries(before, after) == []  # no new entry, so metrics do not count another run
    return events.events(exporter(before), exporter(after))


def newest(status: Status) -> HistoryEntry:
    return (status.history or [])[0]


# Reports of users


def test_report_of_sent_turns_an_unknown_run_into_a_success() -> None:
    before = after_unknown()
    assert last_run(before) == ("Unknown", "DeliveryUnknown")
    status = after_report(f"{RUN}=Sent", before)
    (entry,) = status.history or []
    assert (entry.result, entry.reason, entry.distribution_id) == ("Succeeded", "SettledAsSent", None)
    assert (entry.completion_time, entry.send_time, entry.batch_id) == (ENDED_AT, SENT_AT, "BT_1")
    assert status.last_successful_time == ENDED_AT
    assert last_run(status) == ("True", "SettledAsSent")
    (event,) = new_events(before, status)
    assert (event.type, event.reason, event.action) == ("Normal", "SettledAsSent", "Settle")


def test_report_of_not_sent_turns_an_unknown_run_into_a_failure_that_says_how_to_send_it() -> None:
    before = after_unknown()
    status = after_report(f"{RUN}=NotSent", before)
    (entry,) = status.history or []
    assert (entry.result, entry.reason) == ("Failed", "SettledAsNotSent")
    assert "Request a run if the survey should still go out." in entry.message
    assert status.last_successful_time is None
    assert last_run(status) == ("False", "SettledAsNotSent")
    (event,) = new_events(before, status)
    assert (event.type, event.reason) == ("Warning", "SettledAsNotSent")


def test_report_with_a_distribution_id_starts_the_reads_of_its_figures() -> None:
    status = after_report(f"{RUN}=EMD_0123456789abcde")
    entry = newest(status)
    assert (entry.result, entry.distribution_id) == ("Succeeded", "EMD_0123456789abcde")
    assert "EMD_0123456789abcde" in entry.message
    assert delivery_figures.next_read(entry, EVENTUALLY) == SENT_AT + timedelta(minutes=2)
    assert next_wake(exporter(status), LATER, ZONE).at <= LATER
    assert delivery_figures.next_read(newest(after_report(f"{RUN}=Sent")), EVENTUALLY) is None


@pytest.mark.parametrize("outcome", ["Sent", "NotSent", "EMD_1"])
def test_report_sends_nothing_and_moves_no_slot(outcome: str) -> None:
    before = after_unknown()
    status = after_report(f"{RUN}={outcome}", before)
    assert status.active_run is None
    assert status.next_schedule_time == before.next_schedule_time
    assert status.last_schedule_time == before.last_schedule_time


def test_result_of_a_report_is_stored_with_its_receipt() -> None:
    status = after_report(f"{RUN}=Sent")
    assert status.last_handled_settlement == f"{RUN}=Sent"
    assert status.last_settlement
    assert (status.last_settlement.reason, status.last_settlement.handled_time) == ("SettledAsSent", LATER)
    assert RUN in status.last_settlement.message


def test_report_of_sent_does_not_replace_a_later_last_successful_time() -> None:
    before = after_unknown().model_copy(update={"last_successful_time": LATER})
    assert after_report(f"{RUN}=Sent", before).last_successful_time == LATER


def test_report_does_not_change_last_run_succeeded_if_another_run_followed() -> None:
    later = unknown(name=request_run_id(UID, "second")).model_copy(update={"result": "Failed", "reason": "RateLimited"})
    before = conditions.last_run(after_unknown().with_entry(later), later, 1, ENDED_AT)
    status = after_report(f"{RUN}=Sent", before)
    assert [entry.result for entry in status.history or []] == ["Failed", "Succeeded"]
    assert last_run(status) == ("False", "RateLimited")


def test_report_does_not_change_last_run_succeeded_if_another_unknown_run_followed() -> None:
    later = unknown(name=request_run_id(UID, "second"))
    before = conditions.last_run(after_unknown().with_entry(later), later, 1, ENDED_AT)
    status = after_report(f"{RUN}=Sent", before)
    assert [entry.result for entry in status.history or []] == ["Unknown", "Succeeded"]
    assert last_run(status) == ("Unknown", "DeliveryUnknown")


def test_report_updates_last_run_succeeded_if_only_a_skipped_slot_followed() -> None:
    skipped = unknown(name=request_run_id(UID, "second")).model_copy(update={"result": "Skipped"})
    assert last_run(after_report(f"{RUN}=Sent", after_unknown().with_entry(skipped)))[0] == "True"


def test_report_updates_last_run_succeeded_if_the_newer_entry_never_set_it() -> None:
    invalid: dict[str, Any] = {"frequency": "Fortnightly"}
    requested_run = exporter(after_unknown(), annotations={"run-requested-at": "second"}, **invalid)
    before = planned(requested_run, LATER).status
    assert newest(before).reason == "SpecInvalid"
    assert last_run(before) == ("Unknown", "DeliveryUnknown")
    found = exporter(before, annotations={"settle-run": f"{RUN}=Sent"}, **invalid)
    assert last_run(planned(found, LATER).status) == ("True", "SettledAsSent")


@pytest.mark.parametrize("options", [{"suspend": True}, {"frequency": "Fortnightly"}], ids=["suspended", "invalid"])
def test_report_is_handled_on_a_suspended_or_invalid_exporter(options: dict[str, Any]) -> None:
    found = exporter(after_unknown(), annotations={"settle-run": f"{RUN}=NotSent"}, **options)
    assert next_wake(found, LATER, ZONE).at <= LATER
    status = planned(found, LATER).status
    assert [entry.reason for entry in status.history or []] == ["SettledAsNotSent"]
    assert requested(SETTLEMENT, exporter(status, annotations={"settle-run": f"{RUN}=NotSent"}, **options)) is None


def test_report_resolves_an_unknown_delivering_test_in_last_test() -> None:
    before = after_unknown("Test")
    assert not before.history
    status = after_report(f"{RUN}=NotSent", before)
    assert status.last_test
    assert (status.last_test.result, status.last_test.reason) == ("Failed", "SettledAsNotSent")
    assert "Request the test again" in status.last_test.message
    assert last_run(status) == last_run(before)
    assert [event.action for event in new_events(before, status)] == ["Test"]
    assert after_report(f"{RUN}=Sent", before).last_successful_time is None


def test_exporter_with_a_new_report_wakes_at_once() -> None:
    waiting = exporter(after_unknown())
    assert next_wake(waiting, ENDED_AT, ZONE).at > ENDED_AT
    found = exporter(waiting.status, annotations={"settle-run": f"{RUN}=Sent"})
    assert next_wake(found, ENDED_AT, ZONE).at <= ENDED_AT
    handled = exporter(after_report(f"{RUN}=Sent"), annotations={"settle-run": f"{RUN}=Sent"})
    assert next_wake(handled, ENDED_AT, ZONE).at > ENDED_AT


def test_report_and_claim_are_written_in_one_status() -> None:
    both = {"settle-run": f"{RUN}=NotSent", "run-requested-at": "second"}
    plan = planned(exporter(after_unknown(), annotations=both), LATER)
    assert plan.claimed
    assert newest(plan.status).reason == "SettledAsNotSent"
    assert plan.status.active_run == plan.claimed


def test_report_on_an_active_run_waits_for_its_end() -> None:
    running = initial_status(MONDAY).model_copy(update={"active_run": run()})
    status = after_report(f"{RUN}=Sent", running)
    assert status.last_handled_settlement is None
    assert status.last_settlement is None
    ended = finished(exporter(status), Ended(unknown()), ENDED_AT, ZONE)
    assert newest(after_report(f"{RUN}=Sent", ended)).reason == "SettledAsSent"


# Reports act once


def test_report_on_a_new_exporter_counts_as_handled() -> None:
    status = planned(exporter(annotations={"settle-run": f"{RUN}=Sent"}), MONDAY).status
    assert status.last_handled_settlement == f"{RUN}=Sent"
    assert status.last_settlement is None
    assert events.events(exporter(), exporter(status)) == []


def test_report_acts_once() -> None:
    status = after_report(f"{RUN}=Sent")
    assert after_report(f"{RUN}=Sent", status, LATER + timedelta(minutes=1)) == status


def test_report_that_git_restores_does_not_act_again() -> None:
    status = after_report(f"{RUN}=NotSent", after_report(f"{RUN}=Sent"))
    again = after_report(f"{RUN}=Sent", status, LATER + timedelta(minutes=1))
    assert again == status
    assert settlement_id(UID, f"{RUN}=Sent") in (status.handled_requests or [])


# Corrected reports


def test_distribution_id_of_a_report_can_be_corrected() -> None:
    wrong = after_report(f"{RUN}=EMD_wrong")
    stopped = delivery_figures.given_up(newest(wrong), Reason.DISTRIBUTION_NOT_FOUND)
    assert delivery_figures.next_read(stopped, EVENTUALLY) is None
    status = after_report(f"{RUN}=EMD_right", wrong.model_copy(update={"history": [stopped]}))
    assert (newest(status).result, newest(status).distribution_id) == ("Succeeded", "EMD_right")
    assert newest(status).delivery is None
    assert delivery_figures.next_read(newest(status), EVENTUALLY) == SENT_AT + timedelta(minutes=2)
    assert status.last_settlement
    assert "EMD_right" in status.last_settlement.message


def test_report_of_sent_can_be_corrected_to_not_sent() -> None:
    before = after_report(f"{RUN}=Sent")
    status = after_report(f"{RUN}=NotSent", before)
    assert (newest(status).result, newest(status).reason) == ("Failed", "SettledAsNotSent")
    assert status.last_successful_time is None
    assert last_run(status) == ("False", "SettledAsNotSent")
    assert resolution.next_look(newest(status), EVENTUALLY) == SENT_AT + timedelta(minutes=10)
    (event,) = new_events(before, status)
    assert (event.type, event.reason) == ("Warning", "SettledAsNotSent")


def test_same_report_acts_again_with_a_time() -> None:
    status = after_unknown()
    for value in ("Sent", "NotSent", "Sent@2026-11-23T13:00:00Z"):
        status = after_report(f"{RUN}={value}", status)
    assert (newest(status).reason, newest(status).distribution_id) == ("SettledAsSent", None)
    assert status.last_handled_settlement == f"{RUN}=Sent@2026-11-23T13:00:00Z"


def test_correction_to_not_sent_announces_the_next_look_up() -> None:
    """The report of "sent" has ended the look-ups, and they begin again."""
    before = after_report(f"{RUN}=Sent")
    early = newest(after_report(f"{RUN}=NotSent", before, SENT_AT + timedelta(minutes=5)))
    assert "next look is due at 2026-11-23T12:20:00Z (UTC): better wait" in early.message
    assert (
        "next look is due now: better wait"
        in newest(after_report(f"{RUN}=NotSent", before, SENT_AT + timedelta(minutes=11))).message
    )


def test_each_report_about_a_run_creates_an_event_of_its_own() -> None:
    """The API server keeps one Event of each name."""
    statuses = [after_unknown()]
    for value in ("Sent", "NotSent", "EMD_1", "EMD_2"):
        statuses.append(after_report(f"{RUN}={value}", statuses[-1]))
    found = [new_events(before, after) for before, after in pairwise(statuses)]
    assert [[(event.type, event.reason) for event in one] for one in found] == [
        [("Normal", "SettledAsSent")],
        [("Warning", "SettledAsNotSent")],
        [("Warning", "SettledAsSent")],
        [("Normal", "SettledAsSent")],
    ]
    assert len({event.dedup for one in found for event in one}) == 4


def test_each_distribution_that_qualtrics_does_not_have_creates_an_event() -> None:
    status, names = after_unknown(), set()
    for value in ("EMD_1", "EMD_2"):
        status = after_report(f"{RUN}={value}", status)
        stopped = delivery_figures.given_up(newest(status), Reason.DISTRIBUTION_NOT_FOUND)
        after = status.model_copy(update={"history": [stopped]})
        (event,) = new_events(status, after)
        names.add(event.dedup)
        status = after
    assert len(names) == 2


def test_report_that_git_restores_does_not_undo_a_correction_after_lost_receipts() -> None:
    corrected = after_report(f"{RUN}=Sent", after_report(f"{RUN}=NotSent"))
    lost = corrected.model_copy(update={"handled_settlements": None, "handled_requests": None})
    found = exporter(lost, annotations={"settle-run": f"{RUN}=NotSent"})
    damaged = replace(found, ignored=("status.handledSettlements",))
    assert damaged.lost_memory
    assert newest(planned(damaged, LATER).status).reason == "SettledAsSent"


def test_condition_about_another_run_stays_when_a_report_is_corrected() -> None:
    """The newest run was refused, and the one before was reported, too: the condition is about that one."""
    refused = unknown(name=request_run_id(UID, "third")).model_copy(
        update={"result": "Failed", "reason": "SpecInvalid"}
    )
    status = after_report(f"{RUN}=Sent")
    other = newest(status).model_copy(update={"id": ANOTHER, "reason": "PartlyDelivered", "message": "Another."})
    condition = status.condition("LastRunSucceeded")
    assert condition
    conditions_now = [
        condition.model_copy(update={"message": "It is about the other run."}) if c is condition else c
        for c in status.conditions or []
    ]
    before = status.model_copy(
        update={"history": [refused, other, *(status.history or [])], "conditions": conditions_now}
    )
    assert last_run(after_report(f"{RUN}=NotSent", before)) == ("True", "SettledAsSent")


def test_corrected_report_restores_the_last_successful_time() -> None:
    earlier = unknown(name=ANOTHER).model_copy(
        update={"result": "Succeeded", "completion_time": ENDED_AT - timedelta(days=7)}
    )
    reported = after_report(f"{RUN}=Sent")
    before = reported.model_copy(update={"history": [*(reported.history or []), earlier]})
    assert after_report(f"{RUN}=NotSent", before).last_successful_time == earlier.completion_time


@pytest.mark.parametrize("outcome", ["Sent", "EMD_1"])
def test_report_of_not_sent_can_be_corrected_to_sent(outcome: str) -> None:
    before = after_report(f"{RUN}=NotSent")
    status = after_report(f"{RUN}={outcome}", before)
    assert (newest(status).result, newest(status).reason) == ("Succeeded", "SettledAsSent")
    assert status.last_successful_time == ENDED_AT
    assert resolution.next_look(newest(status), EVENTUALLY) is None
    (event,) = new_events(before, status)
    assert event.type == "Warning", "relying on the first report, somebody may have requested another run"


def test_outcome_that_qualtrics_showed_cannot_be_changed_by_a_report() -> None:
    found = resolution.looked_for(after_unknown(), newest(after_unknown()), "EMD_1", 1, LATER)
    assert found
    status = after_report(f"{RUN}=NotSent", found)
    assert newest(status) == newest(found)
    assert status.last_settlement
    assert status.last_settlement.reason == "SettlementRefused"


# Refused reports

ANOTHER = request_run_id(UID, "another")


def refused_values() -> Iterator[tuple[str, str]]:
    for value in ("Sent", f"{RUN}", f"{RUN}=", f"{RUN}=sent", f"{RUN}=Sent ", f"{RUN}=Sent\n", f" {RUN}=Sent"):
        yield value, "not understood"
    for value in (f"{RUN}=EMD_", f"{RUN}=EMD_1 2", f"{RUN}=BT_1", f"{RUN.upper()}=Sent", f"{RUN}=Sent,NotSent"):
        yield value, "not understood"
    for value in (
        f"{RUN}=Sent@",
        f"{RUN}=Sent@eva",
        f"{RUN}=Sent@2026-11-23",
        "eva@example.com=Sent",
        f"{RUN}=EMD_{'x' * 5000}",
        f"{RUN}=EMD_٣",
    ):
        yield value, "not understood"
    yield f"{ANOTHER}=Sent", f"There is no entry of a run {ANOTHER}."


@pytest.mark.parametrize(("value", "explanation"), list(refused_values()))
def test_invalid_report_is_refused_in_the_status_and_in_an_event(value: str, explanation: str) -> None:
    before = after_unknown()
    status = after_report(value, before)
    receipt = {"last_handled_settlement", "handled_settlements", "handled_requests", "last_settlement"}
    assert status.model_dump(exclude=receipt) == before.model_dump(exclude=receipt)
    assert status.last_settlement
    assert status.last_settlement.reason == "SettlementRefused"
    assert explanation in status.last_settlement.message
    assert "<run id>=NotSent" in status.last_settlement.message
    assert after_report(value, status, LATER + timedelta(minutes=1)) == status
    (event,) = new_events(before, status)
    assert (event.type, event.reason, event.note) == ("Warning", "SettlementRefused", status.last_settlement.message)


@pytest.mark.parametrize(
    "value", ["eva@example.com=Sent", "x" * 5000, "Sent"], ids=["address", "long text", "outcome without a run"]
)
def test_text_of_an_invalid_report_does_not_appear_in_status_or_events(value: str) -> None:
    before = after_unknown()
    status = after_report(value, before)
    assert (status.last_handled_settlement or "").startswith("sha256:")
    assert len(status.last_handled_settlement or "") < 100
    written = status.model_dump_json() + str(new_events(before, status))
    assert value == "Sent" or value not in written
    assert "eva" not in written


@pytest.mark.parametrize("result", ["Succeeded", "Failed", "Missed", "Skipped", "Held", "DryRun"])
def test_report_on_a_known_outcome_is_refused(result: Result) -> None:
    known = after_unknown().model_copy(update={"history": [unknown().model_copy(update={"result": result})]})
    status = after_report(f"{RUN}=NotSent", known)
    assert newest(status) == newest(known)
    assert status.last_settlement
    assert f"Run {RUN} ended as {result}, not as Unknown." in status.last_settlement.message


def test_each_invalid_report_creates_an_event() -> None:
    first = after_report("sent", now=LATER)
    second = after_report("really sent", first, LATER)
    assert len(new_events(first, second)) == 1
    assert new_events(second, second) == []


# Messages


def test_unknown_message_says_where_to_look_and_how_to_report_the_outcome() -> None:
    message = unknown().message
    for fact in (
        "SV_teamsRollout01", "6 people", "BT_1", "2026-11-23T12:10:00Z (UTC)",
        f"settle-run: {RUN}=Sent or {RUN}=NotSent", "request a run", "next slot", "6 hours",
    ):  # fmt: skip
        assert fact in message
    assert "<run id>" not in message


def test_unknown_message_fits_into_an_event_and_is_not_redacted() -> None:
    message = f"Unknown: {unknown().message}"
    assert cut(redact(message)) == message


def test_values_as_shown_in_messages_are_parsed() -> None:
    assert resolution.understood(f"{RUN}=Sent") == resolution.OutcomeReport(RUN, True)
    assert resolution.understood(f"{RUN}=NotSent") == resolution.OutcomeReport(RUN, False)
    assert resolution.understood(f"{RUN}=EMD_1") == resolution.OutcomeReport(RUN, True, "EMD_1")


# Look-ups in Qualtrics


def after_look_up(status: Status, distribution_id: str | None, now: datetime = LATER) -> Status | None:
    """The status after a look-up of the newest entry, or of the last test."""
    return resolution.looked_for(status, resolution.in_doubt(status)[0], distribution_id, 1, now)


def test_unknown_run_is_looked_up_after_ten_minutes_one_hour_and_six_hours() -> None:
    status: Status | None = after_unknown()
    delays = []
    while status and (due := resolution.next_look(newest(status), EVENTUALLY)):
        assert next_wake(exporter(status), due - timedelta(seconds=1), ZONE).at == due
        delays.append(due - SENT_AT)
        before, status = status, after_look_up(status, None, due + timedelta(seconds=3))
        assert status
        assert new_events(before, status) == []
    assert delays == [timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6)]
    assert status
    assert (newest(status).result, newest(status).reason) == ("Unknown", "DeliveryUnknown")


def test_operator_that_was_down_for_days_looks_up_an_unknown_run_once() -> None:
    status = after_look_up(after_unknown(), None, SENT_AT + timedelta(days=3))
    assert status
    assert resolution.next_look(newest(status), EVENTUALLY) is None


def test_distribution_found_later_turns_an_unknown_run_into_a_success() -> None:
    before = after_unknown()
    status = after_look_up(after_look_up(before, None) or before, "EMD_1")
    assert status
    entry = newest(status)
    assert (entry.result, entry.reason, entry.distribution_id) == ("Succeeded", "FoundLater", "EMD_1")
    assert (entry.completion_time, entry.looked_for_time) == (ENDED_AT, None)
    assert status.last_successful_time == ENDED_AT
    assert last_run(status) == ("True", "FoundLater")
    assert [(event.type, event.reason) for event in new_events(before, status)] == [("Normal", "FoundLater")]
    assert resolution.next_look(entry, EVENTUALLY) is None
    assert delivery_figures.next_read(entry, EVENTUALLY) == SENT_AT + timedelta(minutes=2)


@pytest.mark.parametrize("distribution_id", [None, "EMD_1"])
@pytest.mark.parametrize("outcome", ["Sent", "EMD_2"])
def test_report_of_sent_ends_the_look_ups(outcome: str, distribution_id: str | None) -> None:
    before = after_unknown()
    status = after_report(f"{RUN}={outcome}", before)
    assert resolution.next_look(newest(status), EVENTUALLY) is None
    assert resolution.looked_for(status, newest(before), distribution_id, 1, LATER) is None


def test_report_of_not_sent_keeps_the_remaining_look_ups() -> None:
    before = after_look_up(after_unknown(), None, SENT_AT + timedelta(minutes=11))
    assert before
    status = after_report(f"{RUN}=NotSent", before, SENT_AT + timedelta(minutes=12))
    assert resolution.next_look(newest(status), EVENTUALLY) == SENT_AT + timedelta(hours=1)
    assert next_wake(exporter(status), SENT_AT + timedelta(minutes=12), ZONE).at == SENT_AT + timedelta(hours=1)
    for now in (SENT_AT + timedelta(hours=1), SENT_AT + timedelta(hours=6)):
        not_found = after_look_up(status, None, now)
        assert not_found
        assert new_events(status, not_found) == []
        assert (newest(not_found).result, newest(not_found).message) == ("Failed", newest(status).message)
        status = not_found
    assert resolution.next_look(newest(status), EVENTUALLY) is None


@pytest.mark.parametrize("trigger", ["Request", "Test"])
def test_distribution_found_after_a_report_of_not_sent_creates_a_warning(trigger: Trigger) -> None:
    before = after_report(f"{RUN}=NotSent", after_unknown(trigger))
    status = after_look_up(before, "EMD_1")
    assert status
    entry = status.last_test if trigger == "Test" else newest(status)
    assert entry
    assert (entry.result, entry.reason, entry.distribution_id) == ("Succeeded", "FoundLater", "EMD_1")
    assert "A person had said that it was not sent" in entry.message
    (event,) = new_events(before, status)
    assert (event.type, event.reason) == ("Warning", "FoundLater")
    assert "mailed twice" in cut(event.note)
    assert resolution.next_look(entry, EVENTUALLY) is None


def test_look_up_that_overlaps_with_a_report_of_not_sent_stores_the_distribution() -> None:
    before = after_unknown()
    status = resolution.looked_for(after_report(f"{RUN}=NotSent", before), newest(before), "EMD_1", 1, LATER)
    assert status
    assert newest(status).reason == "FoundLater"


def test_report_of_not_sent_announces_the_next_look_up() -> None:
    early = newest(after_report(f"{RUN}=NotSent", now=SENT_AT + timedelta(minutes=5)))
    assert "A user reported that the survey was not sent" in early.message
    assert "2026-11-23T12:20:00Z (UTC): better wait" in early.message
    assert "better wait" not in newest(after_report(f"{RUN}=NotSent", now=SENT_AT + timedelta(days=1))).message


@pytest.mark.parametrize("missing", ["batch_id", "survey_id", "send_time"])
def test_run_that_cannot_be_identified_in_the_list_is_not_looked_up(missing: str) -> None:
    assert resolution.next_look(unknown().model_copy(update={missing: None}), EVENTUALLY) is None


def test_unknown_delivering_test_is_looked_up() -> None:
    before = after_unknown("Test")
    assert next_wake(exporter(before), ENDED_AT, ZONE).at == SENT_AT + timedelta(minutes=10)
    not_found = after_look_up(before, None)
    assert not_found
    assert new_events(before, not_found) == []
    status = after_look_up(not_found, "EMD_1")
    assert status
    assert status.last_test
    assert (status.last_test.result, status.last_test.reason) == ("Succeeded", "FoundLater")
    assert len(new_events(not_found, status)) == 1


def test_figures_of_a_run_that_was_found_later_can_make_it_partly_delivered() -> None:
    status = after_look_up(after_unknown(), "EMD_1")
    assert status
    figures = Delivery(sent=6, bounced=1)
    assert delivery_figures.with_figures(newest(status), figures).reason == "PartlyDelivered"


# An Unknown test, and the next test


def after_next_test(next_id: str = "n" * 20) -> Status:
    """The status after a test that ended as Unknown, and another test right after it."""
    unknown_test = after_unknown("Test")
    following = unknown_test.model_copy(update={"active_run": run("Test", next_id)})
    later = ENDED_AT + timedelta(minutes=1)
    ended = entry_of(run("Test", next_id), "Succeeded", Reason.TEST_DELIVERED, "", later)
    status = finished(exporter(following), Ended(ended), later, ZONE)
    assert status.last_test
    assert status.last_test.id == next_id
    assert new_events(unknown_test, status)[0].reason == "TestDelivered"
    assert len(new_events(unknown_test, status)) == 1, "the Unknown test creates no second Event"
    return status


def test_unknown_test_moves_to_the_history_when_another_test_ends() -> None:
    status = after_next_test()
    assert [(e.trigger, e.id, e.result) for e in status.history or []] == [("Test", RUN, "Unknown")]
    assert last_run(status) == last_run(after_unknown("Test")), "a test does not change the condition"


def test_unknown_test_in_the_history_can_be_resolved_by_a_report() -> None:
    before = after_next_test()
    status = after_report(f"{RUN}=EMD_1", before)
    assert [(e.result, e.reason) for e in status.history or []] == [("Succeeded", "SettledAsSent")]
    assert status.last_test == before.last_test
    assert status.last_successful_time is None
    assert last_run(status) == last_run(before)
    assert delivery_figures.next_read(newest(status), EVENTUALLY) is None, "no figures are read for a test"


def test_unknown_test_in_the_history_is_looked_up() -> None:
    before = after_next_test()
    (unknown_test,) = resolution.in_doubt(before)
    status = resolution.looked_for(before, unknown_test, "EMD_1", 1, LATER)
    assert status
    assert newest(status).reason == "FoundLater"
    assert last_run(status) == last_run(before)


def test_delivering_test_with_a_known_outcome_is_replaced_by_the_next_test() -> None:
    known = after_next_test().model_copy(update={"history": None, "active_run": run("Test", "m" * 20)})
    ended = entry_of(run("Test", "m" * 20), "Succeeded", Reason.TEST_DELIVERED, "", LATER)
    assert finished(exporter(known), Ended(ended), LATER, ZONE).history is None


def test_history_with_an_unknown_test_stays_ordered_by_time() -> None:
    later = unknown(name="b" * 20).model_copy(update={"completion_time": ENDED_AT + timedelta(seconds=1)})
    earlier = unknown(name="c" * 20).model_copy(update={"completion_time": ENDED_AT - timedelta(seconds=1)})
    status = after_unknown("Test").model_copy(update={"history": [later, earlier]})
    next_test = entry_of(run("Test", "n" * 20), "Succeeded", Reason.TEST_DELIVERED, "", LATER)
    moved = resolution.with_last_test(status, next_test)
    assert [e.id for e in moved.history or []] == ["b" * 20, RUN, "c" * 20]
