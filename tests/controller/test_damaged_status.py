"""A status with values that no operator wrote: nothing runs twice, and everything that was due has an entry."""

from datetime import timedelta
from typing import Any

import pytest

from qualtrics_exporter.controller.plan.wake import Wake, next_wake
from qualtrics_exporter.export import run_ids
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import WARNINGS, ActiveRun, Status, entry_of
from tests.controller.exporters import ZONE, at, body, initial_status, planned

MONDAY = at("2026-11-23 12:00")
DUE = at("2026-11-24 00:20")
UID = "11111111-2222-3333-4444-555555555555"


def damaged(status: Status, annotations: dict[str, str] | None = None, **values: Any) -> Exporter:
    """Return an exporter with this status after another tool has written these values into it."""
    found = body(status, annotations)
    found["status"] |= values
    return Exporter.from_object(found)


def results(status: Status) -> list[tuple[str, str]]:
    """Return the results and reasons of the entries."""
    return [(entry.result, entry.reason) for entry in status.history or []]


def status_during_run(token: str) -> Status:
    """Return the status while the run with this token is in progress."""
    before = damaged(initial_status(MONDAY - timedelta(hours=1)), {"run-requested-at": token})
    plan = planned(before, MONDAY)
    assert plan.claimed
    return plan.status


def test_damaged_record_of_sent_runs_is_repaired_at_once() -> None:
    assert next_wake(damaged(initial_status(MONDAY), sentRuns="damaged"), MONDAY, ZONE) == Wake(MONDAY)
    assert next_wake(damaged(initial_status(MONDAY)), MONDAY, ZONE) != Wake(MONDAY)


def test_repaired_status_still_records_that_slots_ran_early() -> None:
    later = "2026-11-24T21:20:00Z"  # the slots until then ran while the clock was ahead
    status = planned(
        damaged(initial_status(MONDAY), sentRuns=7, claimedSlots=[], claimedSlotsSince=later), MONDAY
    ).status
    assert status.claimed_slots_since == at("2026-11-24 21:20")
    assert planned(damaged(status), DUE).claimed is None


def test_requested_test_is_skipped_with_a_result_if_the_receipts_are_damaged() -> None:
    plan = planned(damaged(initial_status(MONDAY), {"test-requested-at": "t1"}, handledTestRequests=[7]), MONDAY)
    assert plan.status.last_test
    assert plan.status.last_test.id == run_ids.test_run_id(UID, "t1")
    assert (plan.status.last_test.result, plan.status.last_test.reason) == ("Skipped", "StatusNotUnderstood")
    assert plan.claimed is None


def test_requested_run_in_progress_continues_if_the_receipts_are_damaged() -> None:
    receipts = dict.fromkeys(("handledRequests", "handledRunRequests", "lastHandledRunRequest"), 7)
    status = planned(damaged(status_during_run("r1"), {"run-requested-at": "r1"}, **receipts), MONDAY).status
    assert status.active_run
    assert status.active_run.id == run_ids.request_run_id(UID, "r1")
    assert results(status) == [], "the entry of the run will be the only one"
    assert [receipt for receipt in status.handled_run_requests or [] if status.active_run.id.startswith(receipt)]


def test_token_never_acts_again_if_only_last_handled_run_request_is_intact() -> None:
    """The next token overwrites that field, and a revert in Git can bring the first token back."""
    first = {"run-requested-at": "r1"}
    done = status_during_run("r1").model_copy(update={"active_run": None})
    status = planned(damaged(done, first, handledRequests=7, handledRunRequests=7), MONDAY).status
    status = planned(damaged(status, {"run-requested-at": "r2"}), MONDAY).status.model_copy(update={"active_run": None})
    assert planned(damaged(status, first), MONDAY).claimed is None


@pytest.mark.parametrize("journal", ["damaged", 7, [], {}], ids=["a text", "a number", "a list", "an empty object"])
def test_unreadable_journal_ends_in_an_entry_with_result_unknown(journal: Any) -> None:
    found = damaged(initial_status(MONDAY), activeRun=journal)
    assert next_wake(found, MONDAY, ZONE).at <= MONDAY
    status = planned(found, MONDAY).status
    assert status.active_run is None
    assert results(status) == [("Unknown", "DeliveryUnknown")]


