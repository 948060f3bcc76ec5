"""Slots neither get lost nor run twice if fields of the status are damaged that record them."""

from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from qualtrics_exporter.controller.election.leadership import Leadership
from qualtrics_exporter.controller.plan.next_status import Plan, finished
from qualtrics_exporter.controller.plan.wake import Wake, next_wake
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Status, entry_of
from tests.controller.exporters import ZONE, at, body, exporter, initial_status, planned

MONDAY = at("2026-11-23 12:00")
DUE = at("2026-11-24 00:20")
MINUTE, DAY, YEAR = timedelta(minutes=1), timedelta(days=1), timedelta(days=365)
HOURLY = {"frequency": "Hourly", "everyHours": 1}
TIME_FIELDS = ("nextScheduleTime", "schedule", "scheduleSince", "lastScheduleTime")
RECORD_FIELDS = ("claimedSlots", "claimedSlotsSince", "sentRuns")
DAMAGED_FIELDS = [
    fields
    for number in (1, 2, 3, 5, 8)
    for fields in combinations((*TIME_FIELDS, *RECORD_FIELDS, "history"), number)
    if fields != ("history",)
]


def damaged(
    status: Status, fields: tuple[str, ...], annotations: dict[str, str] | None = None, **schedule: Any
) -> Exporter:
    """Return the exporter after another tool has written a number into these fields."""
    found = body(status, annotations, **schedule)
    found["status"] |= dict.fromkeys(fields, 7)
    return Exporter.from_object(found)


def planned_by_leader(found: Exporter, now: datetime, **circumstances: Any) -> Plan:
    """Plan as a process that has been leading for a long time."""
    return planned(found, now, leadership=Leadership(), first=False, **circumstances)


def status_after_send(plan: Plan, now: datetime, **options: Any) -> Status:
    """Return the status after the claimed run was sent."""
    assert plan.claimed
    run = plan.claimed.model_copy(update={"step": "Sent", "send_time": now, "distribution_id": "EMD_1"})
    ended = Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "", now))
    return finished(exporter(plan.status.model_copy(update={"active_run": run}), **options), ended, now, ZONE)


def status_after_first_run() -> Status:
    return status_after_send(planned_by_leader(exporter(initial_status(MONDAY)), DUE), DUE + MINUTE)


def slots_with_entry(status: Status) -> set[datetime]:
    """Return the slots that have an entry."""
    return {entry.scheduled_time for entry in status.history or [] if entry.scheduled_time}


@pytest.mark.parametrize("first", [True, False], ids=["the first slot", "the second slot"])
def test_due_slot_runs_or_has_an_entry_whichever_fields_are_damaged(first: bool) -> None:
    status, due = (initial_status(MONDAY), DUE) if first else (status_after_first_run(), DUE + DAY)
    for fields in DAMAGED_FIELDS:
        plan = planned_by_leader(damaged(status, fields), due)
        assert (plan.claimed and plan.claimed.scheduled_time == due) or due in slots_with_entry(plan.status), fields
        assert plan.status.next_schedule_time == due + DAY, fields
        following = planned_by_leader(exporter(plan.status.model_copy(update={"active_run": None})), due + DAY)
        assert following.claimed, fields


def test_slot_that_ran_does_not_run_again_whichever_fields_are_damaged() -> None:
    for fields in DAMAGED_FIELDS:
        plan = planned_by_leader(damaged(status_after_first_run(), fields), DUE + 2 * MINUTE)
        assert plan.claimed is None, fields
        assert planned_by_leader(exporter(plan.status), DUE + 3 * MINUTE).claimed is None, fields


def test_slot_that_ran_has_no_second_entry_while_the_history_is_intact() -> None:
    for fields in DAMAGED_FIELDS:
        if "history" not in fields:
            status = planned_by_leader(damaged(status_after_first_run(), fields), DUE + 2 * MINUTE).status
            assert [entry.result for entry in status.history or []] == ["Succeeded"], fields


def test_slots_run_after_damage_while_the_clock_was_a_year_ahead() -> None:
    for fields in DAMAGED_FIELDS:
        ahead = planned_by_leader(damaged(status_after_first_run(), fields), DUE + YEAR, clock_unsure=True)
        assert ahead.claimed is None, fields
        back = planned_by_leader(exporter(ahead.status), DUE + 2 * MINUTE)
        assert back.claimed is None, f"{fields}: the slot runs again"
        runs, status = 0, back.status
        for day in range(1, 4):
            plan = planned_by_leader(exporter(status), DUE + day * DAY)
            status, runs = (status_after_send(plan, DUE + day * DAY), runs + 1) if plan.claimed else (plan.status, runs)
        assert runs == 3, fields


def test_slot_that_waits_until_the_clock_is_trusted_runs_despite_damage() -> None:
    for fields in (
        ("sentRuns",),
        ("claimedSlots", "sentRuns"),
        ("lastScheduleTime",),
        ("nextScheduleTime", "sentRuns"),
    ):
        waiting = planned_by_leader(damaged(status_after_first_run(), fields), DUE + DAY + MINUTE, clock_unsure=True)
        assert waiting.claimed is None
        assert slots_with_entry(waiting.status) == {DUE}, "no slot is skipped while the clock is not trusted"
        plan = planned_by_leader(exporter(waiting.status), DUE + DAY + 5 * MINUTE)
        assert plan.claimed, fields
        assert plan.claimed.scheduled_time == DUE + DAY


