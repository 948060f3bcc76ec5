"""How the outcome of a run that ended Unknown becomes known: by a person's word, or by Qualtrics' list."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from qualtrics_exporter.controller.kube.event_recorder import cut
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
from tests.controller.exporters import ZONE, at, exporter, planned, seen
from tests.controller.test_plan import looked_at

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
    """The entry of a run that ended Unknown."""
    of = run(trigger, name)
    return entry_of(of, "Unknown", Reason.DELIVERY_UNKNOWN, unknown_message(of, "there was no answer"), ENDED_AT)


def after_unknown(trigger: Trigger = "Request", **how: Any) -> Status:
    """The status of an exporter whose last run, or test, ended Unknown."""
    ready = exporter(looked_at(Verdict(), **how).status, **how)
    busy = exporter(ready.status.model_copy(update={"active_run": run(trigger)}), **how)
    return finished(busy, Ended(unknown(trigger)), ENDED_AT, ZONE)


def settled(value: str, status: Status | None = None, now: datetime = LATER, **how: Any) -> Status:
    """The status after that annotation was seen."""
    found = exporter(status or after_unknown(**how), annotations={"settle-run": value}, **how)
    plan = planned(found, now)
    assert plan.claimed is None
    return plan.status


def last_run(status: Status) -> tuple[str, str]:
    condition = status.condition("LastRunSucceeded")
    assert condition
    return condition.status, condition.reason


def told(before: Status, after: Status) -> list[events.EventToRecord]:
    assert events.new_entries(before, after) == []  # it is not counted as one more run
    return events.events(exporter(before), exporter(after))


def newest(status: Status) -> HistoryEntry:
    return (status.history or [])[0]


# A person's word


def test_what_was_sent_becomes_a_success() -> None:
    before = after_unknown()
    assert last_run(before) == ("Unknown", "DeliveryUnknown")
    status = settled(f"{RUN}=Sent", before)
    (entry,) = status.history or []
    assert (entry.result, entry.reason, entry.distribution_id) == ("Succeeded", "SettledAsSent", None)
    assert (entry.completion_time, entry.send_time, entry.batch_id) == (ENDED_AT, SENT_AT, "BT_1")
    assert status.last_successful_time == ENDED_AT
    assert last_run(status) == ("True", "SettledAsSent")
    (event,) = told(before, status)
    assert (event.type, event.reason, event.action) == ("Normal", "SettledAsSent", "Settle")


def test_what_was_not_sent_becomes_a_failure_that_says_how_to_send_it() -> None:
    before = after_unknown()
    status = settled(f"{RUN}=NotSent", before)
    (entry,) = status.history or []
    assert (entry.result, entry.reason) == ("Failed", "SettledAsNotSent")
    assert "Request a run if the survey should still go out." in entry.message
    assert status.last_successful_time is None
    assert last_run(status) == ("False", "SettledAsNotSent")
    (event,) = told(before, status)
    assert (event.type, event.reason) == ("Warning", "SettledAsNotSent")


def test_a_distribution_that_is_named_has_its_figures_read_from_then_on() -> None:
    status = settled(f"{RUN}=EMD_0123456789abcde")
    entry = newest(status)
    assert (entry.result, entry.distribution_id) == ("Succeeded", "EMD_0123456789abcde")
    assert "EMD_0123456789abcde" in entry.message
    assert delivery_figures.next_read(entry, EVENTUALLY) == SENT_AT + timedelta(minutes=2)
    assert next_wake(exporter(status), LATER, ZONE).at <= LATER
    assert delivery_figures.next_read(newest(settled(f"{RUN}=Sent")), EVENTUALLY) is None


@pytest.mark.parametrize("outcome", ["Sent", "NotSent", "EMD_1"])
def test_settling_sends_nothing_and_moves_no_slot(outcome: str) -> None:
    before = after_unknown()
    status = settled(f"{RUN}={outcome}", before)
    assert status.active_run is None
    assert status.next_schedule_time == before.next_schedule_time
    assert status.last_schedule_time == before.last_schedule_time


def test_what_became_of_a_word_is_kept_beside_its_receipt() -> None:
    status = settled(f"{RUN}=Sent")
    assert status.last_handled_settlement == f"{RUN}=Sent"
    assert status.last_settlement
    assert (status.last_settlement.reason, status.last_settlement.handled_time) == ("SettledAsSent", LATER)
    assert RUN in status.last_settlement.message


def test_a_later_success_stays_the_last_one() -> None:
    before = after_unknown().model_copy(update={"last_successful_time": LATER})
    assert settled(f"{RUN}=Sent", before).last_successful_time == LATER


def test_a_later_run_stays_the_one_that_the_condition_tells_of() -> None:
    later = unknown(name=request_run_id(UID, "second")).model_copy(update={"result": "Failed", "reason": "RateLimited"})
    before = conditions.last_run(after_unknown().with_entry(later), later, 1, ENDED_AT)
    status = settled(f"{RUN}=Sent", before)
    assert [entry.result for entry in status.history or []] == ["Failed", "Succeeded"]
    assert last_run(status) == ("False", "RateLimited")


def test_a_skipped_slot_after_it_does_not_hide_it_from_the_condition() -> None:
    skipped = unknown(name=request_run_id(UID, "second")).model_copy(update={"result": "Skipped"})
    assert last_run(settled(f"{RUN}=Sent", after_unknown().with_entry(skipped)))[0] == "True"


def test_the_condition_follows_also_where_a_newer_entry_never_showed_in_it() -> None:
    refused: dict[str, Any] = {"frequency": "Fortnightly"}
    asked = exporter(after_unknown(), annotations={"run-requested-at": "second"}, **refused)
    before = planned(asked, LATER).status
    assert newest(before).reason == "SpecInvalid"
    assert last_run(before) == ("Unknown", "DeliveryUnknown")
    found = exporter(before, annotations={"settle-run": f"{RUN}=Sent"}, **refused)
    assert last_run(planned(found, LATER).status) == ("True", "SettledAsSent")


@pytest.mark.parametrize("how", [{"suspend": True}, {"frequency": "Fortnightly"}], ids=["suspended", "invalid"])
def test_it_works_on_an_exporter_that_is_suspended_or_invalid(how: dict[str, Any]) -> None:
    found = exporter(after_unknown(), annotations={"settle-run": f"{RUN}=NotSent"}, **how)
    assert next_wake(found, LATER, ZONE).at <= LATER
    status = planned(found, LATER).status
    assert [entry.reason for entry in status.history or []] == ["SettledAsNotSent"]
    assert requested(SETTLEMENT, exporter(status, annotations={"settle-run": f"{RUN}=NotSent"}, **how)) is None


def test_a_delivering_test_is_settled_where_its_outcome_stands() -> None:
    before = after_unknown("Test")
    assert not before.history
    status = settled(f"{RUN}=NotSent", before)
    assert status.last_test
    assert (status.last_test.result, status.last_test.reason) == ("Failed", "SettledAsNotSent")
    assert "Request the test again" in status.last_test.message
    assert last_run(status) == last_run(before)
    assert [event.action for event in told(before, status)] == ["Test"]
    assert settled(f"{RUN}=Sent", before).last_successful_time is None


def test_an_exporter_is_looked_at_at_once_when_there_is_a_word() -> None:
    waiting = exporter(after_unknown())
    assert next_wake(waiting, ENDED_AT, ZONE).at > ENDED_AT
    found = exporter(waiting.status, annotations={"settle-run": f"{RUN}=Sent"})
    assert next_wake(found, ENDED_AT, ZONE).at <= ENDED_AT
    handled = exporter(settled(f"{RUN}=Sent"), annotations={"settle-run": f"{RUN}=Sent"})
    assert next_wake(handled, ENDED_AT, ZONE).at > ENDED_AT


def test_a_word_is_written_in_the_same_status_as_a_claim() -> None:
    both = {"settle-run": f"{RUN}=NotSent", "run-requested-at": "second"}
    plan = planned(exporter(after_unknown(), annotations=both), LATER)
    assert plan.claimed
    assert newest(plan.status).reason == "SettledAsNotSent"
    assert plan.status.active_run == plan.claimed


def test_a_word_on_a_run_that_has_not_ended_waits_for_its_end() -> None:
    busy = seen(MONDAY).model_copy(update={"active_run": run()})
    status = settled(f"{RUN}=Sent", busy)
    assert status.last_handled_settlement is None
    assert status.last_settlement is None
    ended = finished(exporter(status), Ended(unknown()), ENDED_AT, ZONE)
    assert newest(settled(f"{RUN}=Sent", ended)).reason == "SettledAsSent"


# A word acts once


def test_a_word_that_is_there_at_first_sight_counts_as_handled() -> None:
    status = planned(exporter(annotations={"settle-run": f"{RUN}=Sent"}), MONDAY).status
    assert status.last_handled_settlement == f"{RUN}=Sent"
    assert status.last_settlement is None
    assert events.events(exporter(), exporter(status)) == []


def test_a_word_acts_once() -> None:
    status = settled(f"{RUN}=Sent")
    assert settled(f"{RUN}=Sent", status, LATER + timedelta(minutes=1)) == status


def test_a_word_that_git_brings_back_does_not_act_again() -> None:
    status = settled(f"{RUN}=NotSent", settled(f"{RUN}=Sent"))
    again = settled(f"{RUN}=Sent", status, LATER + timedelta(minutes=1))
    assert again == status
    assert settlement_id(UID, f"{RUN}=Sent") in (status.handled_requests or [])


# Words that are refused

ANOTHER = request_run_id(UID, "another")


def values() -> Iterator[tuple[str, str]]:
    for value in ("Sent", f"{RUN}", f"{RUN}=", f"{RUN}=sent", f"{RUN}=Sent ", f"{RUN}=Sent\n", f" {RUN}=Sent"):
        yield value, "not understood"
    for value in (f"{RUN}=EMD_", f"{RUN}=EMD_1 2", f"{RUN}=BT_1", f"{RUN.upper()}=Sent", f"{RUN}=Sent,NotSent"):
        yield value, "not understood"
    for value in ("eva@example.com=Sent", f"{RUN}=EMD_{'x' * 5000}", f"{RUN}=EMD_٣"):
        yield value, "not understood"
    yield f"{ANOTHER}=Sent", f"There is no entry of a run {ANOTHER}."


@pytest.mark.parametrize(("value", "why"), list(values()))
def test_a_word_that_cannot_be_acted_on_is_refused_visibly(value: str, why: str) -> None:
    before = after_unknown()
    status = settled(value, before)
    receipt = {"last_handled_settlement", "handled_settlements", "handled_requests", "last_settlement"}
    assert status.model_dump(exclude=receipt) == before.model_dump(exclude=receipt)
    assert status.last_settlement
    assert status.last_settlement.reason == "SettlementRefused"
    assert why in status.last_settlement.message
    assert "<run id>=NotSent" in status.last_settlement.message
    assert settled(value, status, LATER + timedelta(minutes=1)) == status
    (event,) = told(before, status)
    assert (event.type, event.reason, event.note) == ("Warning", "SettlementRefused", status.last_settlement.message)


@pytest.mark.parametrize("value", ["eva@example.com=Sent", "x" * 5000, "Sent"])
def test_nothing_that_is_not_understood_gets_into_the_status(value: str) -> None:
    before = after_unknown()
    status = settled(value, before)
    assert (status.last_handled_settlement or "").startswith("sha256:")
    assert len(status.last_handled_settlement or "") < 100
    written = status.model_dump_json() + str(told(before, status))
    assert value == "Sent" or value not in written
    assert "eva" not in written


@pytest.mark.parametrize("result", ["Succeeded", "Failed", "Missed", "Skipped", "Held", "DryRun"])
def test_only_an_unknown_outcome_can_be_settled(result: Result) -> None:
    known = after_unknown().model_copy(update={"history": [unknown().model_copy(update={"result": result})]})
    status = settled(f"{RUN}=NotSent", known)
    assert newest(status) == newest(known)
    assert status.last_settlement
    assert f"Run {RUN} ended as {result}, not as Unknown." in status.last_settlement.message


def test_the_same_mistake_is_told_each_time_that_it_is_made() -> None:
    first = settled("sent", now=LATER)
    second = settled("really sent", first, LATER)
    assert len(told(first, second)) == 1
    assert told(second, second) == []


# What a user reads


def test_the_message_of_an_unknown_outcome_says_how_to_look_and_how_to_settle_it() -> None:
    message = unknown().message
    for fact in (
        "SV_teamsRollout01", "6 people", "BT_1", "2026-11-23T12:10:00Z (UTC)",
        f"settle-run: {RUN}=Sent or {RUN}=NotSent", "request a run", "next slot", "6 hours",
    ):  # fmt: skip
        assert fact in message
    assert "<run id>" not in message


def test_the_message_of_an_unknown_outcome_fits_an_event_and_passes_the_redactor() -> None:
    message = f"Unknown: {unknown().message}"
    assert cut(redact(message)) == message


def test_a_value_as_the_messages_write_it_is_understood() -> None:
    assert resolution.understood(f"{RUN}=Sent") == resolution.OutcomeReport(RUN, True)
    assert resolution.understood(f"{RUN}=NotSent") == resolution.OutcomeReport(RUN, False)
    assert resolution.understood(f"{RUN}=EMD_1") == resolution.OutcomeReport(RUN, True, "EMD_1")


# Qualtrics' list


def found(status: Status, distribution_id: str | None, now: datetime = LATER) -> Status | None:
    """The status after the newest entry, or the last test, was looked for again."""
    return resolution.looked_for(status, resolution.in_doubt(status)[0], distribution_id, 1, now)


def test_it_is_looked_for_again_after_ten_minutes_an_hour_and_six_hours() -> None:
    status: Status | None = after_unknown()
    looks = []
    while status and (due := resolution.next_look(newest(status), EVENTUALLY)):
        assert next_wake(exporter(status), due - timedelta(seconds=1), ZONE).at == due
        looks.append(due - SENT_AT)
        before, status = status, found(status, None, due + timedelta(seconds=3))
        assert status
        assert told(before, status) == []
    assert looks == [timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6)]
    assert status
    assert (newest(status).result, newest(status).reason) == ("Unknown", "DeliveryUnknown")


def test_who_was_down_meanwhile_looks_once() -> None:
    status = found(after_unknown(), None, SENT_AT + timedelta(days=3))
    assert status
    assert resolution.next_look(newest(status), EVENTUALLY) is None


def test_what_is_found_later_is_a_success_with_its_distribution() -> None:
    before = after_unknown()
    status = found(found(before, None) or before, "EMD_1")
    assert status
    entry = newest(status)
    assert (entry.result, entry.reason, entry.distribution_id) == ("Succeeded", "FoundLater", "EMD_1")
    assert (entry.completion_time, entry.looked_for_time) == (ENDED_AT, None)
    assert status.last_successful_time == ENDED_AT
    assert last_run(status) == ("True", "FoundLater")
    assert [(event.type, event.reason) for event in told(before, status)] == [("Normal", "FoundLater")]
    assert resolution.next_look(entry, EVENTUALLY) is None
    assert delivery_figures.next_read(entry, EVENTUALLY) == SENT_AT + timedelta(minutes=2)


@pytest.mark.parametrize("distribution_id", [None, "EMD_1"])
@pytest.mark.parametrize("outcome", ["Sent", "EMD_2"])
def test_a_persons_word_that_it_was_sent_ends_the_looking(outcome: str, distribution_id: str | None) -> None:
    before = after_unknown()
    status = settled(f"{RUN}={outcome}", before)
    assert resolution.next_look(newest(status), EVENTUALLY) is None
    assert resolution.looked_for(status, newest(before), distribution_id, 1, LATER) is None


def test_what_a_person_says_was_not_sent_is_looked_for_at_the_marks_that_are_left() -> None:
    before = found(after_unknown(), None, SENT_AT + timedelta(minutes=11))
    assert before
    status = settled(f"{RUN}=NotSent", before, SENT_AT + timedelta(minutes=12))
    assert resolution.next_look(newest(status), EVENTUALLY) == SENT_AT + timedelta(hours=1)
    assert next_wake(exporter(status), SENT_AT + timedelta(minutes=12), ZONE).at == SENT_AT + timedelta(hours=1)
    for now in (SENT_AT + timedelta(hours=1), SENT_AT + timedelta(hours=6)):
        looked = found(status, None, now)
        assert looked
        assert told(status, looked) == []
        assert (newest(looked).result, newest(looked).message) == ("Failed", newest(status).message)
        status = looked
    assert resolution.next_look(newest(status), EVENTUALLY) is None


@pytest.mark.parametrize("trigger", ["Request", "Test"])
def test_what_is_found_although_a_person_said_that_it_was_not_sent_is_told_with_a_warning(trigger: Trigger) -> None:
    before = settled(f"{RUN}=NotSent", after_unknown(trigger))
    status = found(before, "EMD_1")
    assert status
    entry = status.last_test if trigger == "Test" else newest(status)
    assert entry
    assert (entry.result, entry.reason, entry.distribution_id) == ("Succeeded", "FoundLater", "EMD_1")
    assert "A person had said that it was not sent" in entry.message
    (event,) = told(before, status)
    assert (event.type, event.reason) == ("Warning", "FoundLater")
    assert "mailed twice" in cut(event.note)
    assert resolution.next_look(entry, EVENTUALLY) is None


def test_what_was_settled_as_not_sent_while_it_was_looked_for_is_found_all_the_same() -> None:
    asked = after_unknown()
    status = resolution.looked_for(settled(f"{RUN}=NotSent", asked), newest(asked), "EMD_1", 1, LATER)
    assert status
    assert newest(status).reason == "FoundLater"


def test_who_says_that_it_was_not_sent_is_told_when_the_operator_looks_next() -> None:
    early = newest(settled(f"{RUN}=NotSent", now=SENT_AT + timedelta(minutes=5)))
    assert "A user reported that the survey was not sent" in early.message
    assert "2026-11-23T12:20:00Z (UTC): better wait" in early.message
    assert "better wait" not in newest(settled(f"{RUN}=NotSent", now=SENT_AT + timedelta(days=1))).message


@pytest.mark.parametrize("missing", ["batch_id", "survey_id", "send_time"])
def test_what_cannot_be_told_from_others_is_not_looked_for(missing: str) -> None:
    assert resolution.next_look(unknown().model_copy(update={missing: None}), EVENTUALLY) is None


def test_a_delivering_test_is_looked_for_as_well() -> None:
    before = after_unknown("Test")
    assert next_wake(exporter(before), ENDED_AT, ZONE).at == SENT_AT + timedelta(minutes=10)
    looked = found(before, None)
    assert looked
    assert told(before, looked) == []
    status = found(looked, "EMD_1")
    assert status
    assert status.last_test
    assert (status.last_test.result, status.last_test.reason) == ("Succeeded", "FoundLater")
    assert len(told(looked, status)) == 1


def test_that_some_did_not_get_it_is_told_of_a_run_that_was_found_later() -> None:
    status = found(after_unknown(), "EMD_1")
    assert status
    figures = Delivery(sent=6, bounced=1)
    assert delivery_figures.with_figures(newest(status), figures).reason == "PartlyDelivered"


# A test in doubt, and the next test


def after_next_test(next_id: str = "n" * 20) -> Status:
    """The status after a test that ended Unknown and another one that ended right after it."""
    doubted = after_unknown("Test")
    following = doubted.model_copy(update={"active_run": run("Test", next_id)})
    later = ENDED_AT + timedelta(minutes=1)
    ended = entry_of(run("Test", next_id), "Succeeded", Reason.TEST_DELIVERED, "", later)
    status = finished(exporter(following), Ended(ended), later, ZONE)
    assert status.last_test
    assert status.last_test.id == next_id
    assert told(doubted, status)[0].reason == "TestDelivered"
    assert len(told(doubted, status)) == 1, "the test in doubt is not reported again"
    return status


def test_a_test_in_doubt_stays_in_the_history_when_another_test_follows() -> None:
    status = after_next_test()
    assert [(e.trigger, e.id, e.result) for e in status.history or []] == [("Test", RUN, "Unknown")]
    assert last_run(status) == last_run(after_unknown("Test")), "a test says nothing of the last run"


def test_a_test_in_doubt_can_be_settled_after_another_test() -> None:
    before = after_next_test()
    status = settled(f"{RUN}=EMD_1", before)
    assert [(e.result, e.reason) for e in status.history or []] == [("Succeeded", "SettledAsSent")]
    assert status.last_test == before.last_test
    assert status.last_successful_time is None
    assert last_run(status) == last_run(before)
    assert delivery_figures.next_read(newest(status), EVENTUALLY) is None, "no figures are read for a test"


def test_a_test_in_doubt_is_looked_for_after_another_test() -> None:
    before = after_next_test()
    (doubted,) = resolution.in_doubt(before)
    status = resolution.looked_for(before, doubted, "EMD_1", 1, LATER)
    assert status
    assert newest(status).reason == "FoundLater"
    assert last_run(status) == last_run(before)


def test_a_test_whose_outcome_is_known_is_replaced_by_the_next_one() -> None:
    known = after_next_test().model_copy(update={"history": None, "active_run": run("Test", "m" * 20)})
    ended = entry_of(run("Test", "m" * 20), "Succeeded", Reason.TEST_DELIVERED, "", LATER)
    assert finished(exporter(known), Ended(ended), LATER, ZONE).history is None


def test_history_with_a_test_in_doubt_stays_in_the_order_of_its_times() -> None:
    later = unknown(name="b" * 20).model_copy(update={"completion_time": ENDED_AT + timedelta(seconds=1)})
    earlier = unknown(name="c" * 20).model_copy(update={"completion_time": ENDED_AT - timedelta(seconds=1)})
    status = after_unknown("Test").model_copy(update={"history": [later, earlier]})
    next_test = entry_of(run("Test", "n" * 20), "Succeeded", Reason.TEST_DELIVERED, "", LATER)
    moved = resolution.with_last_test(status, next_test)
    assert [e.id for e in moved.history or []] == ["b" * 20, RUN, "c" * 20]
