"""A status in which any of the fields that tell which slots are done is damaged."""

from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from qualtrics_exporter.controller.leader_gaps import Leadership
from qualtrics_exporter.controller.plan.next_status import Plan, finished
from qualtrics_exporter.controller.plan.wake import Wake, next_wake
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Status, entry_of
from tests.controller.exporters import ZONE, at, body, exporter, planned, seen

LED = Leadership()
MONDAY = at("2026-11-23 12:00")
DUE = at("2026-11-24 00:20")
MINUTE, DAY, YEAR = timedelta(minutes=1), timedelta(days=1), timedelta(days=365)
HOURLY = {"frequency": "Hourly", "everyHours": 1}
TIMES = ("nextScheduleTime", "schedule", "scheduleSince", "lastScheduleTime")
MEMORY = ("claimedSlots", "claimedSlotsSince", "sentRuns")
DAMAGES = [
    fields
    for number in (1, 2, 3, 5, 8)
    for fields in combinations((*TIMES, *MEMORY, "history"), number)
    if fields != ("history",)
]


def damaged(status: Status, fields: tuple[str, ...], annotations: dict[str, str] | None = None, **how: Any) -> Exporter:
    """The exporter after something else has written a number into these fields."""
    found = body(status, annotations, **how)
    found["status"] |= dict.fromkeys(fields, 7)
    return Exporter.from_object(found)


def at_work(found: Exporter, now: datetime, **circumstances: Any) -> Plan:
    """What is due for a process that has been leading for long."""
    return planned(found, now, leadership=LED, first=False, **circumstances)


def sent(plan: Plan, now: datetime, **how: Any) -> Status:
    """The status after the claimed run was sent."""
    assert plan.claimed
    run = plan.claimed.model_copy(update={"step": "Sent", "send_time": now, "distribution_id": "EMD_1"})
    ended = Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "", now))
    return finished(exporter(plan.status.model_copy(update={"active_run": run}), **how), ended, now, ZONE)


def after_first_run() -> Status:
    return sent(at_work(exporter(seen(MONDAY)), DUE), DUE + MINUTE)


def told(status: Status) -> set[datetime]:
    """The slots that have an entry."""
    return {entry.scheduled_time for entry in status.history or [] if entry.scheduled_time}


@pytest.mark.parametrize("first", [True, False])
def test_whatever_is_damaged_a_slot_that_is_due_runs_or_has_an_entry(first: bool) -> None:
    status, due = (seen(MONDAY), DUE) if first else (after_first_run(), DUE + DAY)
    for fields in DAMAGES:
        plan = at_work(damaged(status, fields), due)
        assert (plan.claimed and plan.claimed.scheduled_time == due) or due in told(plan.status), fields
        assert plan.status.next_schedule_time == due + DAY, fields
        following = at_work(exporter(plan.status.model_copy(update={"active_run": None})), due + DAY)
        assert following.claimed, fields


def test_whatever_is_damaged_a_slot_that_ran_does_not_run_again() -> None:
    for fields in DAMAGES:
        plan = at_work(damaged(after_first_run(), fields), DUE + 2 * MINUTE)
        assert plan.claimed is None, fields
        assert at_work(exporter(plan.status), DUE + 3 * MINUTE).claimed is None, fields


def test_a_slot_that_ran_has_no_second_entry_while_a_part_of_the_status_still_tells_of_it() -> None:
    for fields in DAMAGES:
        if "history" not in fields:
            status = at_work(damaged(after_first_run(), fields), DUE + 2 * MINUTE).status
            assert [entry.result for entry in status.history or []] == ["Succeeded"], fields


def test_damage_while_the_clock_is_a_year_ahead_stops_no_slot() -> None:
    for fields in DAMAGES:
        ahead = at_work(damaged(after_first_run(), fields), DUE + YEAR, unsure=True)
        assert ahead.claimed is None, fields
        back = at_work(exporter(ahead.status), DUE + 2 * MINUTE)
        assert back.claimed is None, f"{fields}: the slot that ran runs again"
        runs, status = 0, back.status
        for day in range(1, 4):
            plan = at_work(exporter(status), DUE + day * DAY)
            status, runs = (sent(plan, DUE + day * DAY), runs + 1) if plan.claimed else (plan.status, runs)
        assert runs == 3, fields


def test_a_slot_that_waits_for_the_clock_runs_although_the_status_is_damaged() -> None:
    for fields in (
        ("sentRuns",),
        ("claimedSlots", "sentRuns"),
        ("lastScheduleTime",),
        ("nextScheduleTime", "sentRuns"),
    ):
        waits = at_work(damaged(after_first_run(), fields), DUE + DAY + MINUTE, unsure=True)
        assert waits.claimed is None
        assert told(waits.status) == {DUE}, "nothing is written off by a clock that is in doubt"
        plan = at_work(exporter(waits.status), DUE + DAY + 5 * MINUTE)
        assert plan.claimed, fields
        assert plan.claimed.scheduled_time == DUE + DAY


