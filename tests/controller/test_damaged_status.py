"""A status with values that no operator wrote: nothing acts twice, and nothing that was due ends without a word."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from qualtrics_exporter.controller.plan.wake import Wake, next_wake
from qualtrics_exporter.export import run_ids
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import WARNINGS, ActiveRun, Status, entry_of
from tests.controller.exporters import ZONE, at, body, planned, seen

MONDAY = at("2026-11-23 12:00")
DUE = at("2026-11-24 00:20")
UID = "11111111-2222-3333-4444-555555555555"


def damaged(status: Status, annotations: dict[str, str] | None = None, **values: Any) -> Exporter:
    """The exporter with this status after something else has written these values into it."""
    return Exporter.from_object(raw(status, annotations, **values))


def raw(status: Status, annotations: dict[str, str] | None = None, **values: Any) -> dict[str, Any]:
    made = body(None, annotations)
    made["status"] = {**status.model_dump(by_alias=True, exclude_none=True, mode="json"), **values}
    return made


def entries(status: Status) -> list[tuple[str, str]]:
    return [(entry.result, entry.reason) for entry in status.history or []]


def after_request(token: str, when: datetime = MONDAY) -> Status:
    """The status in which a requested run is in progress."""
    before = damaged(seen(MONDAY - timedelta(hours=1)), {"run-requested-at": token})
    plan = planned(before, when)
    assert plan.claimed
    return plan.status


def test_damaged_memory_is_repaired_at_once_and_not_by_the_next_request() -> None:
    assert next_wake(damaged(seen(MONDAY), sentRuns="damaged"), MONDAY, ZONE) == Wake(MONDAY)
    assert next_wake(damaged(seen(MONDAY)), MONDAY, ZONE) != Wake(MONDAY)


def test_damage_does_not_forget_that_slots_ran_early() -> None:
    later = "2026-11-24T21:20:00Z"  # until then, a clock that was ahead ran the slots
    status = planned(damaged(seen(MONDAY), sentRuns=7, claimedSlots=[], claimedSlotsSince=later), MONDAY).status
    assert status.claimed_slots_since == at("2026-11-24 21:20")
    assert planned(damaged(status), DUE).claimed is None


def test_a_test_that_is_refused_because_of_damage_has_a_result() -> None:
    plan = planned(damaged(seen(MONDAY), {"test-requested-at": "t1"}, handledTestRequests=[7]), MONDAY)
    assert plan.status.last_test
    assert plan.status.last_test.id == run_ids.test_run_id(UID, "t1")
    assert (plan.status.last_test.result, plan.status.last_test.reason) == ("Skipped", "StatusNotUnderstood")
    assert plan.claimed is None


def test_a_request_whose_run_is_in_progress_is_not_refused_because_of_damage() -> None:
    memory = dict.fromkeys(("handledRequests", "handledRunRequests", "lastHandledRunRequest"), 7)
    status = planned(damaged(after_request("r1"), {"run-requested-at": "r1"}, **memory), MONDAY).status
    assert status.active_run
    assert status.active_run.id == run_ids.request_run_id(UID, "r1")
    assert entries(status) == [], "the entry of the run is the only one"
    assert [receipt for receipt in status.handled_run_requests or [] if status.active_run.id.startswith(receipt)]


def test_a_token_of_which_only_the_last_value_is_left_gets_a_receipt() -> None:
    """The next token takes its place there, and Git may bring the first one back."""
    first = {"run-requested-at": "r1"}
    done = after_request("r1").model_copy(update={"active_run": None})
    status = planned(damaged(done, first, handledRequests=7, handledRunRequests=7), MONDAY).status
    status = planned(damaged(status, {"run-requested-at": "r2"}), MONDAY).status.model_copy(update={"active_run": None})
    assert planned(damaged(status, first), MONDAY).claimed is None


@pytest.mark.parametrize("journal", ["damaged", 7, [], {}])
def test_a_journal_that_is_not_even_an_object_ends_in_an_entry(journal: Any) -> None:
    found = damaged(seen(MONDAY), activeRun=journal)
    assert next_wake(found, MONDAY, ZONE).at <= MONDAY
    status = planned(found, MONDAY).status
    assert status.active_run is None
    assert entries(status) == [("Unknown", "DeliveryUnknown")]


@pytest.mark.parametrize("name", ["nextScheduleTime", "scheduleSince"])
def test_a_slot_that_is_due_is_not_lost_with_a_time(name: str) -> None:
    for value in ("9999-12-31T23:59:59Z", "1999-01-01T00:00:00Z", 7, []):
        plan = planned(damaged(seen(MONDAY), **{name: value}), DUE)
        assert plan.claimed, value
        assert plan.claimed.scheduled_time == DUE


def test_a_time_that_is_lost_makes_no_slot_run_again() -> None:
    done = planned(damaged(seen(MONDAY)), DUE).status.model_copy(update={"active_run": None})
    for name in ("nextScheduleTime", "scheduleSince", "lastScheduleTime"):
        plan = planned(damaged(done, **{name: "soon"}), DUE + timedelta(minutes=1))
        assert plan.claimed is None
        assert plan.status.next_schedule_time == DUE + timedelta(days=1)


def test_an_unknown_time_zone_in_the_status_does_not_stop_the_exporter() -> None:
    plan = planned(damaged(seen(MONDAY), timeZone="Mars/Olympus"), MONDAY)
    assert plan.status.time_zone == ZONE
    assert plan.status.next_schedule_time == DUE
    assert planned(damaged(plan.status), DUE).claimed


def test_a_slot_has_one_entry_if_the_schedule_is_lost_as_well() -> None:
    status = planned(damaged(seen(MONDAY), schedule="every blue moon", claimedSlots=7), DUE).status
    assert entries(status) == [("Skipped", "StatusNotUnderstood")]
    assert status.next_schedule_time == DUE + timedelta(days=1)


def test_the_token_of_a_run_in_progress_is_remembered_although_its_annotation_has_changed() -> None:
    lost = {"handledRequests": 7, "handledRunRequests": 7}
    status = planned(damaged(after_request("r1"), {"run-requested-at": "r2"}, **lost), MONDAY).status
    ended = status.model_copy(update={"active_run": None, "history": []})
    assert planned(damaged(ended, {"run-requested-at": "r1"}), MONDAY).claimed is None
    assert planned(damaged(ended, {"run-requested-at": "r3"}), MONDAY).claimed


@pytest.mark.parametrize("token", ["r1", "please run, Bob", "x" * 300, "asked by alice@example.com"])
def test_a_token_of_which_only_the_shown_value_is_left_never_acts_again(token: str) -> None:
    """The status shows a digest of a text that is not a time or an identifier."""
    done = after_request(token).model_copy(update={"active_run": None})
    lost = dict.fromkeys(("handledRequests", "handledRunRequests", "sentRuns"), 7)
    status = planned(damaged(done, {"run-requested-at": "r2"}, **lost), MONDAY).status
    for following in ("r3", "r4"):
        plan = planned(damaged(status, {"run-requested-at": following}), MONDAY)
        assert plan.claimed, "another token acts"
        status = plan.status.model_copy(update={"active_run": None})
    assert planned(damaged(status, {"run-requested-at": token}), MONDAY).claimed is None


def test_a_text_that_reads_like_the_digest_of_a_token_before_the_damage_is_another_token() -> None:
    done = after_request("please run, Bob").model_copy(update={"active_run": None})
    shown = done.last_handled_run_request
    assert shown
    status = planned(damaged(done, None, handledRequests=7, handledRunRequests=7), MONDAY).status
    assert planned(damaged(status, {"run-requested-at": shown}), MONDAY).claimed


def test_a_token_of_which_only_the_entry_is_left_gets_a_receipt() -> None:
    """Its run was not sent, so nothing else tells of it. Ten more entries push this one out."""
    held = entry_of(started("r1"), "Failed", Reason.INTERRUPTED, "", MONDAY)
    test = entry_of(started("t1", "test-requested-at"), "Failed", Reason.INTERRUPTED, "", MONDAY)
    status = seen(MONDAY).with_entry(held).model_copy(update={"last_test": test})
    lost = dict.fromkeys(("handledRequests", "handledRunRequests", "handledTestRequests"), 7)
    status = planned(damaged(status, {"run-requested-at": "r2", "test-requested-at": "t2"}, **lost), MONDAY).status
    status = status.model_copy(update={"history": [], "last_test": None})
    assert planned(damaged(status, {"run-requested-at": "r1"}), MONDAY).claimed is None
    again = {"test-requested-at": "t1", "test-mode": "Deliver"}
    assert planned(damaged(status, again), MONDAY).claimed is None


def started(token: str, annotation: str = "run-requested-at") -> ActiveRun:
    """The run, or the test, of that token."""
    run = planned(damaged(seen(MONDAY), {annotation: token, "test-mode": "Deliver"}), MONDAY).claimed
    assert run
    return run


@pytest.mark.parametrize("said_not_sent", [False, True])
@pytest.mark.parametrize("lost", [("handledTestRequests",), ("handledTestRequests", "handledRequests")])
def test_the_refusal_of_a_test_does_not_take_the_place_of_a_test_in_doubt(
    lost: tuple[str, ...], said_not_sent: bool
) -> None:
    """Only there can it be looked for, and settled by a person."""
    test = started("t1", "test-requested-at").model_copy(update={"step": "Sending", "send_time": MONDAY})
    entry = entry_of(test, "Unknown", Reason.DELIVERY_UNKNOWN, "", MONDAY)
    if said_not_sent:
        entry = entry.model_copy(update={"result": "Failed", "reason": str(Reason.SETTLED_AS_NOT_SENT)})
    status = seen(MONDAY).model_copy(update={"last_test": entry})
    status = planned(damaged(status, {"test-requested-at": "t2"}, **dict.fromkeys(lost, 7)), MONDAY).status
    assert status.last_test == entry
    assert [(e.trigger, e.reason) for e in status.history or []] == [("Test", "StatusNotUnderstood")]


def test_a_test_that_was_already_sent_does_not_take_the_place_of_a_test_in_doubt() -> None:
    first, second = (started(token, "test-requested-at") for token in ("t1", "t2"))
    doubted = entry_of(first.model_copy(update={"send_time": MONDAY}), "Unknown", Reason.DELIVERY_UNKNOWN, "", MONDAY)
    status = seen(MONDAY).model_copy(update={"last_test": doubted, "sent_runs": [first.id, second.id]})
    again = {"test-requested-at": "t2", "test-mode": "Deliver"}
    plan = planned(damaged(status, again), MONDAY)
    assert plan.claimed is None
    assert plan.status.last_test == doubted
    assert [(e.id, e.reason) for e in plan.status.history or []] == [(second.id, "AlreadySent")]
    once_more = planned(damaged(plan.status, again, handledTestRequests=7), MONDAY).status
    assert len(once_more.history or []) == 1, "it has its entry"


WARNING = {"reason": "QueryLimited", "message": "line 1, column 64: at most 50 people get through."}


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (7, None),
        ("damaged", None),
        ({}, None),
        ([7, WARNING, None, {"reason": "QueryLimited"}, {"message": "x"}, {**WARNING, "reason": 7}], 1),
        ([{**WARNING, "message": "x" * 40_000}], 0),
        ([WARNING] * (WARNINGS + 5), WARNINGS),
    ],
)
def test_damaged_warnings_cost_nothing_but_themselves(damage: Any, left: int | None) -> None:
    found = damaged(seen(MONDAY), warnings=damage)
    assert found.status.model_copy(update={"warnings": None}) == seen(MONDAY)
    assert (None if found.status.warnings is None else len(found.status.warnings)) == left
    assert not found.damaged
    plan = planned(found, DUE)
    assert plan.claimed, "the slot runs"
    assert entries(plan.status) == []
