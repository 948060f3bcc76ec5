"""One step of planning: slots, requests, ends of runs, take-overs and wake times, without a cluster."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from qualtrics_exporter.controller.election.leadership import Leadership
from qualtrics_exporter.controller.plan.next_status import finished
from qualtrics_exporter.controller.plan.requests import RUN, TEST, Token, requested, wants_delivery
from qualtrics_exporter.controller.plan.usable_spec import spec_problem
from qualtrics_exporter.controller.plan.wake import NEVER, check_due, next_wake
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.remote.errors import Permanent, Transient
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, Status, entry_of
from tests.controller.exporters import ZONE, at, exporter, initial_status, planned

MONDAY = at("2026-11-23 12:00")
DUE = at("2026-11-24 00:20")


def claimed(when: Any = DUE) -> ActiveRun:
    """The run of the slot that is due at `DUE`, claimed by the holder `me`."""
    run = planned(exporter(initial_status(MONDAY)), when).claimed
    assert run
    return run


def test_new_exporter_claims_nothing_and_plans_its_next_slot() -> None:
    plan = planned(exporter(), MONDAY)
    assert plan.claimed is None
    assert plan.status.schedule_since == MONDAY
    assert plan.status.next_schedule_time == DUE
    assert plan.status.schedule == "every day at 00:20, UTC"


def test_new_exporter_gets_its_conditions_with_the_first_plan() -> None:
    types = {c.type: c.status for c in planned(exporter(), MONDAY).status.conditions or []}
    assert types["Ready"] == "Unknown"
    assert types["Reconciling"] == "True"
    assert "Stalled" not in types


def test_tokens_on_a_new_exporter_count_as_handled() -> None:
    both = {"run-requested-at": "a", "test-requested-at": "b", "test-mode": "Deliver"}
    plan = planned(exporter(annotations=both), MONDAY)
    assert plan.claimed is None
    assert (plan.status.last_handled_run_request, plan.status.last_handled_test_request) == ("a", "b")


def test_claim_of_a_due_slot_also_updates_the_last_and_next_schedule_time() -> None:
    plan = planned(exporter(initial_status(MONDAY)), DUE)
    assert plan.claimed
    assert plan.claimed.holder == "me"
    assert plan.status.active_run == plan.claimed
    assert plan.status.last_schedule_time == DUE
    assert plan.status.next_schedule_time == DUE + timedelta(days=1)


def test_slot_is_claimed_once() -> None:
    after = planned(exporter(initial_status(MONDAY)), DUE).status.model_copy(update={"active_run": None})
    assert planned(exporter(after), DUE + timedelta(seconds=1)).claimed is None


def test_two_replicas_claim_a_slot_with_the_same_run_id() -> None:
    found = exporter(initial_status(MONDAY))
    first, second = planned(found, DUE), planned(found, DUE, holder="you")
    assert first.claimed
    assert second.claimed
    assert first.claimed.id == second.claimed.id


@pytest.mark.parametrize(
    ("late", "result"),
    [(timedelta(minutes=59), None), (timedelta(hours=1), None), (timedelta(hours=1, seconds=1), "Missed")],
)
def test_slot_due_during_downtime_runs_only_within_its_starting_deadline(late: timedelta, result: str | None) -> None:
    plan = planned(exporter(initial_status(MONDAY)), DUE + late)
    history = plan.status.history or []
    assert bool(plan.claimed) is (result is None)
    assert [entry.result for entry in history] == ([result] if result else [])


def test_newest_of_several_missed_slots_runs_and_the_others_become_one_entry() -> None:
    after_days_of_downtime = DUE + timedelta(days=3, minutes=5)
    plan = planned(exporter(initial_status(MONDAY)), after_days_of_downtime)
    assert plan.claimed
    assert plan.claimed.scheduled_time == DUE + timedelta(days=3)
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "DeadlineExceeded")
    assert entry.message.startswith("3 slots between 2026-11-24T00:20:00Z and 2026-11-26T00:20:00Z")


def test_missed_slot_sets_last_run_succeeded_to_false() -> None:
    status = planned(exporter(initial_status(MONDAY)), DUE + timedelta(hours=2)).status
    condition = status.condition("LastRunSucceeded")
    assert condition
    assert (condition.status, condition.reason) == ("False", "DeadlineExceeded")


def test_slot_runs_within_the_starting_deadline_of_the_spec() -> None:
    daily: dict[str, Any] = {"frequency": "Daily", "startingDeadlineSeconds": 7200}
    assert planned(exporter(initial_status(MONDAY, **daily), **daily), DUE + timedelta(hours=2)).claimed


def test_slot_that_waited_while_an_operator_was_leading_is_not_late() -> None:
    plan = planned(exporter(initial_status(MONDAY)), DUE + timedelta(hours=3), leadership=Leadership.started(MONDAY))
    assert plan.claimed


def test_changed_schedule_counts_slots_from_the_change() -> None:
    changed = exporter(initial_status(MONDAY), frequency="Hourly", everyHours=1)
    plan = planned(changed, MONDAY + timedelta(hours=1))
    assert plan.claimed is None
    assert plan.status.schedule_since == MONDAY + timedelta(hours=1)
    assert plan.status.next_schedule_time == at("2026-11-23 13:20")


def test_due_slot_of_a_replaced_schedule_is_reported_as_missed() -> None:
    plan = planned(exporter(initial_status(MONDAY), frequency="Hourly", everyHours=12), DUE + timedelta(minutes=1))
    assert plan.claimed is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "ScheduleChanged")


def test_suspended_exporter_has_no_slots() -> None:
    plan = planned(exporter(initial_status(MONDAY), suspend=True), MONDAY + timedelta(hours=1))
    assert plan.status.next_schedule_time is None
    later = planned(exporter(plan.status, suspend=True), DUE + timedelta(days=9))
    assert later.claimed is None
    assert not later.status.history


def test_resumed_exporter_claims_nothing_and_plans_its_next_slot() -> None:
    suspended = planned(exporter(initial_status(MONDAY), suspend=True), MONDAY + timedelta(hours=1)).status
    plan = planned(exporter(suspended), DUE + timedelta(minutes=5))
    assert plan.claimed is None
    assert plan.status.schedule_since == DUE + timedelta(minutes=5)
    assert plan.status.next_schedule_time == DUE + timedelta(days=1)


def test_slot_due_before_an_unseen_suspension_is_skipped_with_an_entry() -> None:
    plan = planned(exporter(initial_status(MONDAY), suspend=True), DUE + timedelta(minutes=5))
    assert plan.claimed is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Skipped", "Suspended")


def test_claim_of_a_requested_run_stores_the_receipt_of_its_token() -> None:
    plan = planned(
        exporter(initial_status(MONDAY), annotations={"run-requested-at": "now"}), MONDAY + timedelta(hours=1)
    )
    assert plan.claimed
    assert plan.claimed.trigger == "Request"
    assert plan.status.last_handled_run_request == "now"


def test_token_acts_once() -> None:
    request = {"run-requested-at": "now"}
    after = planned(exporter(initial_status(MONDAY), annotations=request), MONDAY).status.model_copy(
        update={"active_run": None}
    )
    assert planned(exporter(after, annotations=request), MONDAY).claimed is None


def test_older_token_that_git_restores_does_not_act_again() -> None:
    status = initial_status(MONDAY)
    for token in ("from-git", "by-hand"):
        plan = planned(exporter(status, annotations={"run-requested-at": token}), MONDAY)
        assert plan.claimed
        status = plan.status.model_copy(update={"active_run": None})
    reverted = exporter(status, annotations={"run-requested-at": "from-git"})
    assert planned(reverted, MONDAY).claimed is None
    assert requested(RUN, reverted) is None


def test_token_handled_before_an_upgrade_does_not_act_after_25_later_requests() -> None:
    from_git = {"run-requested-at": "from-git"}
    handled = planned(exporter(initial_status(MONDAY), annotations=from_git), MONDAY).status
    # Version 0.1 and its CRD have none of these fields.
    dropped = {"active_run": None, "handled_run_requests": None, "handled_test_requests": None, "sent_runs": None}
    status = handled.model_copy(update=dropped)
    for token in map(str, range(25)):
        plan = planned(exporter(status, annotations={"test-requested-at": token, "test-mode": "Deliver"}), MONDAY)
        assert plan.claimed
        status = plan.status.model_copy(update={"active_run": None, "last_handled_run_request": "by-hand"})
    assert planned(exporter(status, annotations=from_git), MONDAY).claimed is None


def test_run_with_a_history_entry_is_not_sent_again_if_its_receipts_are_lost() -> None:
    request = {"run-requested-at": "now"}
    run = planned(exporter(initial_status(MONDAY), annotations=request), MONDAY).claimed
    assert run
    entry = entry_of(run.model_copy(update={"send_time": MONDAY}), "Succeeded", Reason.SUCCEEDED, "", MONDAY)
    plan = planned(exporter(initial_status(MONDAY).with_entry(entry), annotations=request), MONDAY)
    assert plan.claimed is None
    newest = (plan.status.history or [])[0]
    assert (newest.result, newest.reason) == ("Skipped", "AlreadySent")


def test_slot_due_before_the_spec_became_invalid_fails_with_spec_invalid() -> None:
    plan = planned(exporter(initial_status(MONDAY), frequency="Fortnightly"), DUE + timedelta(minutes=1))
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason, entry.scheduled_time) == ("Failed", "SpecInvalid", DUE)


def test_token_that_is_too_long_for_the_status_acts_once() -> None:
    request = {"run-requested-at": "x" * 5000}
    plan = planned(exporter(initial_status(MONDAY), annotations=request), MONDAY)
    assert plan.claimed
    assert len(plan.status.last_handled_run_request or "") <= 253
    after = plan.status.model_copy(update={"active_run": None})
    assert planned(exporter(after, annotations=request), MONDAY).claimed is None


def test_run_request_on_a_suspended_exporter_is_skipped_with_an_entry() -> None:
    status = planned(exporter(initial_status(MONDAY), suspend=True), MONDAY).status
    plan = planned(exporter(status, suspend=True, annotations={"run-requested-at": "now"}), MONDAY)
    assert plan.claimed is None
    assert plan.status.last_handled_run_request == "now"
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason, entry.trigger) == ("Skipped", "Suspended", "Request")


def test_run_request_at_the_time_of_a_due_slot_gets_an_entry_with_run_active() -> None:
    plan = planned(exporter(initial_status(MONDAY), annotations={"run-requested-at": "now"}), DUE)
    assert plan.claimed
    assert plan.claimed.trigger == "Schedule"
    assert [(e.trigger, e.reason) for e in plan.status.history or []] == [("Request", "RunActive")]


def test_delivering_test_runs_on_a_suspended_exporter() -> None:
    status = planned(exporter(initial_status(MONDAY), suspend=True), MONDAY).status
    request = {"test-requested-at": "t", "test-mode": "Deliver"}
    plan = planned(exporter(status, suspend=True, annotations=request), MONDAY)
    assert plan.claimed
    assert plan.claimed.trigger == "Test"


def test_dry_token_does_not_deliver_even_with_the_mode_deliver() -> None:
    found = exporter(initial_status(MONDAY), annotations={"test-requested-at": "dry-20261124", "test-mode": "Deliver"})
    assert planned(found, MONDAY).claimed is None
    assert requested(TEST, found) == Token("dry-20261124", "dry-20261124")
    assert not wants_delivery(found)


@pytest.mark.parametrize(
    "mode", ["deliver", "DELIVER", "", "yes"], ids=["lower case", "upper case", "empty", "other word"]
)
def test_delivering_test_needs_exactly_the_mode_deliver(mode: str) -> None:
    found = exporter(initial_status(MONDAY), annotations={"test-requested-at": "t", "test-mode": mode})
    assert planned(found, MONDAY).claimed is None
    assert not wants_delivery(found)


def test_invalid_spec_fails_a_run_request_and_has_no_slots() -> None:
    found = exporter(initial_status(MONDAY), annotations={"run-requested-at": "now"}, frequency="Fortnightly")
    plan = planned(found, MONDAY)
    assert plan.claimed is None
    assert plan.status.next_schedule_time is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Failed", "SpecInvalid")


def test_unknown_time_zone_makes_the_spec_invalid() -> None:
    found = exporter(frequency="Daily", timeZone="Mars/Olympus")
    problem = spec_problem(found, ZONE)
    assert problem
    assert problem.reason is Reason.SPEC_INVALID


def test_exporter_without_a_time_zone_keeps_the_default_zone_of_its_first_plan() -> None:
    first = planned(exporter(), MONDAY).status
    assert (first.time_zone, first.next_schedule_time) == ("UTC", DUE)
    after = planned(exporter(first), MONDAY + timedelta(hours=1), zone="Europe/Zurich").status
    assert after == first
    assert next_wake(exporter(first), MONDAY, "Europe/Zurich").at == next_wake(exporter(first), MONDAY, "UTC").at


def test_time_zone_of_the_spec_replaces_the_stored_default_zone() -> None:
    first = planned(exporter(), MONDAY).status
    named = planned(exporter(first, frequency="Daily", timeZone="Europe/Zurich"), MONDAY).status
    assert (named.schedule, named.time_zone) == ("every day at 00:20, Europe/Zurich", None)


def test_daily_slot_does_not_run_again_for_the_same_local_date_after_a_zone_change() -> None:
    run = claimed()
    done = exporter(planned(exporter(initial_status(MONDAY)), DUE).status)
    ended = Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", DUE))
    status = finished(done, ended, DUE, ZONE)
    lima: dict[str, Any] = {"frequency": "Daily", "timeZone": "America/Lima"}
    status = planned(exporter(status, **lima), DUE + timedelta(minutes=10)).status
    again = planned(exporter(status, **lima), at("2026-11-24 05:20"))  # 00:20 in Lima, of the same 24 November
    assert again.claimed is None
    assert again.status.next_schedule_time == at("2026-11-25 05:20")


def test_exporter_runs_its_next_slot_after_a_clock_that_was_years_ahead_is_set_back() -> None:
    ahead = planned(exporter(initial_status(MONDAY)), at("2030-01-01 00:20")).status.model_copy(
        update={"active_run": None}
    )
    assert next_wake(exporter(ahead), MONDAY, ZONE).at <= MONDAY
    set_back = planned(exporter(ahead), MONDAY)
    assert set_back.claimed is None
    assert set_back.status.next_schedule_time == DUE
    assert planned(exporter(set_back.status), DUE).claimed


def test_slot_does_not_run_again_after_the_clock_is_set_back() -> None:
    run = claimed()
    busy = exporter(planned(exporter(initial_status(MONDAY)), DUE).status)
    status = finished(busy, Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", DUE)), DUE, ZONE)
    set_back = planned(exporter(status), DUE - timedelta(days=3))
    assert set_back.claimed is None
    assert planned(exporter(set_back.status), DUE).claimed is None


# Ended and orphaned runs


def test_end_of_a_run_writes_entry_condition_and_time_in_one_status() -> None:
    run = claimed()
    busy = exporter(planned(exporter(initial_status(MONDAY)), DUE).status)
    ended = Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", DUE + timedelta(minutes=1)))
    status = finished(busy, ended, DUE + timedelta(minutes=1), ZONE)
    assert status.active_run is None
    assert (status.history or [])[0].result == "Succeeded"
    assert status.last_successful_time == DUE + timedelta(minutes=1)
    condition = status.condition("LastRunSucceeded")
    assert condition
    assert condition.status == "True"


def test_slot_due_during_a_run_is_skipped() -> None:
    hourly: dict[str, Any] = {"frequency": "Hourly", "everyHours": 1}
    busy = exporter(
        planned(exporter(initial_status(MONDAY, **hourly), **hourly), at("2026-11-23 12:20")).status, **hourly
    )
    run = busy.status.active_run
    assert run
    late = at("2026-11-23 13:25")
    status = finished(busy, Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", late)), late, ZONE)
    newest = (status.history or [])[0]
    assert (newest.result, newest.reason) == ("Skipped", "RunActive")
    assert planned(exporter(status, **hourly), late).claimed is None
    assert status.next_schedule_time == at("2026-11-23 14:20")


def test_run_request_during_a_run_gets_an_entry_with_run_active() -> None:
    run = claimed()
    busy = exporter(planned(exporter(initial_status(MONDAY)), DUE).status, annotations={"run-requested-at": "now"})
    status = finished(busy, Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", DUE)), DUE, ZONE)
    assert [(e.trigger, e.reason) for e in status.history or []] == [
        ("Request", "RunActive"),
        ("Schedule", "Succeeded"),
    ]
    assert status.last_handled_run_request == "now"


def with_run_of_another_holder(**changes: Any) -> Exporter:
    """An exporter whose active run has another holder. Its spec has changed since."""
    run = claimed().model_copy(update={"holder": "other", **changes})
    status = planned(exporter(initial_status(MONDAY)), DUE).status.model_copy(update={"active_run": run})
    return exporter(status, generation=2)


def test_run_of_another_holder_is_not_changed() -> None:
    plan = planned(with_run_of_another_holder(), DUE + timedelta(minutes=1))
    assert plan.claimed is None
    assert plan.status.active_run
    assert plan.status.active_run.holder == "other"


@pytest.mark.parametrize("step", ["Claimed", "Importing"])
def test_orphaned_run_before_its_send_restarts_with_the_current_spec(step: str) -> None:
    plan = planned(with_run_of_another_holder(step=step, batch_id="BT_1"), DUE + timedelta(minutes=1), orphaned=True)
    assert plan.claimed
    assert (plan.claimed.step, plan.claimed.generation, plan.claimed.batch_id) == ("Claimed", 2, None)
    assert (plan.claimed.holder, plan.claimed.attempt) == ("me", 2)


@pytest.mark.parametrize("step", ["Sending", "Sent"])
def test_orphaned_run_that_may_have_sent_resumes_at_its_step_two_days_later(step: str) -> None:
    plan = planned(with_run_of_another_holder(step=step, batch_id="BT_1"), DUE + timedelta(days=2), orphaned=True)
    assert plan.claimed
    assert (plan.claimed.step, plan.claimed.generation, plan.claimed.batch_id) == (step, 1, "BT_1")
    assert plan.claimed.holder == "me"


def test_orphaned_run_before_its_send_is_missed_after_its_deadline() -> None:
    plan = planned(with_run_of_another_holder(), DUE + timedelta(hours=2), orphaned=True)
    assert plan.claimed is None
    assert plan.status.active_run is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "DeadlineExceeded")


def test_orphaned_run_with_a_refused_send_resumes_at_its_step() -> None:
    until = DUE + timedelta(minutes=5)
    refused = with_run_of_another_holder(
        step="Sending", batch_id="BT_1", refused_until=until, refused_reason="RemoteUnavailable", send_attempts=1
    )
    plan = planned(refused, DUE + timedelta(minutes=1), orphaned=True)
    assert plan.claimed
    assert (plan.claimed.step, plan.claimed.batch_id, plan.claimed.send_attempts) == ("Sending", "BT_1", 1)
    assert plan.claimed.refused_until == DUE + timedelta(minutes=5)
    assert plan.claimed.generation == 1  # the next send compares it with the current generation
    assert (plan.claimed.holder, plan.claimed.attempt) == ("me", 2)


def test_orphaned_run_with_a_refused_send_is_missed_after_its_deadline() -> None:
    until = DUE + timedelta(minutes=5)
    refused = with_run_of_another_holder(
        step="Sending", batch_id="BT_1", send_time=DUE, refused_until=until, refused_reason="RemoteUnavailable"
    )
    plan = planned(refused, DUE + timedelta(hours=2), orphaned=True)
    assert plan.claimed is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "DeadlineExceeded")


# Wake times


def ready(found: Exporter, when: Any) -> Exporter:
    """The exporter after a check without errors."""
    status = conditions.checked(found.status, Verdict(), found.generation, when, suspended=found.suspended)
    return exporter(status.model_copy(update={"observed_generation": found.generation, "last_check_time": when}))


def test_idle_exporter_wakes_for_its_next_slot_or_its_next_check() -> None:
    found = ready(exporter(initial_status(MONDAY)), at("2026-11-23 20:00"))
    assert next_wake(found, at("2026-11-23 21:00"), ZONE).at == DUE
    checked_long_ago = ready(exporter(initial_status(MONDAY)), MONDAY)
    wake = next_wake(checked_long_ago, MONDAY, ZONE).at
    assert timedelta(hours=6) <= wake - MONDAY <= timedelta(hours=7)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(exporter(), id="new exporter"),
        pytest.param(exporter(planned(exporter(initial_status(MONDAY)), DUE).status), id="active run"),
        pytest.param(exporter(initial_status(MONDAY)), id="never checked"),
        pytest.param(exporter(initial_status(MONDAY), annotations={"run-requested-at": "x"}), id="requested run"),
        pytest.param(exporter(initial_status(MONDAY), annotations={"test-requested-at": "x"}), id="requested test"),
        pytest.param(
            replace(ready(exporter(initial_status(MONDAY)), MONDAY), ignored=("status.sentRuns",)), id="damaged status"
        ),
    ],
)
def test_exporter_with_pending_work_wakes_at_once(found: Exporter) -> None:
    assert next_wake(found, MONDAY, ZONE).at <= MONDAY


def test_exporter_with_a_missing_secret_wakes_within_a_minute() -> None:
    found = exporter(initial_status(MONDAY))
    verdict = Verdict(nexthink=Permanent(Reason.SECRET_NOT_FOUND, "Secret dex/nexthink does not exist"))
    status = conditions.checked(found.status, verdict, 1, MONDAY, suspended=False)
    status = status.model_copy(update={"observed_generation": 1, "next_retry_time": MONDAY + timedelta(minutes=15)})
    wake = next_wake(exporter(status), MONDAY, ZONE).at
    assert MONDAY < wake <= MONDAY + timedelta(minutes=1)


def test_lost_status_claims_nothing_and_plans_the_next_slot() -> None:
    lost = planned(exporter(Status()), DUE + timedelta(minutes=1))
    assert lost.claimed is None
    assert lost.status.next_schedule_time == DUE + timedelta(days=1)


def checked(verdict: Verdict, **options: Any) -> Exporter:
    """An exporter whose spec was checked at `MONDAY` with this verdict, without a time for a retry."""
    found = exporter(initial_status(MONDAY, **options), **options)
    status = conditions.checked(found.status, verdict, 1, MONDAY, suspended=found.suspended)
    update = {"observed_generation": 1, "last_check_time": MONDAY, "next_retry_time": None}
    return exporter(status.model_copy(update=update), **options)


@pytest.mark.parametrize("suspend", [False, True], ids=["active", "suspended"])
def test_exporter_that_needs_a_new_spec_is_checked_again_after_six_to_seven_hours(suspend: bool) -> None:
    verdict = Verdict(query_text=Permanent(Reason.QUERY_INVALID, "spec.nexthink.query is wrong"))
    assert verdict.needs_new_spec
    due = check_due(checked(verdict, suspend=suspend), MONDAY + timedelta(minutes=1))
    assert timedelta(hours=6) <= due - MONDAY < timedelta(hours=7)


def test_ready_suspended_exporter_is_not_checked_again() -> None:
    assert check_due(checked(Verdict(), suspend=True), MONDAY) == NEVER.at


def test_verdict_with_a_transient_error_needs_no_new_spec_although_the_query_is_wrong() -> None:
    down = Transient(Reason.REMOTE_UNAVAILABLE, "Nexthink is down")
    text = Permanent(Reason.QUERY_INVALID, "spec.nexthink.query is wrong")
    assert not Verdict(query_text=text, nexthink=down).needs_new_spec
