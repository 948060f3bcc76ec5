"""Planning over many steps: tokens return, clocks jump, time zones change, exporters wait. Without a cluster."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qualtrics_exporter.controller.election.leadership import Leadership
from qualtrics_exporter.controller.plan import requests
from qualtrics_exporter.controller.plan.next_status import finished
from qualtrics_exporter.controller.plan.requests import (
    RUN,
    SETTLEMENT,
    TEST,
    Kind,
    Token,
    requested,
    with_current_receipts,
    with_receipt,
)
from qualtrics_exporter.controller.plan.wake import next_wake
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import (
    CLAIMED_SLOTS,
    HANDLED_REQUESTS,
    HANDLED_TOKENS,
    HistoryEntry,
    Status,
    entry_of,
    timestamp,
)
from tests.controller.exporters import ZONE, at, body, exporter, initial_status, planned

MONDAY = at("2026-11-23 12:00")
HOUR = timedelta(hours=1)
HOURLY = {"frequency": "Hourly", "everyHours": 1}
LED = Leadership.started(MONDAY)


def without_run(status: Status) -> Status:
    """The status without its run and its history, as long after the run."""
    return status.model_copy(update={"active_run": None, "history": None})


def entries(status: Status) -> list[tuple[str, str]]:
    return [(entry.result, entry.reason) for entry in status.history or []]


# Tokens


def plain(token: str) -> Token:
    """A token that the status shows unchanged."""
    return Token(token, token)


def test_run_token_that_git_restores_after_a_thousand_tests_does_not_act_again() -> None:
    status = planned(exporter(initial_status(MONDAY), annotations={"run-requested-at": "A"}), MONDAY).status
    status = planned(exporter(without_run(status), annotations={"run-requested-at": "B"}), MONDAY).status
    for number in range(1000):
        found = exporter(without_run(status), annotations={"test-requested-at": f"dry-{number}"})
        status = with_receipt(TEST, found, found.status, plain(f"dry-{number}"))
    assert planned(exporter(without_run(status), annotations={"run-requested-at": "A"}), MONDAY).claimed is None


@pytest.mark.parametrize("kind", [RUN, TEST, SETTLEMENT], ids=["run", "test", "settlement"])
def test_two_hundred_tokens_of_one_kind_are_all_remembered(kind: Kind) -> None:
    tokens = [f"{'a' * 18}{chr(97 + n // 26)}{chr(97 + n % 26)}=Sent" for n in range(200)]  # valid for each kind
    status = initial_status(MONDAY)
    for token in tokens:
        status = with_receipt(kind, exporter(), status, plain(token))
    for token in tokens:
        found = exporter(status, annotations={kind.annotation.partition("/")[2]: token})
        assert requested(kind, found) is None


def numbered_token(kind: Kind, number: int) -> str:
    """A different token for each number. For settlements, it is a valid report."""
    letters = "".join(chr(97 + number // 26**place % 26) for place in range(4))
    return f"{'a' * 16}{letters}=Sent" if kind is SETTLEMENT else f"token-{number}"


def exporter_with_token(kind: Kind, token: str, status: Status) -> Exporter:
    """An exporter with this token in the annotation of its kind, and this status."""
    return replace(exporter(), status=status, annotations={kind.annotation: token})


@pytest.mark.parametrize(
    ("kind", "receipts"),
    [(RUN, HANDLED_TOKENS), (RUN, 100), (TEST, 100), (SETTLEMENT, 100)],
    ids=["run", "run, few receipts", "test", "settlement"],
)
def test_token_that_self_heal_restores_repeatedly_acts_once(kind: Kind, receipts: int, monkeypatch: Any) -> None:
    """Git has A. A user sets B, self-heal restores A, then C, A and so on, with more tokens than receipts."""
    if receipts < HANDLED_TOKENS:
        monkeypatch.setattr(requests, "HANDLED_TOKENS", receipts)
        monkeypatch.setattr(requests, "RECENT_TOKENS", 10)
    status, writes = initial_status(MONDAY), 0
    acted = Counter[str]()
    others = [numbered_token(kind, number) for number in range(1, receipts + 500)]
    for token in itertools.chain.from_iterable((numbered_token(kind, 0), other) for other in others):
        found = exporter_with_token(kind, token, status)
        if new := requested(kind, found):
            acted[token] += 1
            status = with_receipt(kind, found, status, new)
        else:
            kept = with_current_receipts(found, status)
            assert with_current_receipts(exporter_with_token(kind, token, kept), kept) is kept, (
                "each step would write the status"
            )
            writes += kept is not status
            status = kept
    assert acted == Counter([numbered_token(kind, 0), *others])
    assert writes <= len(others) / 10
    assert len(getattr(status, kind.handled)) == receipts


@pytest.mark.parametrize(
    "token", ["A", "asked by alice@example.com", "a" * 300], ids=["plain token", "token with an address", "long token"]
)
@pytest.mark.parametrize("crd", ["current CRD", "older CRD"])
def test_plan_keeps_the_receipt_of_the_token_in_the_annotation(monkeypatch: Any, token: str, crd: str) -> None:
    """This holds for each form in the status, and for a CRD before version 0.2, which has one short list."""
    monkeypatch.setattr(requests, "HANDLED_TOKENS", 40)
    monkeypatch.setattr(requests, "RECENT_TOKENS", 10)
    status, now = initial_status(MONDAY), MONDAY
    for number in range(60):
        for text in (token, f"other-{number}"):
            if crd == "older CRD":
                dropped = ("handled_run_requests", "handled_test_requests", "handled_settlements", "sent_runs")
                status = status.model_copy(update=dict.fromkeys(dropped))
            found = exporter(
                without_run(status.model_copy(update={"sent_runs": None})), annotations={"run-requested-at": text}
            )
            plan = planned(found, now)
            assert (plan.claimed is None) is (text == token and number > 0)
            status = plan.status
            if plan.claimed is None:
                assert planned(replace(found, status=status), now).status == status, "each step would write the status"


def test_receipt_of_a_test_does_not_count_for_a_run() -> None:
    status = with_receipt(TEST, exporter(), initial_status(MONDAY), plain("same"))
    assert planned(exporter(status, annotations={"run-requested-at": "same"}), MONDAY).claimed


def test_tokens_in_annotations_stay_handled_if_an_older_crd_drops_the_receipts() -> None:
    request = {"run-requested-at": "A", "test-requested-at": "T"}
    found = exporter(initial_status(MONDAY), annotations=request)
    status = with_receipt(TEST, found, with_receipt(RUN, found, found.status, plain("A")), plain("T"))
    for number in range(3 * HANDLED_REQUESTS):
        status = with_receipt(RUN, found, status, plain(f"other-{number}"))
    status = without_run(status).model_copy(update={"handled_run_requests": None, "handled_test_requests": None})
    assert len(status.handled_requests or []) <= HANDLED_REQUESTS
    assert requested(RUN, exporter(status, annotations=request)) is None
    assert requested(TEST, exporter(status, annotations=request)) is None


def test_sent_run_is_not_sent_again_if_its_receipts_are_lost() -> None:
    request = {"run-requested-at": "A"}
    claimed = planned(exporter(initial_status(MONDAY), annotations=request), MONDAY).claimed
    assert claimed
    status = initial_status(MONDAY).model_copy(update={"sent_runs": [claimed.id]})
    plan = planned(exporter(status, annotations=request), MONDAY)
    assert plan.claimed is None
    assert entries(plan.status) == [("Skipped", "AlreadySent")]


def with_invalid_field(status: Status, field: str, **more: Any) -> Exporter:
    """An exporter in whose status a tool has replaced a field with an invalid value."""
    found = body(status, **more)
    found["status"][field] = [7]
    return Exporter.from_object(found)


@pytest.mark.parametrize("field", ["handledRunRequests", "handledRequests", "sentRuns", "claimedSlots"])
def test_token_does_not_act_if_damaged_records_leave_open_whether_it_acted(field: str) -> None:
    request = {"run-requested-at": "A"}
    plan = planned(with_invalid_field(initial_status(MONDAY), field, annotations=request), MONDAY)
    assert plan.claimed is None
    later = planned(exporter(plan.status, annotations=request), MONDAY + HOUR)
    assert later.claimed is None
    assert planned(exporter(later.status, annotations={"run-requested-at": "B"}), MONDAY + HOUR).claimed


def test_due_slot_and_requested_run_get_entries_if_the_status_is_damaged() -> None:
    slot = MONDAY + timedelta(minutes=20)
    announced = planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), MONDAY, leadership=LED).status
    found = with_invalid_field(announced, "sentRuns", annotations={"run-requested-at": "A"}, **HOURLY)
    plan = planned(found, slot + timedelta(seconds=2), leadership=LED)
    assert plan.claimed is None
    assert entries(plan.status) == [("Skipped", "StatusNotUnderstood")] * 2
    assert plan.status.next_schedule_time == slot + HOUR


@pytest.mark.parametrize("mode", ["Dry", "Deliver"])
def test_requested_test_is_skipped_with_an_entry_if_its_receipts_are_damaged(mode: str) -> None:
    request = {"test-requested-at": "T", "test-mode": mode}
    plan = planned(with_invalid_field(initial_status(MONDAY), "handledTestRequests", annotations=request), MONDAY)
    assert plan.claimed is None
    entry = plan.status.last_test
    assert entry
    assert (entry.trigger, entry.result, entry.reason) == ("Test", "Skipped", "StatusNotUnderstood")
    assert requested(TEST, exporter(plan.status, annotations=request)) is None
    assert planned(exporter(plan.status, annotations=request), MONDAY + HOUR).status.last_test == entry


def test_delivering_test_with_a_damaged_journal_stays_unknown_beside_a_skipped_test() -> None:
    """The damaged test may have been sent, so the entry of the skipped test must not replace its entry."""
    found = body(initial_status(MONDAY), {"test-requested-at": "T"})
    found["status"] |= {"sentRuns": [7], "activeRun": {"trigger": "Test", "step": "Sending", "id": "a" * 20}}
    status = planned(Exporter.from_object(found), MONDAY).status
    assert status.last_test
    assert (status.last_test.id, status.last_test.result) == ("a" * 20, "Unknown")
    assert [(e.trigger, e.reason) for e in status.history or []] == [("Test", "StatusNotUnderstood")]


def test_delivering_test_that_was_sent_is_skipped_with_already_sent() -> None:
    request = {"test-requested-at": "T", "test-mode": "Deliver"}
    claimed = planned(exporter(initial_status(MONDAY), annotations=request), MONDAY).claimed
    assert claimed
    status = initial_status(MONDAY).model_copy(update={"sent_runs": [claimed.id]})
    plan = planned(exporter(status, annotations=request), MONDAY)
    assert plan.claimed is None
    assert plan.status.last_test
    assert (plan.status.last_test.result, plan.status.last_test.reason) == ("Skipped", "AlreadySent")


def test_outcome_report_is_accepted_although_the_status_is_damaged() -> None:
    """A settlement sends nothing, and a user could not repeat a value that counts as handled."""
    run = planned(exporter(initial_status(MONDAY), annotations={"run-requested-at": "A"}), MONDAY).claimed
    assert run
    sent = run.model_copy(update={"step": "Sending", "send_time": MONDAY})
    entry = entry_of(sent, "Unknown", Reason.DELIVERY_UNKNOWN, "It may have been sent.", MONDAY)
    found = with_invalid_field(
        initial_status(MONDAY).with_entry(entry), "sentRuns", annotations={"settle-run": f"{run.id}=Sent"}
    )
    status = planned(found, MONDAY + HOUR).status
    assert [(e.result, e.reason) for e in status.history or []] == [("Succeeded", "SettledAsSent")]


def test_too_long_list_of_sent_runs_does_not_count_as_damage() -> None:
    found = body(initial_status(MONDAY), {"run-requested-at": "A"})
    found["status"]["sentRuns"] = [f"run-{number}" for number in range(500)]
    assert planned(Exporter.from_object(found), MONDAY).claimed


def test_token_counts_as_handled_if_another_tool_wrote_a_part_of_the_status() -> None:
    found = body(None, {"run-requested-at": "A"})
    found["status"] = {"schedule": "every day at 00:20, UTC", "observedGeneration": 1}
    assert planned(Exporter.from_object(found), MONDAY).claimed is None


def test_slot_does_not_run_if_damaged_records_leave_open_whether_it_ran() -> None:
    ran = without_run(
        planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), MONDAY + HOUR, leadership=LED).status
    )
    lost = planned(with_invalid_field(ran, "claimedSlots", **HOURLY), MONDAY + HOUR, leadership=LED).status
    set_back = MONDAY + timedelta(minutes=10)
    again = planned(exporter(lost, **HOURLY), set_back, leadership=LED)
    assert planned(exporter(again.status, **HOURLY), set_back + HOUR / 4, leadership=LED).claimed is None


# Clocks


def test_slot_that_ran_while_the_clock_was_ahead_does_not_run_again() -> None:
    ahead = MONDAY + 12 * HOUR
    status = planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), ahead + 20 * timedelta(minutes=1)).status
    ran = status.claimed_slots or []
    assert [slot.due_time for slot in ran] == [ahead + timedelta(minutes=20)]
    status, now = without_run(status), MONDAY
    claimed = []
    while now < ahead + 2 * HOUR:
        now += timedelta(minutes=5)
        plan = planned(exporter(status, **HOURLY), now, leadership=LED)
        claimed += [plan.claimed.scheduled_time] if plan.claimed else []
        status = without_run(plan.status)
    assert ahead + timedelta(minutes=20) not in claimed
    assert len(claimed) == len(set(claimed)) == 13, "every other slot runs, also those that the wrong clock had passed"


def test_claimed_slots_are_bounded_and_slots_older_than_the_record_never_run() -> None:
    status, now = initial_status(MONDAY, **HOURLY), MONDAY
    for _ in range(100):
        now += HOUR
        status = without_run(planned(exporter(status, **HOURLY), now, leadership=LED).status)
    assert len(status.claimed_slots or []) == CLAIMED_SLOTS
    back = now - 50 * HOUR
    plan = planned(exporter(status, **HOURLY), back, leadership=LED)
    assert plan.claimed is None
    later = planned(exporter(plan.status, **HOURLY), back + HOUR, leadership=LED)
    assert later.claimed is None
    assert entries(later.status) == [("Skipped", "ClockStepped")] * 2


def test_slots_that_ran_are_not_reported_as_missed_after_a_clock_ahead_filled_the_record() -> None:
    ran, now = initial_status(MONDAY, **HOURLY), MONDAY
    for _ in range(5):
        now += HOUR
        ran = without_run(planned(exporter(ran, **HOURLY), now, leadership=LED).status)
    ahead, clock = ran, now + timedelta(days=3)
    for _ in range(CLAIMED_SLOTS):
        clock += HOUR
        ahead = without_run(planned(exporter(ahead, **HOURLY), clock, leadership=LED).status)
    right = planned(exporter(ahead, **HOURLY), now + HOUR, leadership=LED)
    assert entries(right.status) == []
    assert right.claimed
    assert right.claimed.scheduled_time == now + timedelta(minutes=20)


@pytest.mark.parametrize(
    ("otherwise", "leadership", "suspend"),
    [("missed", None, False), ("overtaken", LED, False), ("suspended", LED, True)],
    ids=["missed", "overtaken", "suspended"],
)
def test_slots_that_may_have_run_are_skipped_with_clock_stepped_after_a_large_step_back(
    otherwise: str, leadership: Leadership | None, suspend: bool
) -> None:
    ran, now = initial_status(MONDAY, **HOURLY), MONDAY
    for _ in range(100):
        now += HOUR
        ran = without_run(planned(exporter(ran, **HOURLY), now, leadership=LED).status)
    back = now - 50 * HOUR
    first = planned(exporter(ran, **HOURLY), back, leadership=LED).status
    options = {**HOURLY, "suspend": True} if suspend else HOURLY
    later = planned(exporter(without_run(first), **options), back + 3 * HOUR, leadership=leadership)
    assert later.claimed is None
    assert {reason for _, reason in entries(later.status)} == {"ClockStepped"}, otherwise
    resumed = planned(exporter(later.status, **HOURLY), now, leadership=LED).status
    assert planned(exporter(resumed, **HOURLY), now + HOUR, leadership=LED).claimed


def test_slots_between_a_clock_correction_and_its_detection_get_an_entry() -> None:
    """The clock is three days ahead when the exporter is created, and is corrected while no operator runs."""
    ahead = planned(exporter({}, **HOURLY), MONDAY + timedelta(days=3), leadership=LED).status
    found = replace(exporter(without_run(ahead), **HOURLY), created=MONDAY)
    now = MONDAY + timedelta(hours=2, minutes=25)
    corrected = planned(found, now, leadership=LED)
    assert corrected.claimed is None
    assert entries(corrected.status) == [("Skipped", "ClockStepped")]
    (entry,) = corrected.status.history or []
    assert "3 slots between 2026-11-23T12:20:00Z and 2026-11-23T14:20:00Z will not run" in entry.message
    later = planned(exporter(corrected.status, **HOURLY), now + HOUR, leadership=LED)
    assert later.claimed
    assert later.claimed.scheduled_time == MONDAY + timedelta(hours=3, minutes=20)


@pytest.mark.parametrize("case", ["suspended", "created by a clock that is ahead", "no due slot"])
def test_clock_correction_that_drops_no_slot_creates_no_entry(case: str) -> None:
    options = {**HOURLY, "suspend": True} if case == "suspended" else HOURLY
    ahead = planned(exporter({}, **options), MONDAY + timedelta(days=3), leadership=LED).status
    created = MONDAY + timedelta(days=3) if "created" in case else MONDAY
    now = MONDAY + timedelta(minutes=10 if case == "no due slot" else 145)
    found = replace(exporter(ahead, **options), created=created)
    assert entries(planned(found, now, leadership=LED).status) == []


def test_next_slot_is_recomputed_after_the_clock_was_ahead() -> None:
    ahead = planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), MONDAY + timedelta(days=400)).status
    found = exporter(without_run(ahead), **HOURLY)
    assert next_wake(found, MONDAY, ZONE).at <= MONDAY
    assert planned(found, MONDAY).status.next_schedule_time == MONDAY + timedelta(minutes=20)


def test_slots_wait_while_the_clock_is_in_doubt_but_requested_runs_start() -> None:
    plan = planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), MONDAY + timedelta(days=1), clock_unsure=True)
    assert plan.claimed is None
    assert plan.status.history is None
    assert plan.status.next_schedule_time == MONDAY + timedelta(days=1, minutes=20)
    found = exporter(initial_status(MONDAY), annotations={"run-requested-at": "now"})
    assert planned(found, MONDAY + HOUR, clock_unsure=True).claimed


def test_exporter_created_while_the_clock_is_in_doubt_runs_its_first_slot() -> None:
    first = planned(exporter(**HOURLY), MONDAY, clock_unsure=True).status
    slot = MONDAY + timedelta(minutes=20)
    assert first.next_schedule_time == slot
    due = planned(exporter(first, **HOURLY), slot, clock_unsure=True).status
    plan = planned(exporter(due, **HOURLY), slot + timedelta(minutes=4), leadership=LED)
    assert plan.claimed
    assert plan.claimed.scheduled_time == slot


def test_slot_that_waits_for_the_clock_gets_an_entry_when_the_exporter_is_suspended() -> None:
    slot = MONDAY + timedelta(minutes=20)
    waits = planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), slot, clock_unsure=True).status
    suspended = planned(exporter(waits, suspend=True, **HOURLY), slot + timedelta(minutes=1), clock_unsure=True).status
    assert entries(suspended) == [("Skipped", "Suspended")]
    resumed = planned(exporter(suspended, **HOURLY), slot + timedelta(minutes=2), leadership=LED)
    assert resumed.claimed is None, "a slot that fell due during a suspension never runs"


def test_slot_that_waits_for_the_clock_gets_an_entry_when_the_schedule_changes() -> None:
    slot = MONDAY + timedelta(minutes=20)
    waits = planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), slot, clock_unsure=True).status
    daily = {"frequency": "Daily"}
    changed = planned(exporter(waits, **daily), slot + timedelta(minutes=1), clock_unsure=True).status
    sure = planned(exporter(changed, **daily), slot + timedelta(minutes=4), leadership=LED).status
    (entry,) = sure.history or []
    assert (entry.result, entry.reason, entry.scheduled_time) == ("Missed", "ScheduleChanged", slot)
    assert sure.next_schedule_time == (MONDAY + timedelta(days=1)).replace(hour=0, minute=20)


def test_slots_before_a_slot_that_ran_too_early_become_one_entry() -> None:
    """The clock is corrected by 12 hours. Then no operator runs until the claimed slot is due again."""
    slot = MONDAY + timedelta(minutes=20)
    ran = without_run(planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), slot, leadership=LED).status)
    back = planned(exporter(ran, **HOURLY), slot - 12 * HOUR, leadership=LED).status
    late = planned(exporter(back, **HOURLY), slot + timedelta(minutes=1), leadership=LED)
    assert late.claimed is None, "this slot already ran"
    (entry,) = late.status.history or []
    assert entry.message.startswith("11 slots between 2026-11-23T01:20:00Z and 2026-11-23T11:20:00Z")


def test_skipped_slot_does_not_run_when_the_clock_is_set_back() -> None:
    slot = MONDAY + timedelta(minutes=20)
    found = exporter(initial_status(MONDAY, **HOURLY), annotations={"run-requested-at": "now"}, **HOURLY)
    run = planned(found, slot - timedelta(minutes=1), leadership=LED)
    assert run.claimed
    entry = entry_of(run.claimed, "Succeeded", Reason.SUCCEEDED, "", slot)
    skipped = finished(exporter(run.status, **HOURLY), Ended(entry), slot + timedelta(minutes=1), ZONE)
    assert ("Skipped", "RunActive") in entries(skipped)
    later = planned(exporter(skipped, **HOURLY), slot + HOUR, leadership=LED).status
    later = later.model_copy(update={"active_run": None})
    back = planned(exporter(later, **HOURLY), slot + timedelta(minutes=30), leadership=LED)
    assert back.claimed is None
    assert len(back.status.history or []) == len(later.history or [])


def test_slot_that_is_announced_after_the_clock_was_set_back_runs() -> None:
    """A run ends after the clock was set back. The next plan happens when the announced slot is due."""
    slot = MONDAY + timedelta(minutes=20)
    run = planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), slot, leadership=LED)
    assert run.claimed
    entry = entry_of(run.claimed, "Succeeded", Reason.SUCCEEDED, "", slot)
    back = slot - 12 * HOUR
    ended = finished(exporter(run.status, **HOURLY), Ended(entry), back, ZONE)
    assert ended.next_schedule_time == back + HOUR
    plan = planned(exporter(ended, **HOURLY), back + HOUR, leadership=LED)
    assert plan.claimed
    assert plan.claimed.scheduled_time == back + HOUR


STEPS = st.lists(st.tuples(st.integers(-3000, 3000), st.integers(1, 40)), max_size=6)


@settings(max_examples=60)
@given(STEPS, st.sampled_from([HOURLY, {"frequency": "Hourly", "everyHours": 6}, {"frequency": "Daily"}]))
def test_no_slot_runs_twice_or_lacks_an_entry_under_random_clock_steps(
    steps: list[tuple[int, int]], schedule: dict[str, object]
) -> None:
    """Each step has an offset of the clock in minutes and a number of plans. The last 300 plans have no offset."""
    status, true = initial_status(MONDAY, **schedule), MONDAY
    claimed: list[datetime] = []
    found: list[HistoryEntry] = []
    offsets = [offset for offset, number in steps for _ in range(number)] + [0] * 300
    right_since = MONDAY + timedelta(minutes=10) * (len(offsets) - 300)
    for offset in offsets:
        true += timedelta(minutes=10)
        now = true + timedelta(minutes=offset)
        plan = planned(exporter(status, **schedule), now, leadership=LED)
        claimed += [plan.claimed.scheduled_time] if plan.claimed and plan.claimed.scheduled_time else []
        found += plan.status.history or []
        status = without_run(plan.status)
    assert len(claimed) == len(set(claimed))
    interval = timedelta(hours=float(str(schedule.get("everyHours", 24))))
    due = MONDAY.replace(hour=0, minute=20)
    while due <= true:
        if due > right_since + timedelta(minutes=10):
            covered = due in claimed or any(_covers(entry, due) for entry in found)
            assert covered, due
        due += interval


def _covers(entry: HistoryEntry, due: datetime) -> bool:
    """Whether the entry is about this slot, alone or in a range."""
    first = entry.message.partition(" slots between ")[2][:20]
    return entry.scheduled_time == due or bool(
        first and first <= timestamp(due) <= timestamp(entry.scheduled_time or due)
    )


def test_slot_that_an_older_version_ran_does_not_run_again_after_an_upgrade() -> None:
    every_2_hours = {"frequency": "Hourly", "everyHours": 2}
    status = planned(exporter(initial_status(MONDAY, **every_2_hours), **every_2_hours), MONDAY + 2.4 * HOUR).status
    older = without_run(status).model_copy(update={"claimed_slots": None, "claimed_slots_since": None})
    upgraded = planned(exporter(older, **every_2_hours), MONDAY + 2.5 * HOUR, leadership=LED).status
    for back in (20, 150):
        now, found = MONDAY + 2.5 * HOUR - timedelta(minutes=back), upgraded
        while now < MONDAY + 3 * HOUR:
            plan = planned(exporter(found, **every_2_hours), now, leadership=LED)
            assert plan.claimed is None
            assert not any(entry.result == "Missed" for entry in plan.status.history or [])
            found, now = without_run(plan.status), now + timedelta(minutes=5)


def test_active_run_is_kept_while_the_clock_is_in_doubt() -> None:
    first = planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), MONDAY + HOUR / 3, leadership=LED)
    assert first.claimed
    found = exporter(first.status, **HOURLY)
    later = MONDAY + timedelta(days=1)
    assert planned(found, later, holder="another", orphaned=True, clock_unsure=True).status.active_run == first.claimed


# Time zones and schedules


@pytest.mark.parametrize("hours", [2, 3, 6, 12])
def test_every_announced_slot_runs_after_a_time_zone_change(hours: int) -> None:
    tokyo, angeles = (
        {"frequency": "Hourly", "everyHours": hours, "timeZone": zone} for zone in ("Asia/Tokyo", "America/Los_Angeles")
    )
    status, now = initial_status(MONDAY, **tokyo), MONDAY
    for _ in range(24):
        now += HOUR
        status = planned(exporter(status, **tokyo), now, leadership=LED).status.model_copy(update={"active_run": None})
    announced, ran = set(), set()
    for _ in range(24 * 6):
        now += timedelta(minutes=10)
        plan = planned(exporter(status, **angeles), now, leadership=LED)
        ran |= {plan.claimed.scheduled_time} if plan.claimed else set()
        announced |= {plan.status.next_schedule_time}
        status = plan.status.model_copy(update={"active_run": None})
    assert {slot for slot in announced if slot and slot <= now} == ran


def test_daily_slot_of_a_date_that_already_ran_is_skipped_with_an_entry() -> None:
    tokyo, angeles = ({"frequency": "Daily", "timeZone": zone} for zone in ("Asia/Tokyo", "America/Los_Angeles"))
    status = initial_status(MONDAY, **tokyo)
    ran = planned(exporter(status, **tokyo), at("2026-11-23 15:20")).status  # 00:20 on the 24th in Tokyo
    changed = planned(exporter(without_run(ran), **angeles), at("2026-11-23 16:00")).status
    assert changed.next_schedule_time == at("2026-11-24 08:20")  # 00:20 on the 24th in Los Angeles
    plan = planned(exporter(changed, **angeles), at("2026-11-24 08:20"), leadership=LED)
    assert plan.claimed is None
    assert entries(plan.status) == [("Skipped", "SlotAlreadyRan")]


def test_waiting_slots_of_a_replaced_schedule_become_one_entry_with_their_number() -> None:
    changed = exporter(initial_status(MONDAY, **HOURLY), frequency="Daily")
    plan = planned(changed, MONDAY + 3 * HOUR + timedelta(minutes=30), leadership=LED)
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "ScheduleChanged")
    assert entry.message.startswith("4 slots between 2026-11-23T12:20:00Z and 2026-11-23T15:20:00Z")


def test_slot_due_during_a_run_gets_an_entry_if_the_spec_became_invalid_meanwhile() -> None:
    request = {"run-requested-at": "now"}
    running = planned(exporter(initial_status(MONDAY), annotations=request), at("2026-11-24 00:19")).status
    assert running.active_run
    invalid = exporter(running, annotations=request, frequency="Fortnightly")
    plan = planned(invalid, at("2026-11-24 00:36"), holder="another", leadership=LED, orphaned=True)
    assert entries(plan.status) == [("Failed", "SpecInvalid")]
    assert plan.claimed


# The work queue


def test_slot_that_waited_in_the_queue_for_hours_runs() -> None:
    weekly = {"frequency": "Weekly", "dayOfWeek": "Tuesday"}
    found, now = exporter(initial_status(MONDAY, **weekly), **weekly), MONDAY + timedelta(days=3)
    plan = planned(found, now, leadership=LED, first=False, waited=timedelta(days=2, hours=11, minutes=30))
    assert plan.claimed
    assert plan.status.history is None


def test_slot_that_waited_in_the_queue_for_hours_runs_after_a_change_of_leader() -> None:
    weekly = {"frequency": "Weekly", "dayOfWeek": "Tuesday"}
    plan = planned(exporter(initial_status(MONDAY, **weekly), **weekly), at("2026-11-24 05:00"), leadership=LED)
    assert plan.claimed


@pytest.mark.parametrize("first", [True, False], ids=["restored with a new leader", "restored under the same leader"])
def test_past_slot_that_a_restored_status_lacks_is_missed_and_does_not_run(first: bool) -> None:
    weekly = {"frequency": "Weekly", "dayOfWeek": "Tuesday"}
    found, now = exporter(initial_status(MONDAY, **weekly), **weekly), MONDAY + timedelta(days=3)
    plan = planned(found, now, leadership=LED, first=first)
    assert plan.claimed is None
    assert [result for result, _ in entries(plan.status)] == ["Missed"]


def test_active_run_of_a_restored_status_is_not_resumed() -> None:
    request = {"run-requested-at": "now"}
    old = planned(exporter(initial_status(MONDAY), annotations=request), MONDAY).status
    plan = planned(exporter(old), MONDAY + timedelta(hours=8), holder="another", leadership=LED, orphaned=True)
    assert plan.claimed is None
    assert ("Missed", "DeadlineExceeded") in entries(plan.status)


def test_overtaken_slots_become_one_entry_with_figures_of_the_queue() -> None:
    now = MONDAY + 2 * HOUR + timedelta(minutes=30)
    plan = planned(
        exporter(initial_status(MONDAY, **HOURLY), **HOURLY), now, leadership=LED, waiting=7200, in_progress=500
    )
    assert plan.claimed
    assert plan.claimed.scheduled_time == MONDAY + 2 * HOUR + timedelta(minutes=20)
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "SlotOvertaken")
    assert entry.message.startswith("2 slots between")
    for number in ("7800 s", "7200 wait", "500 are in progress"):
        assert number in entry.message


def test_slots_before_the_leadership_and_slots_that_waited_get_separate_entries() -> None:
    now = MONDAY + 6 * HOUR + timedelta(minutes=30)
    led = Leadership.started(MONDAY + 3 * HOUR)
    plan = planned(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), now, leadership=led)
    assert plan.claimed
    assert entries(plan.status) == [("Missed", "SlotOvertaken"), ("Missed", "DeadlineExceeded")]


def test_interrupted_run_is_not_late_if_operators_led_without_a_gap() -> None:
    weekly = {"frequency": "Weekly", "dayOfWeek": "Tuesday"}
    first = planned(exporter(initial_status(MONDAY, **weekly), **weekly), at("2026-11-24 00:00"), leadership=LED)
    assert first.claimed
    plan = planned(
        exporter(first.status, **weekly), at("2026-11-24 05:00"), holder="another", leadership=LED, orphaned=True
    )
    assert plan.claimed
    assert (plan.claimed.id, plan.claimed.attempt) == (first.claimed.id, 2)