@pytest.mark.parametrize("name", ["nextScheduleTime", "scheduleSince"])
def test_due_slot_runs_although_a_time_is_damaged(name: str) -> None:
    for value in ("9999-12-31T23:59:59Z", "1999-01-01T00:00:00Z", 7, []):
        plan = planned(damaged(initial_status(MONDAY), **{name: value}), DUE)
        assert plan.claimed, value
        assert plan.claimed.scheduled_time == DUE


def test_slot_that_ran_does_not_run_again_although_a_time_is_damaged() -> None:
    done = planned(damaged(initial_status(MONDAY)), DUE).status.model_copy(update={"active_run": None})
    for name in ("nextScheduleTime", "scheduleSince", "lastScheduleTime"):
        plan = planned(damaged(done, **{name: "soon"}), DUE + timedelta(minutes=1))
        assert plan.claimed is None
        assert plan.status.next_schedule_time == DUE + timedelta(days=1)


def test_slots_run_although_the_status_has_an_unknown_time_zone() -> None:
    plan = planned(damaged(initial_status(MONDAY), timeZone="Mars/Olympus"), MONDAY)
    assert plan.status.time_zone == ZONE
    assert plan.status.next_schedule_time == DUE
    assert planned(damaged(plan.status), DUE).claimed


def test_due_slot_has_one_entry_if_schedule_and_claimed_slots_are_damaged() -> None:
    status = planned(damaged(initial_status(MONDAY), schedule="every blue moon", claimedSlots=7), DUE).status
    assert results(status) == [("Skipped", "StatusNotUnderstood")]
    assert status.next_schedule_time == DUE + timedelta(days=1)


def test_token_of_a_run_in_progress_never_acts_again_although_its_annotation_has_changed() -> None:
    lost = {"handledRequests": 7, "handledRunRequests": 7}
    status = planned(damaged(status_during_run("r1"), {"run-requested-at": "r2"}, **lost), MONDAY).status
    ended = status.model_copy(update={"active_run": None, "history": []})
    assert planned(damaged(ended, {"run-requested-at": "r1"}), MONDAY).claimed is None
    assert planned(damaged(ended, {"run-requested-at": "r3"}), MONDAY).claimed


@pytest.mark.parametrize(
    "token",
    ["r1", "please run, Bob", "x" * 300, "asked by alice@example.com"],
    ids=["an identifier", "a sentence", "a long text", "an address"],
)
def test_token_never_acts_again_if_only_its_shown_value_is_intact(token: str) -> None:
    """The status shows only a digest of a token that is not a time or an identifier."""
    done = status_during_run(token).model_copy(update={"active_run": None})
    lost = dict.fromkeys(("handledRequests", "handledRunRequests", "sentRuns"), 7)
    status = planned(damaged(done, {"run-requested-at": "r2"}, **lost), MONDAY).status
    for following in ("r3", "r4"):
        plan = planned(damaged(status, {"run-requested-at": following}), MONDAY)
        assert plan.claimed, "another token acts"
        status = plan.status.model_copy(update={"active_run": None})
    assert planned(damaged(status, {"run-requested-at": token}), MONDAY).claimed is None


def test_token_that_equals_the_digest_of_an_earlier_token_acts_after_damage() -> None:
    done = status_during_run("please run, Bob").model_copy(update={"active_run": None})
    shown = done.last_handled_run_request
    assert shown
    status = planned(damaged(done, None, handledRequests=7, handledRunRequests=7), MONDAY).status
    assert planned(damaged(status, {"run-requested-at": shown}), MONDAY).claimed


def test_token_never_acts_again_if_only_its_entry_is_intact() -> None:
    """Nothing else records the token, because its run was not sent, and later entries push this entry out."""
    entry = entry_of(claimed_run("r1"), "Failed", Reason.INTERRUPTED, "", MONDAY)
    test = entry_of(claimed_run("t1", "test-requested-at"), "Failed", Reason.INTERRUPTED, "", MONDAY)
    status = initial_status(MONDAY).with_entry(entry).model_copy(update={"last_test": test})
    lost = dict.fromkeys(("handledRequests", "handledRunRequests", "handledTestRequests"), 7)
    status = planned(damaged(status, {"run-requested-at": "r2", "test-requested-at": "t2"}, **lost), MONDAY).status
    status = status.model_copy(update={"history": [], "last_test": None})
    assert planned(damaged(status, {"run-requested-at": "r1"}), MONDAY).claimed is None
    annotations = {"test-requested-at": "t1", "test-mode": "Deliver"}
    assert planned(damaged(status, annotations), MONDAY).claimed is None