@pytest.mark.parametrize("field", TIME_FIELDS)
def test_damaged_time_is_repaired_at_once(field: str) -> None:
    """The next slots overwrite the other fields, from which the time can be restored."""
    found = damaged(status_after_first_run(), (field,))
    assert next_wake(found, DUE + 2 * MINUTE, ZONE) == Wake(DUE + 2 * MINUTE)


def test_slot_that_was_skipped_during_a_run_does_not_run_if_last_schedule_time_is_damaged() -> None:
    annotations = {"run-requested-at": "a"}
    run = planned_by_leader(exporter(initial_status(MONDAY), annotations=annotations), DUE - MINUTE)
    status = status_after_send(run, DUE + MINUTE, annotations=annotations)
    assert slots_with_entry(status) == {DUE}
    plan = planned_by_leader(damaged(status, ("lastScheduleTime",), annotations), DUE + 2 * MINUTE)
    assert plan.claimed is None
    assert plan.status.last_schedule_time == DUE
    assert plan.status.history == status.history


def test_slot_that_ran_early_does_not_run_again_after_damage() -> None:
    """The slot ran while the clock was an hour ahead. Later entries push its entry out of the history."""
    early = MONDAY + timedelta(minutes=80)
    status = status_after_send(
        planned_by_leader(exporter(initial_status(MONDAY, **HOURLY), **HOURLY), early), early, **HOURLY
    )
    for fields in (("claimedSlots", "sentRuns"), ("claimedSlots", "sentRuns", "history")):
        corrected = planned_by_leader(damaged(status, fields, **HOURLY), MONDAY + 15 * MINUTE).status
        corrected = corrected.model_copy(update={"history": []})
        plan = planned_by_leader(exporter(corrected, **HOURLY), early)
        assert not (plan.claimed and plan.claimed.scheduled_time == early), fields


def test_entry_counts_the_slots_that_were_due_when_the_schedule_was_damaged() -> None:
    status = initial_status(MONDAY, **HOURLY)
    found = damaged(status, ("nextScheduleTime", "schedule"), **HOURLY)
    (entry,) = planned_by_leader(found, MONDAY + timedelta(hours=3, minutes=25)).status.history or []
    assert (entry.result, entry.reason) == ("Skipped", "StatusNotUnderstood")
    assert entry.message.startswith("4 slots between 2026-11-23T12:20:00Z and 2026-11-23T15:20:00Z")


def test_entry_says_that_later_slots_are_unknown_if_the_schedule_is_damaged() -> None:
    found = damaged(initial_status(MONDAY, **HOURLY), ("schedule",), everyHours=3, frequency="Hourly")
    (entry,) = planned_by_leader(found, MONDAY + timedelta(hours=3, minutes=25)).status.history or []
    assert entry.scheduled_time == MONDAY + timedelta(minutes=20)
    assert "if later slots of that schedule fell due, they did not run either" in entry.message


def test_due_slot_is_found_with_the_default_time_zone_if_schedule_and_time_zone_are_damaged() -> None:
    local = at("2026-11-23 23:20")  # 00:20 in Zurich
    found = damaged(initial_status(MONDAY), ("nextScheduleTime", "schedule", "timeZone"))
    assert slots_with_entry(planned_by_leader(found, local, zone="Europe/Zurich").status) == {local}


def test_status_with_only_damaged_fields_starts_no_run() -> None:
    found = body(None, {"run-requested-at": "A"})
    found["status"] = dict.fromkeys(TIME_FIELDS, 7)
    plan = planned_by_leader(Exporter.from_object(found), DUE)
    assert plan.claimed is None
    assert planned_by_leader(exporter(plan.status, annotations={"run-requested-at": "A"}), DUE + MINUTE).claimed is None


def test_slot_whose_journal_is_damaged_ends_as_unknown_with_its_scheduled_time() -> None:
    claimed = planned_by_leader(exporter(initial_status(MONDAY)), DUE)
    assert claimed.claimed
    after = planned_by_leader(damaged(claimed.status, ("activeRun",)), DUE + MINUTE).status
    [entry] = after.history or []
    assert (entry.id, entry.trigger, entry.scheduled_time) == (claimed.claimed.id, "Schedule", DUE)
    assert entry.result == "Unknown"


@pytest.mark.parametrize(
    "journal",
    [{"trigger": "Request", "id": 7}, {"id": "abcdefghijklmnopqrst", "step": 7}],
    ids=["another trigger", "another id"],
)
def test_damaged_journal_that_may_be_of_another_run_does_not_count_as_the_slot(journal: dict[str, Any]) -> None:
    found = body(planned_by_leader(exporter(initial_status(MONDAY)), DUE).status)
    found["status"]["activeRun"] = journal
    [entry] = planned_by_leader(Exporter.from_object(found), DUE + MINUTE).status.history or []
    assert (entry.trigger, entry.scheduled_time) == ("Request", None)


def test_damaged_journal_of_a_request_does_not_count_as_the_slot_before_it() -> None:
    status = status_after_first_run()
    request = planned_by_leader(exporter(status, annotations={"run-requested-at": "r1"}), DUE + 2 * MINUTE)
    assert request.claimed
    found = damaged(request.status, ("activeRun",), {"run-requested-at": "r1"})
    entries = planned_by_leader(found, DUE + 3 * MINUTE).status.history or []
    assert [(entry.trigger, entry.scheduled_time) for entry in entries] == [("Request", None), ("Schedule", DUE)]
