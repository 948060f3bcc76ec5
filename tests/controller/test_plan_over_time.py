"""Planning while tokens come back, clocks jump, zones change and exporters wait: without a cluster."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qualtrics_exporter.controller.leader_gaps import Leadership
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
from tests.controller.exporters import ZONE, at, body, exporter, planned, seen

MONDAY = at("2026-11-23 12:00")
HOUR = timedelta(hours=1)
HOURLY = {"frequency": "Hourly", "everyHours": 1}
LED = Leadership.started(MONDAY)


def without_run(status: Status) -> Status:
    """As if the run had ended, and history had forgotten it."""
    return status.model_copy(update={"active_run": None, "history": None})


def entries(status: Status) -> list[tuple[str, str]]:
    return [(entry.result, entry.reason) for entry in status.history or []]


# Tokens


def plain(token: str) -> Token:
    """A token that status shows as it is."""
    return Token(token, token)


def test_a_run_token_that_git_restores_after_a_thousand_tests_does_not_act_again() -> None:
    status = planned(exporter(seen(MONDAY), annotations={"run-requested-at": "A"}), MONDAY).status
    status = planned(exporter(without_run(status), annotations={"run-requested-at": "B"}), MONDAY).status
    for number in range(1000):
        found = exporter(without_run(status), annotations={"test-requested-at": f"dry-{number}"})
        status = with_receipt(TEST, found, found.status, plain(f"dry-{number}"))
    assert planned(exporter(without_run(status), annotations={"run-requested-at": "A"}), MONDAY).claimed is None


@pytest.mark.parametrize("kind", [RUN, TEST, SETTLEMENT], ids=["run", "test", "settlement"])
def test_a_token_is_remembered_however_many_of_its_kind_follow(kind: Kind) -> None:
    tokens = [f"{'a' * 18}{chr(97 + n // 26)}{chr(97 + n % 26)}=Sent" for n in range(200)]  # fit for each kind
    status = seen(MONDAY)
    for token in tokens:
        status = with_receipt(kind, exporter(), status, plain(token))
    for token in tokens:
        found = exporter(status, annotations={kind.annotation.partition("/")[2]: token})
        assert requested(kind, found) is None


def a_token(kind: Kind, number: int) -> str:
    """A different token for each number. As a settlement, it is understood."""
    letters = "".join(chr(97 + number // 26**place % 26) for place in range(4))
    return f"{'a' * 16}{letters}=Sent" if kind is SETTLEMENT else f"token-{number}"


def with_token(kind: Kind, token: str, status: Status) -> Exporter:
    """The exporter with that token in the annotation of its kind, and that status."""
    return replace(exporter(), status=status, annotations={kind.annotation: token})


@pytest.mark.parametrize(
    ("kind", "receipts"),
    [(RUN, HANDLED_TOKENS), (RUN, 100), (TEST, 100), (SETTLEMENT, 100)],
    ids=["run", "run, few", "test", "settlement"],
)
def test_a_token_that_self_heal_restores_again_and_again_acts_once(kind: Kind, receipts: int, monkeypatch: Any) -> None:
    """Git holds A, somebody annotates B, self-heal restores A; then C, A, and so on: more tokens than receipts."""
    if receipts < HANDLED_TOKENS:
        monkeypatch.setattr(requests, "HANDLED_TOKENS", receipts)
        monkeypatch.setattr(requests, "RECENT_TOKENS", 10)
    status, writes = seen(MONDAY), 0
    acted = Counter[str]()
    others = [a_token(kind, number) for number in range(1, receipts + 500)]
    for token in itertools.chain.from_iterable((a_token(kind, 0), other) for other in others):
        found = with_token(kind, token, status)
        if new := requested(kind, found):
            acted[token] += 1
            status = with_receipt(kind, found, status, new)
        else:
            kept = with_current_receipts(found, status)
            assert with_current_receipts(with_token(kind, token, kept), kept) is kept, "it would be written each time"
            writes += kept is not status
            status = kept
    assert acted == Counter([a_token(kind, 0), *others])
    assert writes <= len(others) / 10
    assert len(getattr(status, kind.handled)) == receipts


@pytest.mark.parametrize("token", ["A", "asked by alice@example.com", "a" * 300])
@pytest.mark.parametrize("crd", ["newer", "older"])
def test_planning_keeps_the_token_that_is_in_an_annotation(monkeypatch: Any, token: str, crd: str) -> None:
    """Whatever status shows of it, and also where a CRD of a version before 0.2 keeps a single short list."""
    monkeypatch.setattr(requests, "HANDLED_TOKENS", 40)
    monkeypatch.setattr(requests, "RECENT_TOKENS", 10)
    status, now = seen(MONDAY), MONDAY
    for number in range(60):
        for text in (token, f"other-{number}"):
            if crd == "older":
                gone = ("handled_run_requests", "handled_test_requests", "handled_settlements", "sent_runs")
                status = status.model_copy(update=dict.fromkeys(gone))
            found = exporter(
                without_run(status.model_copy(update={"sent_runs": None})), annotations={"run-requested-at": text}
            )
            plan = planned(found, now)
            assert (plan.claimed is None) is (text == token and number > 0)
            status = plan.status
            if plan.claimed is None:
                assert planned(replace(found, status=status), now).status == status, "it would be written each time"


def test_receipts_of_one_kind_do_not_count_for_another() -> None:
    status = with_receipt(TEST, exporter(), seen(MONDAY), plain("same"))
    assert planned(exporter(status, annotations={"run-requested-at": "same"}), MONDAY).claimed


def test_where_an_older_crd_drops_the_receipts_the_tokens_in_the_annotations_are_kept() -> None:
    asked = {"run-requested-at": "A", "test-requested-at": "T"}
    found = exporter(seen(MONDAY), annotations=asked)
    status = with_receipt(TEST, found, with_receipt(RUN, found, found.status, plain("A")), plain("T"))
    for number in range(3 * HANDLED_REQUESTS):
        status = with_receipt(RUN, found, status, plain(f"other-{number}"))
    status = without_run(status).model_copy(update={"handled_run_requests": None, "handled_test_requests": None})
    assert len(status.handled_requests or []) <= HANDLED_REQUESTS
    assert requested(RUN, exporter(status, annotations=asked)) is None
    assert requested(TEST, exporter(status, annotations=asked)) is None


def test_a_run_that_was_sent_is_not_sent_again_although_its_receipts_are_gone() -> None:
    asked = {"run-requested-at": "A"}
    claimed = planned(exporter(seen(MONDAY), annotations=asked), MONDAY).claimed
    assert claimed
    status = seen(MONDAY).model_copy(update={"sent_runs": [claimed.id]})
    plan = planned(exporter(status, annotations=asked), MONDAY)
    assert plan.claimed is None
    assert entries(plan.status) == [("Skipped", "AlreadySent")]


def with_invalid(status: Status, field: str, **more: Any) -> Exporter:
    """As if a tool had put an invalid value in place of what a field of the status remembers."""
    found = body(status, **more)
    found["status"][field] = [7]
    return Exporter.from_object(found)


@pytest.mark.parametrize("field", ["handledRunRequests", "handledRequests", "sentRuns", "claimedSlots"])
def test_a_token_never_acts_if_it_is_not_known_any_more_whether_it_did(field: str) -> None:
    asked = {"run-requested-at": "A"}
    plan = planned(with_invalid(seen(MONDAY), field, annotations=asked), MONDAY)
    assert plan.claimed is None
    later = planned(exporter(plan.status, annotations=asked), MONDAY + HOUR)
    assert later.claimed is None
    assert planned(exporter(later.status, annotations={"run-requested-at": "B"}), MONDAY + HOUR).claimed


def test_what_is_not_known_any_more_has_entries() -> None:
    """A slot is due and a run is requested when a tool damages the status: neither is lost silently."""
    slot = MONDAY + timedelta(minutes=20)
    announced = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), MONDAY, leadership=LED).status
    found = with_invalid(announced, "sentRuns", annotations={"run-requested-at": "A"}, **HOURLY)
    plan = planned(found, slot + timedelta(seconds=2), leadership=LED)
    assert plan.claimed is None
    assert entries(plan.status) == [("Skipped", "StatusNotUnderstood")] * 2
    assert plan.status.next_schedule_time == slot + HOUR


@pytest.mark.parametrize("mode", ["Dry", "Deliver"])
def test_a_test_that_counts_as_handled_after_damage_has_an_entry(mode: str) -> None:
    asked = {"test-requested-at": "T", "test-mode": mode}
    plan = planned(with_invalid(seen(MONDAY), "handledTestRequests", annotations=asked), MONDAY)
    assert plan.claimed is None
    ended = plan.status.last_test
    assert ended
    assert (ended.trigger, ended.result, ended.reason) == ("Test", "Skipped", "StatusNotUnderstood")
    assert requested(TEST, exporter(plan.status, annotations=asked)) is None
    assert planned(exporter(plan.status, annotations=asked), MONDAY + HOUR).status.last_test == ended


def test_a_test_whose_journal_is_damaged_keeps_its_entry_beside_another_test() -> None:
    """The damaged test may have been sent: the entry that says so must stay."""
    found = body(seen(MONDAY), {"test-requested-at": "T"})
    found["status"] |= {"sentRuns": [7], "activeRun": {"trigger": "Test", "step": "Sending", "id": "a" * 20}}
    status = planned(Exporter.from_object(found), MONDAY).status
    assert status.last_test
    assert (status.last_test.id, status.last_test.result) == ("a" * 20, "Unknown")
    assert [(e.trigger, e.reason) for e in status.history or []] == [("Test", "StatusNotUnderstood")]


def test_a_delivering_test_that_was_sent_is_not_sent_again_and_says_so() -> None:
    asked = {"test-requested-at": "T", "test-mode": "Deliver"}
    claimed = planned(exporter(seen(MONDAY), annotations=asked), MONDAY).claimed
    assert claimed
    status = seen(MONDAY).model_copy(update={"sent_runs": [claimed.id]})
    plan = planned(exporter(status, annotations=asked), MONDAY)
    assert plan.claimed is None
    assert plan.status.last_test
    assert (plan.status.last_test.result, plan.status.last_test.reason) == ("Skipped", "AlreadySent")


def test_an_outcome_that_a_person_reports_counts_after_damage() -> None:
    """A settlement sends nothing, and a value that counted as handled could not be given again."""
    run = planned(exporter(seen(MONDAY), annotations={"run-requested-at": "A"}), MONDAY).claimed
    assert run
    sent = run.model_copy(update={"step": "Sending", "send_time": MONDAY})
    entry = entry_of(sent, "Unknown", Reason.DELIVERY_UNKNOWN, "It may have been sent.", MONDAY)
    found = with_invalid(seen(MONDAY).with_entry(entry), "sentRuns", annotations={"settle-run": f"{run.id}=Sent"})
    status = planned(found, MONDAY + HOUR).status
    assert [(e.result, e.reason) for e in status.history or []] == [("Succeeded", "SettledAsSent")]


def test_the_oldest_items_of_a_list_that_is_too_long_are_no_loss() -> None:
    found = body(seen(MONDAY), {"run-requested-at": "A"})
    found["status"]["sentRuns"] = [f"run-{number}" for number in range(500)]
    assert planned(Exporter.from_object(found), MONDAY).claimed


def test_tokens_count_as_handled_where_a_part_of_the_status_was_written_by_something_else() -> None:
    found = body(None, {"run-requested-at": "A"})
    found["status"] = {"schedule": "every day at 00:20, UTC", "observedGeneration": 1}
    assert planned(Exporter.from_object(found), MONDAY).claimed is None


def test_a_slot_never_runs_if_it_is_not_known_any_more_whether_it_did() -> None:
    ran = without_run(planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), MONDAY + HOUR, leadership=LED).status)
    lost = planned(with_invalid(ran, "claimedSlots", **HOURLY), MONDAY + HOUR, leadership=LED).status
    set_back = MONDAY + timedelta(minutes=10)
    again = planned(exporter(lost, **HOURLY), set_back, leadership=LED)
    assert planned(exporter(again.status, **HOURLY), set_back + HOUR / 4, leadership=LED).claimed is None


# Clocks


def test_a_slot_that_ran_while_the_clock_was_ahead_does_not_run_again() -> None:
    ahead = MONDAY + 12 * HOUR
    status = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), ahead + 20 * timedelta(minutes=1)).status
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
    assert len(claimed) == len(set(claimed)) == 13, "every other slot runs, also those that the wrong clock wrote off"


def test_the_record_of_claimed_slots_does_not_grow_and_an_older_slot_never_runs() -> None:
    status, now = seen(MONDAY, **HOURLY), MONDAY
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


def test_slots_that_ran_are_not_reported_as_missed_after_a_clock_that_was_ahead_filled_the_record() -> None:
    ran, now = seen(MONDAY, **HOURLY), MONDAY
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
    ("what", "led", "suspend"),
    [("missed", None, False), ("overtaken", LED, False), ("suspended", LED, True)],
)
def test_a_clock_that_is_set_back_far_reports_no_slot_that_may_have_run(
    what: str, led: Leadership | None, suspend: bool
) -> None:
    ran, now = seen(MONDAY, **HOURLY), MONDAY
    for _ in range(100):
        now += HOUR
        ran = without_run(planned(exporter(ran, **HOURLY), now, leadership=LED).status)
    back = now - 50 * HOUR
    first = planned(exporter(ran, **HOURLY), back, leadership=LED).status
    options = {**HOURLY, "suspend": True} if suspend else HOURLY
    later = planned(exporter(without_run(first), **options), back + 3 * HOUR, leadership=led)
    assert later.claimed is None
    assert {reason for _, reason in entries(later.status)} == {"ClockStepped"}, what
    resumed = planned(exporter(later.status, **HOURLY), now, leadership=LED).status
    assert planned(exporter(resumed, **HOURLY), now + HOUR, leadership=LED).claimed


def test_slots_between_the_correction_of_a_clock_and_its_notice_have_an_entry() -> None:
    """The clock is three days ahead when the exporter is created. It is corrected while nobody is there to notice."""
    ahead = planned(exporter({}, **HOURLY), MONDAY + timedelta(days=3), leadership=LED).status
    found = replace(exporter(without_run(ahead), **HOURLY), created=MONDAY)
    now = MONDAY + timedelta(hours=2, minutes=25)
    corrected = planned(found, now, leadership=LED)
    assert corrected.claimed is None
    assert entries(corrected.status) == [("Skipped", "ClockStepped")]
    (entry,) = corrected.status.history or []
    assert "3 slots between 2026-11-23T12:20:00Z and 2026-11-23T14:20:00Z will not run any more" in entry.message
    later = planned(exporter(corrected.status, **HOURLY), now + HOUR, leadership=LED)
    assert later.claimed
    assert later.claimed.scheduled_time == MONDAY + timedelta(hours=3, minutes=20)


@pytest.mark.parametrize("why", ["suspended", "created by a clock that is ahead", "nothing fell due"])
def test_a_corrected_clock_is_no_reason_for_an_entry(why: str) -> None:
    options = {**HOURLY, "suspend": True} if why == "suspended" else HOURLY
    ahead = planned(exporter({}, **options), MONDAY + timedelta(days=3), leadership=LED).status
    created = MONDAY + timedelta(days=3) if "created" in why else MONDAY
    now = MONDAY + timedelta(minutes=10 if why == "nothing fell due" else 145)
    found = replace(exporter(ahead, **options), created=created)
    assert entries(planned(found, now, leadership=LED).status) == []


def test_after_a_clock_was_ahead_the_next_slot_is_the_next_one() -> None:
    ahead = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), MONDAY + timedelta(days=400)).status
    found = exporter(without_run(ahead), **HOURLY)
    assert next_wake(found, MONDAY, ZONE).at <= MONDAY
    assert planned(found, MONDAY).status.next_schedule_time == MONDAY + timedelta(minutes=20)


def test_while_the_clock_may_be_set_back_no_slot_is_claimed_or_written_off() -> None:
    plan = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), MONDAY + timedelta(days=1), unsure=True)
    assert plan.claimed is None
    assert plan.status.history is None
    assert plan.status.next_schedule_time == MONDAY + timedelta(days=1, minutes=20)
    asked = exporter(seen(MONDAY), annotations={"run-requested-at": "now"})
    assert planned(asked, MONDAY + HOUR, unsure=True).claimed


def test_an_exporter_that_is_new_while_the_clock_is_in_doubt_keeps_its_first_slot() -> None:
    first = planned(exporter(**HOURLY), MONDAY, unsure=True).status
    slot = MONDAY + timedelta(minutes=20)
    assert first.next_schedule_time == slot
    due = planned(exporter(first, **HOURLY), slot, unsure=True).status
    plan = planned(exporter(due, **HOURLY), slot + timedelta(minutes=4), leadership=LED)
    assert plan.claimed
    assert plan.claimed.scheduled_time == slot


def test_a_slot_that_waits_for_the_clock_has_an_entry_when_its_exporter_is_suspended() -> None:
    slot = MONDAY + timedelta(minutes=20)
    waits = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), slot, unsure=True).status
    suspended = planned(exporter(waits, suspend=True, **HOURLY), slot + timedelta(minutes=1), unsure=True).status
    assert entries(suspended) == [("Skipped", "Suspended")]
    resumed = planned(exporter(suspended, **HOURLY), slot + timedelta(minutes=2), leadership=LED)
    assert resumed.claimed is None, "a slot that fell due during a suspension never runs"


def test_a_slot_that_waits_for_the_clock_has_an_entry_when_its_schedule_changes() -> None:
    slot = MONDAY + timedelta(minutes=20)
    waits = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), slot, unsure=True).status
    daily = {"frequency": "Daily"}
    changed = planned(exporter(waits, **daily), slot + timedelta(minutes=1), unsure=True).status
    sure = planned(exporter(changed, **daily), slot + timedelta(minutes=4), leadership=LED).status
    (entry,) = sure.history or []
    assert (entry.result, entry.reason, entry.scheduled_time) == ("Missed", "ScheduleChanged", slot)
    assert sure.next_schedule_time == (MONDAY + timedelta(days=1)).replace(hour=0, minute=20)


def test_slots_in_front_of_one_that_a_clock_brought_too_early_have_entries() -> None:
    """The clock was set back by 12 hours for good; then no operator runs until the claimed slot is passed again."""
    slot = MONDAY + timedelta(minutes=20)
    ran = without_run(planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), slot, leadership=LED).status)
    back = planned(exporter(ran, **HOURLY), slot - 12 * HOUR, leadership=LED).status
    late = planned(exporter(back, **HOURLY), slot + timedelta(minutes=1), leadership=LED)
    assert late.claimed is None, "this slot had its run"
    (entry,) = late.status.history or []
    assert entry.message.startswith("11 slots between 2026-11-23T01:20:00Z and 2026-11-23T11:20:00Z")


def test_a_slot_that_was_skipped_does_not_run_when_the_clock_is_set_back() -> None:
    slot = MONDAY + timedelta(minutes=20)
    asked = exporter(seen(MONDAY, **HOURLY), annotations={"run-requested-at": "now"}, **HOURLY)
    run = planned(asked, slot - timedelta(minutes=1), leadership=LED)
    assert run.claimed
    entry = entry_of(run.claimed, "Succeeded", Reason.SUCCEEDED, "", slot)
    skipped = finished(exporter(run.status, **HOURLY), Ended(entry), slot + timedelta(minutes=1), ZONE)
    assert ("Skipped", "RunActive") in entries(skipped)
    later = planned(exporter(skipped, **HOURLY), slot + HOUR, leadership=LED).status
    later = later.model_copy(update={"active_run": None})
    back = planned(exporter(later, **HOURLY), slot + timedelta(minutes=30), leadership=LED)
    assert back.claimed is None
    assert len(back.status.history or []) == len(later.history or [])


def test_an_announced_slot_has_an_entry_although_the_clock_was_set_back_before() -> None:
    """The run that was active ends after the clock was set back, and nobody plans until the announced slot is due."""
    slot = MONDAY + timedelta(minutes=20)
    run = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), slot, leadership=LED)
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
def test_whatever_the_clock_does_no_slot_runs_twice_and_each_has_an_entry(
    steps: list[tuple[int, int]], schedule: dict[str, object]
) -> None:
    """Steps of the wall clock in minutes, each for so many looks of ten minutes; then two days of the right time."""
    status, true = seen(MONDAY, **schedule), MONDAY
    claimed: list[datetime] = []
    told: list[HistoryEntry] = []
    looks = [offset for offset, number in steps for _ in range(number)] + [0] * 300
    settled = MONDAY + timedelta(minutes=10) * (len(looks) - 300)
    for offset in looks:
        true += timedelta(minutes=10)
        now = true + timedelta(minutes=offset)
        plan = planned(exporter(status, **schedule), now, leadership=LED)
        claimed += [plan.claimed.scheduled_time] if plan.claimed and plan.claimed.scheduled_time else []
        told += plan.status.history or []
        status = without_run(plan.status)
    assert len(claimed) == len(set(claimed))
    every = timedelta(hours=float(str(schedule.get("everyHours", 24))))
    due = MONDAY.replace(hour=0, minute=20)
    while due <= true:
        if due > settled + timedelta(minutes=10):
            covered = due in claimed or any(_covers(entry, due) for entry in told)
            assert covered, due
        due += every


def _covers(entry: HistoryEntry, due: datetime) -> bool:
    """Whether the entry speaks of that slot, alone or in a range."""
    first = entry.message.partition(" slots between ")[2][:20]
    return entry.scheduled_time == due or bool(
        first and first <= timestamp(due) <= timestamp(entry.scheduled_time or due)
    )


def test_after_an_upgrade_a_slot_that_an_older_version_ran_does_not_run_again() -> None:
    every_2_hours = {"frequency": "Hourly", "everyHours": 2}
    status = planned(exporter(seen(MONDAY, **every_2_hours), **every_2_hours), MONDAY + 2.4 * HOUR).status
    older = without_run(status).model_copy(update={"claimed_slots": None, "claimed_slots_since": None})
    upgraded = planned(exporter(older, **every_2_hours), MONDAY + 2.5 * HOUR, leadership=LED).status
    for back in (20, 150):
        now, found = MONDAY + 2.5 * HOUR - timedelta(minutes=back), upgraded
        while now < MONDAY + 3 * HOUR:
            plan = planned(exporter(found, **every_2_hours), now, leadership=LED)
            assert plan.claimed is None
            assert not any(entry.result == "Missed" for entry in plan.status.history or [])
            found, now = without_run(plan.status), now + timedelta(minutes=5)


def test_a_run_is_not_written_off_while_the_clock_may_be_set_back() -> None:
    first = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), MONDAY + HOUR / 3, leadership=LED)
    assert first.claimed
    found = exporter(first.status, **HOURLY)
    later = MONDAY + timedelta(days=1)
    assert planned(found, later, holder="another", orphaned=True, unsure=True).status.active_run == first.claimed


# Zones


@pytest.mark.parametrize("hours", [2, 3, 6, 12])
def test_after_a_change_of_zone_every_announced_slot_runs(hours: int) -> None:
    tokyo, angeles = (
        {"frequency": "Hourly", "everyHours": hours, "timeZone": zone} for zone in ("Asia/Tokyo", "America/Los_Angeles")
    )
    status, now = seen(MONDAY, **tokyo), MONDAY
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


def test_a_daily_slot_of_a_date_that_had_its_run_is_skipped_with_an_entry() -> None:
    tokyo, angeles = ({"frequency": "Daily", "timeZone": zone} for zone in ("Asia/Tokyo", "America/Los_Angeles"))
    status = seen(MONDAY, **tokyo)
    ran = planned(exporter(status, **tokyo), at("2026-11-23 15:20")).status  # 00:20 on the 24th in Tokyo
    changed = planned(exporter(without_run(ran), **angeles), at("2026-11-23 16:00")).status
    assert changed.next_schedule_time == at("2026-11-24 08:20")  # 00:20 on the 24th in Los Angeles
    plan = planned(exporter(changed, **angeles), at("2026-11-24 08:20"), leadership=LED)
    assert plan.claimed is None
    assert entries(plan.status) == [("Skipped", "SlotAlreadyRan")]


def test_slots_that_waited_when_the_schedule_changed_are_told_with_their_number() -> None:
    changed = exporter(seen(MONDAY, **HOURLY), frequency="Daily")
    plan = planned(changed, MONDAY + 3 * HOUR + timedelta(minutes=30), leadership=LED)
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "ScheduleChanged")
    assert entry.message.startswith("4 slots between 2026-11-23T12:20:00Z and 2026-11-23T15:20:00Z")


def test_a_slot_that_fell_due_during_a_run_has_its_entry_also_if_the_spec_became_invalid_meanwhile() -> None:
    asked = {"run-requested-at": "now"}
    running = planned(exporter(seen(MONDAY), annotations=asked), at("2026-11-24 00:19")).status
    assert running.active_run
    invalid = exporter(running, annotations=asked, frequency="Fortnightly")
    plan = planned(invalid, at("2026-11-24 00:36"), holder="another", leadership=LED, orphaned=True)
    assert entries(plan.status) == [("Failed", "SpecInvalid")]
    assert plan.claimed


# The queue


def test_a_slot_that_waited_for_hours_runs() -> None:
    weekly = {"frequency": "Weekly", "dayOfWeek": "Tuesday"}
    found, now = exporter(seen(MONDAY, **weekly), **weekly), MONDAY + timedelta(days=3)
    plan = planned(found, now, leadership=LED, first=False, waited=timedelta(days=2, hours=11, minutes=30))
    assert plan.claimed
    assert plan.status.history is None


def test_a_slot_that_waited_for_hours_runs_also_after_a_change_of_leaders() -> None:
    weekly = {"frequency": "Weekly", "dayOfWeek": "Tuesday"}
    plan = planned(exporter(seen(MONDAY, **weekly), **weekly), at("2026-11-24 05:00"), leadership=LED)
    assert plan.claimed


@pytest.mark.parametrize("first", [True, False], ids=["the operator changed too", "the operator runs on"])
def test_a_slot_that_a_restored_status_forgot_is_missed_and_not_sent_again(first: bool) -> None:
    weekly = {"frequency": "Weekly", "dayOfWeek": "Tuesday"}
    found, now = exporter(seen(MONDAY, **weekly), **weekly), MONDAY + timedelta(days=3)
    plan = planned(found, now, leadership=LED, first=first)
    assert plan.claimed is None
    assert [result for result, _ in entries(plan.status)] == ["Missed"]


def test_a_run_that_a_restored_status_brings_back_is_not_resumed() -> None:
    asked = {"run-requested-at": "now"}
    old = planned(exporter(seen(MONDAY), annotations=asked), MONDAY).status
    plan = planned(exporter(old), MONDAY + timedelta(hours=8), holder="another", leadership=LED, orphaned=True)
    assert plan.claimed is None
    assert ("Missed", "DeadlineExceeded") in entries(plan.status)


def test_a_slot_that_is_overtaken_while_it_waits_is_told_with_numbers() -> None:
    now = MONDAY + 2 * HOUR + timedelta(minutes=30)
    plan = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), now, leadership=LED, waiting=7200, in_progress=500)
    assert plan.claimed
    assert plan.claimed.scheduled_time == MONDAY + 2 * HOUR + timedelta(minutes=20)
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "SlotOvertaken")
    assert entry.message.startswith("2 slots between")
    for number in ("7800 s", "7200 wait", "500 are in progress"):
        assert number in entry.message


def test_slots_from_before_the_operator_and_slots_that_waited_are_two_entries() -> None:
    now = MONDAY + 6 * HOUR + timedelta(minutes=30)
    led = Leadership.started(MONDAY + 3 * HOUR)
    plan = planned(exporter(seen(MONDAY, **HOURLY), **HOURLY), now, leadership=led)
    assert plan.claimed
    assert entries(plan.status) == [("Missed", "SlotOvertaken"), ("Missed", "DeadlineExceeded")]


def test_a_run_that_was_interrupted_while_operators_led_without_a_gap_is_not_late() -> None:
    weekly = {"frequency": "Weekly", "dayOfWeek": "Tuesday"}
    first = planned(exporter(seen(MONDAY, **weekly), **weekly), at("2026-11-24 00:00"), leadership=LED)
    assert first.claimed
    plan = planned(
        exporter(first.status, **weekly), at("2026-11-24 05:00"), holder="another", leadership=LED, orphaned=True
    )
    assert plan.claimed
    assert (plan.claimed.id, plan.claimed.attempt) == (first.claimed.id, 2)
