"""What an exporter needs next: the rules of slots, requests and take-overs, without a cluster."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from qualtrics_exporter.controller.leader_gaps import Leadership
from qualtrics_exporter.controller.plan.next_status import Plan, finished
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
from tests.controller.exporters import ZONE, at, exporter, planned, seen

MONDAY = at("2026-11-23 12:00")
DUE = at("2026-11-24 00:20")


def book(found: Exporter, when: Any, **how: Any) -> Plan:
    """Bookkeeping by a process that calls itself `me`."""
    return planned(found, when, **how)


def claimed(when: Any = DUE) -> ActiveRun:
    """The run of the slot of `DUE`, claimed by `me`."""
    run = book(exporter(seen(MONDAY)), when).claimed
    assert run
    return run


def test_nothing_runs_because_an_exporter_was_created() -> None:
    plan = book(exporter(), MONDAY)
    assert plan.claimed is None
    assert plan.status.schedule_since == MONDAY
    assert plan.status.next_schedule_time == DUE
    assert plan.status.schedule == "every day at 00:20, UTC"


def test_conditions_are_there_from_the_first_moment() -> None:
    types = {c.type: c.status for c in book(exporter(), MONDAY).status.conditions or []}
    assert types["Ready"] == "Unknown"
    assert types["Reconciling"] == "True"
    assert "Stalled" not in types


def test_tokens_that_are_there_at_first_sight_count_as_handled() -> None:
    both = {"run-requested-at": "a", "test-requested-at": "b", "test-mode": "Deliver"}
    plan = book(exporter(annotations=both), MONDAY)
    assert plan.claimed is None
    assert (plan.status.last_handled_run_request, plan.status.last_handled_test_request) == ("a", "b")


def test_a_due_slot_is_claimed_together_with_the_moved_last_schedule_time() -> None:
    plan = book(exporter(seen(MONDAY)), DUE)
    assert plan.claimed
    assert plan.claimed.holder == "me"
    assert plan.status.active_run == plan.claimed
    assert plan.status.last_schedule_time == DUE
    assert plan.status.next_schedule_time == DUE + timedelta(days=1)


def test_a_slot_is_claimed_once() -> None:
    after = book(exporter(seen(MONDAY)), DUE).status.model_copy(update={"active_run": None})
    assert book(exporter(after), DUE + timedelta(seconds=1)).claimed is None


def test_two_replicas_claim_the_same_run() -> None:
    found = exporter(seen(MONDAY))
    first, second = planned(found, DUE), planned(found, DUE, holder="you")
    assert first.claimed
    assert second.claimed
    assert first.claimed.id == second.claimed.id


@pytest.mark.parametrize(
    ("late", "result"),
    [(timedelta(minutes=59), None), (timedelta(hours=1), None), (timedelta(hours=1, seconds=1), "Missed")],
)
def test_a_slot_missed_while_down_is_caught_up_within_its_deadline_only(late: timedelta, result: str | None) -> None:
    plan = book(exporter(seen(MONDAY)), DUE + late)
    history = plan.status.history or []
    assert bool(plan.claimed) is (result is None)
    assert [entry.result for entry in history] == ([result] if result else [])


def test_of_several_missed_slots_the_newest_is_caught_up_and_the_others_are_one_entry() -> None:
    down_for_days = DUE + timedelta(days=3, minutes=5)
    plan = book(exporter(seen(MONDAY)), down_for_days)
    assert plan.claimed
    assert plan.claimed.scheduled_time == DUE + timedelta(days=3)
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "DeadlineExceeded")
    assert entry.message.startswith("3 slots between 2026-11-24T00:20:00Z and 2026-11-26T00:20:00Z")


def test_a_missed_slot_shows_in_last_run_succeeded() -> None:
    status = book(exporter(seen(MONDAY)), DUE + timedelta(hours=2)).status
    condition = status.condition("LastRunSucceeded")
    assert condition
    assert (condition.status, condition.reason) == ("False", "DeadlineExceeded")


def test_the_deadline_of_the_spec_holds() -> None:
    daily: dict[str, Any] = {"frequency": "Daily", "startingDeadlineSeconds": 7200}
    assert book(exporter(seen(MONDAY, **daily), **daily), DUE + timedelta(hours=2)).claimed


def test_a_slot_that_waited_for_its_turn_is_not_late() -> None:
    plan = book(exporter(seen(MONDAY)), DUE + timedelta(hours=3), leadership=Leadership.started(MONDAY))
    assert plan.claimed


def test_a_changed_schedule_counts_from_the_change() -> None:
    changed = exporter(seen(MONDAY), frequency="Hourly", everyHours=1)
    plan = book(changed, MONDAY + timedelta(hours=1))
    assert plan.claimed is None
    assert plan.status.schedule_since == MONDAY + timedelta(hours=1)
    assert plan.status.next_schedule_time == at("2026-11-23 13:20")


def test_a_slot_that_a_changed_schedule_replaces_is_told() -> None:
    plan = book(exporter(seen(MONDAY), frequency="Hourly", everyHours=12), DUE + timedelta(minutes=1))
    assert plan.claimed is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "ScheduleChanged")


def test_a_suspended_exporter_has_no_slots() -> None:
    plan = book(exporter(seen(MONDAY), suspend=True), MONDAY + timedelta(hours=1))
    assert plan.status.next_schedule_time is None
    later = book(exporter(plan.status, suspend=True), DUE + timedelta(days=9))
    assert later.claimed is None
    assert not later.status.history


def test_nothing_runs_because_an_exporter_was_resumed() -> None:
    suspended = book(exporter(seen(MONDAY), suspend=True), MONDAY + timedelta(hours=1)).status
    plan = book(exporter(suspended), DUE + timedelta(minutes=5))
    assert plan.claimed is None
    assert plan.status.schedule_since == DUE + timedelta(minutes=5)
    assert plan.status.next_schedule_time == DUE + timedelta(days=1)


def test_a_slot_that_fell_due_before_a_suspension_nobody_saw_is_skipped_visibly() -> None:
    plan = book(exporter(seen(MONDAY), suspend=True), DUE + timedelta(minutes=5))
    assert plan.claimed is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Skipped", "Suspended")


def test_a_run_request_is_claimed_with_its_receipt() -> None:
    plan = book(exporter(seen(MONDAY), annotations={"run-requested-at": "now"}), MONDAY + timedelta(hours=1))
    assert plan.claimed
    assert plan.claimed.trigger == "Request"
    assert plan.status.last_handled_run_request == "now"


def test_a_token_acts_once() -> None:
    asked = {"run-requested-at": "now"}
    after = book(exporter(seen(MONDAY), annotations=asked), MONDAY).status.model_copy(update={"active_run": None})
    assert book(exporter(after, annotations=asked), MONDAY).claimed is None


def test_an_older_token_that_comes_back_does_not_act_again() -> None:
    status = seen(MONDAY)
    for token in ("from-git", "by-hand"):
        plan = book(exporter(status, annotations={"run-requested-at": token}), MONDAY)
        assert plan.claimed
        status = plan.status.model_copy(update={"active_run": None})
    reverted = exporter(status, annotations={"run-requested-at": "from-git"})
    assert book(reverted, MONDAY).claimed is None
    assert requested(RUN, reverted) is None


def test_receipts_of_an_older_version_outlive_the_requests_that_follow_an_upgrade() -> None:
    from_git = {"run-requested-at": "from-git"}
    handled = book(exporter(seen(MONDAY), annotations=from_git), MONDAY).status
    # What version 0.1, or a CRD of it, leaves of the receipts.
    dropped = {"active_run": None, "handled_run_requests": None, "handled_test_requests": None, "sent_runs": None}
    status = handled.model_copy(update=dropped)
    for token in map(str, range(25)):
        plan = book(exporter(status, annotations={"test-requested-at": token, "test-mode": "Deliver"}), MONDAY)
        assert plan.claimed
        status = plan.status.model_copy(update={"active_run": None, "last_handled_run_request": "by-hand"})
    assert book(exporter(status, annotations=from_git), MONDAY).claimed is None


def test_a_run_that_has_an_entry_is_not_sent_again_although_everything_else_about_it_is_lost() -> None:
    asked = {"run-requested-at": "now"}
    run = book(exporter(seen(MONDAY), annotations=asked), MONDAY).claimed
    assert run
    entry = entry_of(run.model_copy(update={"send_time": MONDAY}), "Succeeded", Reason.SUCCEEDED, "", MONDAY)
    plan = book(exporter(seen(MONDAY).with_entry(entry), annotations=asked), MONDAY)
    assert plan.claimed is None
    newest = (plan.status.history or [])[0]
    assert (newest.result, newest.reason) == ("Skipped", "AlreadySent")


def test_a_slot_that_fell_due_before_the_spec_became_invalid_is_told() -> None:
    plan = book(exporter(seen(MONDAY), frequency="Fortnightly"), DUE + timedelta(minutes=1))
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason, entry.scheduled_time) == ("Failed", "SpecInvalid", DUE)


def test_a_token_too_long_for_status_acts_once_as_well() -> None:
    asked = {"run-requested-at": "x" * 5000}
    plan = book(exporter(seen(MONDAY), annotations=asked), MONDAY)
    assert plan.claimed
    assert len(plan.status.last_handled_run_request or "") <= 253
    after = plan.status.model_copy(update={"active_run": None})
    assert book(exporter(after, annotations=asked), MONDAY).claimed is None


def test_a_run_request_on_a_suspended_exporter_is_refused_visibly() -> None:
    status = book(exporter(seen(MONDAY), suspend=True), MONDAY).status
    plan = book(exporter(status, suspend=True, annotations={"run-requested-at": "now"}), MONDAY)
    assert plan.claimed is None
    assert plan.status.last_handled_run_request == "now"
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason, entry.trigger) == ("Skipped", "Suspended", "Request")


def test_a_run_request_that_meets_a_due_slot_is_refused_visibly() -> None:
    plan = book(exporter(seen(MONDAY), annotations={"run-requested-at": "now"}), DUE)
    assert plan.claimed
    assert plan.claimed.trigger == "Schedule"
    assert [(e.trigger, e.reason) for e in plan.status.history or []] == [("Request", "RunActive")]


def test_a_delivering_test_works_on_a_suspended_exporter() -> None:
    status = book(exporter(seen(MONDAY), suspend=True), MONDAY).status
    asked = {"test-requested-at": "t", "test-mode": "Deliver"}
    plan = book(exporter(status, suspend=True, annotations=asked), MONDAY)
    assert plan.claimed
    assert plan.claimed.trigger == "Test"


def test_a_token_that_says_dry_mails_nobody_whatever_the_mode_says() -> None:
    found = exporter(seen(MONDAY), annotations={"test-requested-at": "dry-20261124", "test-mode": "Deliver"})
    assert book(found, MONDAY).claimed is None
    assert requested(TEST, found) == Token("dry-20261124", "dry-20261124")
    assert not wants_delivery(found)


@pytest.mark.parametrize("mode", ["deliver", "DELIVER", "", "yes"])
def test_a_test_mode_that_is_not_exactly_deliver_mails_nobody(mode: str) -> None:
    found = exporter(seen(MONDAY), annotations={"test-requested-at": "t", "test-mode": mode})
    assert book(found, MONDAY).claimed is None
    assert not wants_delivery(found)


def test_an_unreadable_spec_refuses_a_run_request_and_has_no_slots() -> None:
    found = exporter(seen(MONDAY), annotations={"run-requested-at": "now"}, frequency="Fortnightly")
    plan = book(found, MONDAY)
    assert plan.claimed is None
    assert plan.status.next_schedule_time is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Failed", "SpecInvalid")


def test_a_zone_that_this_machine_does_not_know_makes_the_spec_invalid() -> None:
    found = exporter(frequency="Daily", timeZone="Mars/Olympus")
    problem = spec_problem(found, ZONE)
    assert problem
    assert problem.reason is Reason.SPEC_INVALID


def test_an_exporter_that_names_no_zone_keeps_the_default_by_which_it_was_first_seen() -> None:
    first = book(exporter(), MONDAY).status
    assert (first.time_zone, first.next_schedule_time) == ("UTC", DUE)
    after = planned(exporter(first), MONDAY + timedelta(hours=1), zone="Europe/Zurich").status
    assert after == first
    assert next_wake(exporter(first), MONDAY, "Europe/Zurich").at == next_wake(exporter(first), MONDAY, "UTC").at


def test_the_zone_that_an_exporter_names_counts_and_none_is_kept_beside_it() -> None:
    first = book(exporter(), MONDAY).status
    named = book(exporter(first, frequency="Daily", timeZone="Europe/Zurich"), MONDAY).status
    assert (named.schedule, named.time_zone) == ("every day at 00:20, Europe/Zurich", None)


def test_the_same_local_date_after_a_change_of_zone_is_the_same_slot() -> None:
    run = claimed()
    done = exporter(book(exporter(seen(MONDAY)), DUE).status)
    ended = Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", DUE))
    status = finished(done, ended, DUE, ZONE)
    lima: dict[str, Any] = {"frequency": "Daily", "timeZone": "America/Lima"}
    status = book(exporter(status, **lima), DUE + timedelta(minutes=10)).status
    again = book(exporter(status, **lima), at("2026-11-24 05:20"))  # 00:20 in Lima, of the same 24 November
    assert again.claimed is None
    assert again.status.next_schedule_time == at("2026-11-25 05:20")


def test_a_clock_that_was_years_ahead_does_not_silence_the_exporter() -> None:
    ahead = book(exporter(seen(MONDAY)), at("2030-01-01 00:20")).status.model_copy(update={"active_run": None})
    assert next_wake(exporter(ahead), MONDAY, ZONE).at <= MONDAY
    set_back = book(exporter(ahead), MONDAY)
    assert set_back.claimed is None
    assert set_back.status.next_schedule_time == DUE
    assert book(exporter(set_back.status), DUE).claimed


def test_a_clock_that_was_set_back_sends_no_slot_twice() -> None:
    run = claimed()
    busy = exporter(book(exporter(seen(MONDAY)), DUE).status)
    status = finished(busy, Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", DUE)), DUE, ZONE)
    set_back = book(exporter(status), DUE - timedelta(days=3))
    assert set_back.claimed is None
    assert book(exporter(set_back.status), DUE).claimed is None


# Runs that ended, and runs that nobody works on


def test_the_end_of_a_run_is_one_status() -> None:
    run = claimed()
    busy = exporter(book(exporter(seen(MONDAY)), DUE).status)
    ended = Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", DUE + timedelta(minutes=1)))
    status = finished(busy, ended, DUE + timedelta(minutes=1), ZONE)
    assert status.active_run is None
    assert (status.history or [])[0].result == "Succeeded"
    assert status.last_successful_time == DUE + timedelta(minutes=1)
    condition = status.condition("LastRunSucceeded")
    assert condition
    assert condition.status == "True"


def test_a_slot_that_fell_due_during_a_run_is_skipped() -> None:
    hourly: dict[str, Any] = {"frequency": "Hourly", "everyHours": 1}
    busy = exporter(book(exporter(seen(MONDAY, **hourly), **hourly), at("2026-11-23 12:20")).status, **hourly)
    run = busy.status.active_run
    assert run
    late = at("2026-11-23 13:25")
    status = finished(busy, Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", late)), late, ZONE)
    newest = (status.history or [])[0]
    assert (newest.result, newest.reason) == ("Skipped", "RunActive")
    assert book(exporter(status, **hourly), late).claimed is None
    assert status.next_schedule_time == at("2026-11-23 14:20")


def test_a_run_that_was_requested_during_a_run_is_refused_visibly() -> None:
    run = claimed()
    busy = exporter(book(exporter(seen(MONDAY)), DUE).status, annotations={"run-requested-at": "now"})
    status = finished(busy, Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, "Sent.", DUE)), DUE, ZONE)
    assert [(e.trigger, e.reason) for e in status.history or []] == [
        ("Request", "RunActive"),
        ("Schedule", "Succeeded"),
    ]
    assert status.last_handled_run_request == "now"


def orphan(**changes: Any) -> Exporter:
    """An exporter whose run somebody else left behind."""
    run = claimed().model_copy(update={"holder": "other", **changes})
    status = book(exporter(seen(MONDAY)), DUE).status.model_copy(update={"active_run": run})
    return exporter(status, generation=2)


def test_a_run_in_other_hands_is_left_alone() -> None:
    plan = book(orphan(), DUE + timedelta(minutes=1))
    assert plan.claimed is None
    assert plan.status.active_run
    assert plan.status.active_run.holder == "other"


@pytest.mark.parametrize("step", ["Claimed", "Importing"])
def test_an_orphan_that_sent_nothing_starts_again_with_the_spec_of_now(step: str) -> None:
    plan = book(orphan(step=step, batch_id="BT_1"), DUE + timedelta(minutes=1), orphaned=True)
    assert plan.claimed
    assert (plan.claimed.step, plan.claimed.generation, plan.claimed.batch_id) == ("Claimed", 2, None)
    assert (plan.claimed.holder, plan.claimed.attempt) == ("me", 2)


@pytest.mark.parametrize("step", ["Sending", "Sent"])
def test_an_orphan_that_may_have_sent_is_taken_up_where_it_stands_however_late(step: str) -> None:
    plan = book(orphan(step=step, batch_id="BT_1"), DUE + timedelta(days=2), orphaned=True)
    assert plan.claimed
    assert (plan.claimed.step, plan.claimed.generation, plan.claimed.batch_id) == (step, 1, "BT_1")
    assert plan.claimed.holder == "me"


def test_an_orphan_that_sent_nothing_and_is_too_late_is_missed() -> None:
    plan = book(orphan(), DUE + timedelta(hours=2), orphaned=True)
    assert plan.claimed is None
    assert plan.status.active_run is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "DeadlineExceeded")


def test_an_orphan_whose_send_was_refused_is_taken_up_where_it_stands() -> None:
    until = DUE + timedelta(minutes=5)
    refused = orphan(
        step="Sending", batch_id="BT_1", refused_until=until, refused_reason="RemoteUnavailable", send_attempts=1
    )
    plan = book(refused, DUE + timedelta(minutes=1), orphaned=True)
    assert plan.claimed
    assert (plan.claimed.step, plan.claimed.batch_id, plan.claimed.send_attempts) == ("Sending", "BT_1", 1)
    assert plan.claimed.refused_until == DUE + timedelta(minutes=5)
    assert plan.claimed.generation == 1  # the write of its next send notices that the spec was changed
    assert (plan.claimed.holder, plan.claimed.attempt) == ("me", 2)


def test_an_orphan_whose_send_was_refused_and_is_too_late_is_missed() -> None:
    until = DUE + timedelta(minutes=5)
    refused = orphan(
        step="Sending", batch_id="BT_1", send_time=DUE, refused_until=until, refused_reason="RemoteUnavailable"
    )
    plan = book(refused, DUE + timedelta(hours=2), orphaned=True)
    assert plan.claimed is None
    (entry,) = plan.status.history or []
    assert (entry.result, entry.reason) == ("Missed", "DeadlineExceeded")


# When to look again


def well(found: Exporter, when: Any) -> Exporter:
    """The exporter after a check found it well."""
    from qualtrics_exporter.controller.status import conditions

    status = conditions.checked(found.status, Verdict(), found.generation, when, suspended=found.suspended)
    return exporter(status.model_copy(update={"observed_generation": found.generation, "last_check_time": when}))


def test_an_exporter_at_rest_is_looked_at_when_its_slot_falls_due_or_its_checks() -> None:
    found = well(exporter(seen(MONDAY)), at("2026-11-23 20:00"))
    assert next_wake(found, at("2026-11-23 21:00"), ZONE).at == DUE
    checked_long_ago = well(exporter(seen(MONDAY)), MONDAY)
    wake = next_wake(checked_long_ago, MONDAY, ZONE).at
    assert timedelta(hours=6) <= wake - MONDAY <= timedelta(hours=7)


@pytest.mark.parametrize(
    ("why", "found"),
    [
        ("it was never seen", exporter()),
        ("it has a run", exporter(book(exporter(seen(MONDAY)), DUE).status)),
        ("it was not checked", exporter(seen(MONDAY))),
        ("a run is requested", exporter(seen(MONDAY), annotations={"run-requested-at": "x"})),
        ("a test is requested", exporter(seen(MONDAY), annotations={"test-requested-at": "x"})),
        ("its status is damaged", replace(well(exporter(seen(MONDAY)), MONDAY), ignored=("status.sentRuns",))),
    ],
)
def test_an_exporter_is_looked_at_at_once(why: str, found: Exporter) -> None:
    assert next_wake(found, MONDAY, ZONE).at <= MONDAY, why


def test_while_not_ready_the_secrets_are_looked_at_within_a_minute() -> None:
    from qualtrics_exporter.controller.status import conditions
    from qualtrics_exporter.remote.errors import Permanent

    found = exporter(seen(MONDAY))
    verdict = Verdict(nexthink=Permanent(Reason.SECRET_NOT_FOUND, "Secret dex/nexthink does not exist"))
    status = conditions.checked(found.status, verdict, 1, MONDAY, suspended=False)
    status = status.model_copy(update={"observed_generation": 1, "next_retry_time": MONDAY + timedelta(minutes=15)})
    wake = next_wake(exporter(status), MONDAY, ZONE).at
    assert MONDAY < wake <= MONDAY + timedelta(minutes=1)


def test_a_lost_status_sends_nothing_again() -> None:
    lost = book(exporter(Status()), DUE + timedelta(minutes=1))
    assert lost.claimed is None
    assert lost.status.next_schedule_time == DUE + timedelta(days=1)


def looked_at(verdict: Verdict, **how: Any) -> Exporter:
    """An exporter whose present spec was checked at `MONDAY` with this verdict, and that is not tried again soon."""
    found = exporter(seen(MONDAY, **how), **how)
    status = conditions.checked(found.status, verdict, 1, MONDAY, suspended=found.suspended)
    update = {"observed_generation": 1, "last_check_time": MONDAY, "next_retry_time": None}
    return exporter(status.model_copy(update=update), **how)


@pytest.mark.parametrize("suspend", [False, True])
def test_what_only_its_user_can_mend_is_looked_at_every_few_hours_and_not_all_the_time(suspend: bool) -> None:
    verdict = Verdict(query_text=Permanent(Reason.QUERY_INVALID, "spec.nexthink.query is wrong"))
    assert verdict.needs_new_spec
    due = check_due(looked_at(verdict, suspend=suspend), MONDAY + timedelta(minutes=1))
    assert timedelta(hours=6) <= due - MONDAY < timedelta(hours=7)


def test_a_suspended_exporter_that_is_well_is_not_looked_at() -> None:
    assert check_due(looked_at(Verdict(), suspend=True), MONDAY) == NEVER.at


def test_what_may_pass_is_tried_again_also_beside_a_wrong_text() -> None:
    down = Transient(Reason.REMOTE_UNAVAILABLE, "Nexthink is down")
    text = Permanent(Reason.QUERY_INVALID, "spec.nexthink.query is wrong")
    assert not Verdict(query_text=text, nexthink=down).needs_new_spec