@pytest.mark.parametrize("field", TIMES)
def test_a_damaged_time_is_repaired_at_once(field: str) -> None:
    """While the other fields still say the same: what they say is replaced by the next slots."""
    found = damaged(after_first_run(), (field,))
    assert next_wake(found, DUE + 2 * MINUTE, ZONE) == Wake(DUE + 2 * MINUTE)


def test_a_slot_that_was_skipped_during_a_run_does_not_run_when_the_last_slot_is_lost() -> None:
    asked = {"run-requested-at": "a"}
    run = at_work(exporter(seen(MONDAY), annotations=asked), DUE - MINUTE)
    status = sent(run, DUE + MINUTE, annotations=asked)
    assert told(status) == {DUE}
    plan = at_work(damaged(status, ("lastScheduleTime",), asked), DUE + 2 * MINUTE)
    assert plan.claimed is None
    assert plan.status.last_schedule_time == DUE
    assert plan.status.history == status.history


def test_slots_that_ran_early_are_known_from_their_entries_and_then_from_the_record() -> None:
    """A clock was an hour ahead. Later entries push that of the early slot out of the history."""
    early = MONDAY + timedelta(minutes=80)
    status = sent(at_work(exporter(seen(MONDAY, **HOURLY), **HOURLY), early), early, **HOURLY)
    for fields in (("claimedSlots", "sentRuns"), ("claimedSlots", "sentRuns", "history")):
        right = at_work(damaged(status, fields, **HOURLY), MONDAY + 15 * MINUTE).status
        right = right.model_copy(update={"history": []})
        plan = at_work(exporter(right, **HOURLY), early)
        assert not (plan.claimed and plan.claimed.scheduled_time == early), fields


def test_slots_that_were_due_before_the_schedule_was_lost_are_counted() -> None:
    status = seen(MONDAY, **HOURLY)
    found = damaged(status, ("nextScheduleTime", "schedule"), **HOURLY)
    (entry,) = at_work(found, MONDAY + timedelta(hours=3, minutes=25)).status.history or []
    assert (entry.result, entry.reason) == ("Skipped", "StatusNotUnderstood")
    assert entry.message.startswith("4 slots between 2026-11-23T12:20:00Z and 2026-11-23T15:20:00Z")


def test_the_entry_of_a_slot_says_if_later_slots_are_unknown_because_the_schedule_was_lost() -> None:
    found = damaged(seen(MONDAY, **HOURLY), ("schedule",), everyHours=3, frequency="Hourly")
    (entry,) = at_work(found, MONDAY + timedelta(hours=3, minutes=25)).status.history or []
    assert entry.scheduled_time == MONDAY + timedelta(minutes=20)
    assert "if later slots of that schedule fell due, they did not run either" in entry.message


def test_the_default_time_zone_tells_which_slot_was_due_when_all_else_is_lost() -> None:
    local = at("2026-11-23 23:20")  # 00:20 in Zurich
    found = damaged(seen(MONDAY), ("nextScheduleTime", "schedule", "timeZone"))
    assert told(at_work(found, local, zone="Europe/Zurich").status) == {local}


def test_a_status_of_which_nothing_was_written_by_an_operator_starts_nothing() -> None:
    found = body(None, {"run-requested-at": "A"})
    found["status"] = dict.fromkeys(TIMES, 7)
    plan = at_work(Exporter.from_object(found), DUE)
    assert plan.claimed is None
    assert at_work(exporter(plan.status, annotations={"run-requested-at": "A"}), DUE + MINUTE).claimed is None


def test_a_slot_whose_journal_is_lost_has_an_entry_with_its_time() -> None:
    claimed = at_work(exporter(seen(MONDAY)), DUE)
    assert claimed.claimed
    after = at_work(damaged(claimed.status, ("activeRun",)), DUE + MINUTE).status
    [entry] = after.history or []
    assert (entry.id, entry.trigger, entry.scheduled_time) == (claimed.claimed.id, "Schedule", DUE)
    assert entry.result == "Unknown"


@pytest.mark.parametrize("journal", [{"trigger": "Request", "id": 7}, {"id": "abcdefghijklmnopqrst", "step": 7}])
def test_a_run_that_may_be_another_one_does_not_pass_for_the_slot(journal: dict[str, Any]) -> None:
    found = body(at_work(exporter(seen(MONDAY)), DUE).status)
    found["status"]["activeRun"] = journal
    [entry] = at_work(Exporter.from_object(found), DUE + MINUTE).status.history or []
    assert (entry.trigger, entry.scheduled_time) == ("Request", None)


def test_a_request_whose_journal_is_lost_does_not_pass_for_the_slot_before_it() -> None:
    status = after_first_run()
    request = at_work(exporter(status, annotations={"run-requested-at": "r1"}), DUE + 2 * MINUTE)
    assert request.claimed
    found = damaged(request.status, ("activeRun",), {"run-requested-at": "r1"})
    entries = at_work(found, DUE + 3 * MINUTE).status.history or []
    assert [(entry.trigger, entry.scheduled_time) for entry in entries] == [("Request", None), ("Schedule", DUE)]