def claimed_run(token: str, annotation: str = "run-requested-at") -> ActiveRun:
    """Return the claimed run, or test, with this token."""
    run = planned(damaged(initial_status(MONDAY), {annotation: token, "test-mode": "Deliver"}), MONDAY).claimed
    assert run
    return run


@pytest.mark.parametrize("resolved_as_not_sent", [False, True], ids=["unresolved", "resolved as not sent"])
@pytest.mark.parametrize("lost", [("handledTestRequests",), ("handledTestRequests", "handledRequests")])
def test_skipped_test_does_not_replace_the_result_of_a_test_that_may_have_been_sent(
    lost: tuple[str, ...], resolved_as_not_sent: bool
) -> None:
    """The operator looks up the outcome, and a user can resolve it, only if it is in `.status.lastTest`."""
    test = claimed_run("t1", "test-requested-at").model_copy(update={"step": "Sending", "send_time": MONDAY})
    entry = entry_of(test, "Unknown", Reason.DELIVERY_UNKNOWN, "", MONDAY)
    if resolved_as_not_sent:
        entry = entry.model_copy(update={"result": "Failed", "reason": str(Reason.SETTLED_AS_NOT_SENT)})
    status = initial_status(MONDAY).model_copy(update={"last_test": entry})
    status = planned(damaged(status, {"test-requested-at": "t2"}, **dict.fromkeys(lost, 7)), MONDAY).status
    assert status.last_test == entry
    assert [(e.trigger, e.reason) for e in status.history or []] == [("Test", "StatusNotUnderstood")]


def test_already_sent_test_does_not_replace_the_result_of_a_test_that_may_have_been_sent() -> None:
    first, second = (claimed_run(token, "test-requested-at") for token in ("t1", "t2"))
    unknown = entry_of(first.model_copy(update={"send_time": MONDAY}), "Unknown", Reason.DELIVERY_UNKNOWN, "", MONDAY)
    status = initial_status(MONDAY).model_copy(update={"last_test": unknown, "sent_runs": [first.id, second.id]})
    annotations = {"test-requested-at": "t2", "test-mode": "Deliver"}
    plan = planned(damaged(status, annotations), MONDAY)
    assert plan.claimed is None
    assert plan.status.last_test == unknown
    assert [(e.id, e.reason) for e in plan.status.history or []] == [(second.id, "AlreadySent")]
    planned_again = planned(damaged(plan.status, annotations, handledTestRequests=7), MONDAY).status
    assert len(planned_again.history or []) == 1, "the second test has its entry"


WARNING = {"reason": "QueryLimited", "message": "line 1, column 64: at most 50 people get through."}


@pytest.mark.parametrize(
    ("damage", "remaining"),
    [
        (7, None),
        ("damaged", None),
        ({}, None),
        ([7, WARNING, None, {"reason": "QueryLimited"}, {"message": "x"}, {**WARNING, "reason": 7}], 1),
        ([{**WARNING, "message": "x" * 40_000}], 0),
        ([WARNING] * (WARNINGS + 5), WARNINGS),
    ],
    ids=["a number", "a text", "an object", "invalid elements", "a message that is too long", "too many elements"],
)
def test_damaged_warnings_do_not_affect_the_rest_of_the_status(damage: Any, remaining: int | None) -> None:
    found = damaged(initial_status(MONDAY), warnings=damage)
    assert found.status.model_copy(update={"warnings": None}) == initial_status(MONDAY)
    assert (None if found.status.warnings is None else len(found.status.warnings)) == remaining
    assert not found.damaged
    plan = planned(found, DUE)
    assert plan.claimed, "the slot runs"
    assert results(plan.status) == []
