"""What `kubectl qex` shows and refuses, as functions of an object and a time."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from qualtrics_exporter.cli.qex import requests, tables, views
from qualtrics_exporter.cli.qex.requests import Refused
from qualtrics_exporter.export.run_ids import request_run_id, settlement_id
from qualtrics_exporter.pages import times
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import RUN_REQUESTED_AT, SETTLE_RUN, TEST_MODE, TEST_REQUESTED_AT
from qualtrics_exporter.sandbox import Account

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ZURICH = ZoneInfo("Europe/Zurich")
UNKNOWN = "a" * 20

ENTRY = {
    "id": "b" * 20,
    "trigger": "Schedule",
    "completionTime": "2026-11-23T05:02:00Z",
    "result": "Succeeded",
    "reason": "Succeeded",
    "message": "Sent.",
    "recipients": {"returned": 450, "accepted": 412, "imported": 412},
    "delivery": {"sent": 410, "opened": 200, "started": 150, "finished": 120, "bounced": 2},
}


def condition(type_: str, status: str, reason: str) -> dict[str, Any]:
    """A condition as the operator writes it."""
    time = {"lastTransitionTime": "2026-11-24T10:00:00Z", "observedGeneration": 1}
    return {"type": type_, "status": status, "reason": reason, "message": "A sentence.", **time}


def exporter(status: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> Exporter:
    """An exporter that was checked, with changes to its status and spec."""
    metadata = {"namespace": "dex", "name": "teams-rollout", "uid": "uid-1", "generation": 1, "resourceVersion": "7"}
    checked = {
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True", "Checked")],
        "schedule": "every Monday at 00:00, America/New_York",
        "nextScheduleTime": "2026-11-30T05:00:00Z",
    }
    return Exporter.from_object(
        {
            "metadata": {**metadata, "annotations": annotations or {}},
            "spec": {**Account.default().exporter_spec(), **spec},
            "status": {**checked, **(status or {})},
        }
    )


def test_times_are_shown_in_the_zone_of_the_reader() -> None:
    page = views.status_page(exporter(), NOW, ZURICH)
    assert "every Monday at 00:00, America/New_York" in page
    assert "Next slots   Mon 30 Nov 2026 06:00 CET" in page
    assert "Mon 7 Dec 2026 06:00 CET" in page
    assert "Mon 14 Dec 2026 06:00 CET" in page


def test_next_slots_of_a_status_that_is_behind_are_in_the_future() -> None:
    found = views.next_slots(exporter({"nextScheduleTime": "2026-11-16T05:00:00Z"}), NOW)
    assert found[0] == datetime(2026, 11, 30, 5, tzinfo=UTC)


STATES: list[tuple[dict[str, Any], str]] = [
    ({}, "yes"),
    ({"suspend": True}, "suspended"),
    ({"dryRun": True}, "dry run"),
]


@pytest.mark.parametrize(("changes", "state"), STATES)
def test_list_shows_whether_slots_send(changes: dict[str, Any], state: str) -> None:
    assert views.listed([exporter(**changes)], NOW, ZURICH, namespaces=False).splitlines()[1].split("   ")[1] == state


def test_suspended_exporter_has_no_next_slot() -> None:
    assert "2026" not in views.listed([exporter(suspend=True)], NOW, ZURICH, namespaces=False)
    assert views.next_slots(exporter(suspend=True), NOW) == []


READY = condition("Ready", "True", "Checked")


@pytest.mark.parametrize(
    ("conditions", "shown"),
    [
        ([condition("Ready", "False", "SecretNotFound")], "not ready: SecretNotFound"),
        ([READY, condition("LastRunSucceeded", "False", "TooManyRecipients")], "last run failed: TooManyRecipients"),
        ([READY, condition("LastRunSucceeded", "Unknown", "SendUnknown")], "last run unknown: SendUnknown"),
        (
            [READY, condition("LastRunSucceeded", "False", "DuplicateSuppressed")],
            "last run not delivered: DuplicateSuppressed",
        ),
        ([READY, condition("LastRunSucceeded", "Unknown", "NotYetRun")], "ready"),
        ([READY, condition("QueryInSync", "False", "QueryDrift")], "ready, but QueryDrift"),
    ],
)
def test_health_says_what_is_wrong(conditions: list[dict[str, Any]], shown: str) -> None:
    assert views.health(exporter({"conditions": conditions})).text == shown


def test_spec_that_changed_since_the_check_is_not_shown_as_ready() -> None:
    assert views.health(exporter({"observedGeneration": 0})).text == "not checked yet"


def test_history_shows_the_funnel_from_rows_to_finished_surveys() -> None:
    header, row = views.history(exporter({"history": [ENTRY]}).status.entries, ZURICH).splitlines()
    shown = dict(zip(header.split("   "), (cell.strip() for cell in row.split("   ")), strict=False))
    assert "BLOCKED" not in header, "no entry has this figure"
    assert row.startswith("Mon 23 Nov 2026 06:02 CET")
    assert row.split()[-9:-1] == ["450", "412", "412", "410", "200", "150", "120", "2"], shown


def test_request_has_a_new_token_and_the_id_of_its_run() -> None:
    request = requests.request_run(exporter(), NOW)
    token = request.patch["metadata"]["annotations"][RUN_REQUESTED_AT]
    assert token == "2026-11-24T12:00:00Z"
    assert request.run_id == request_run_id("uid-1", token)


def test_test_sets_its_mode_with_its_token_in_one_write() -> None:
    """Otherwise an old mode could apply to the new token."""
    for deliver, mode, prefix in ((False, "Dry", "dry-"), (True, "Deliver", "")):
        annotations = requests.request_test(exporter(), NOW, deliver=deliver).patch["metadata"]["annotations"]
        assert annotations == {TEST_REQUESTED_AT: f"{prefix}2026-11-24T12:00:00Z", TEST_MODE: mode}


RUNNING = {"id": "c" * 20, "trigger": "Schedule", "startTime": "2026-11-24T11:59:00Z", "step": "Claimed"}


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"status": {"activeRun": RUNNING}}, "the run of a slot is in progress"),
        ({"annotations": {RUN_REQUESTED_AT: "earlier"}}, "a run is requested already"),
        ({"annotations": {TEST_REQUESTED_AT: "earlier"}}, "a test is requested already"),
        ({"status": {"observedGeneration": -1}}, "no operator has seen this exporter yet"),
        ({"suspend": True}, "is suspended"),
    ],
)
def test_run_is_refused_where_it_would_mail_twice_or_do_nothing(state: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        requests.request_run(exporter(**state), NOW)


def test_second_request_in_the_same_second_is_refused() -> None:
    token = "2026-11-24T12:00:00Z"
    handled = exporter({"lastHandledRunRequest": token}, {RUN_REQUESTED_AT: token})
    with pytest.raises(Refused, match="has handled the same request already"):
        requests.request_run(handled, NOW)


def test_question_names_unknown_runs_and_the_last_send() -> None:
    sent = {**ENTRY, "id": UNKNOWN, "result": "Unknown", "sendTime": "2026-11-24T11:00:00Z"}
    assert requests.doubts(exporter(), NOW) == []
    earlier = {**ENTRY, "sendTime": "2026-11-24T09:00:00Z"}
    unknown, last = requests.doubts(exporter({"history": [sent, earlier]}), NOW)
    assert f"It is unknown whether run {UNKNOWN} was sent" in unknown
    assert last == "The survey was last sent 3 h ago, to 412 people."


def test_confirmation_does_not_hold_if_the_outcome_of_the_last_run_changes() -> None:
    """A user confirmed a run because the last one was reported as not sent. Then the report is corrected."""
    reported = {**ENTRY, "id": UNKNOWN, "result": "Failed", "reason": "SettledAsNotSent"}
    seen = requests.latest(exporter({"history": [reported]}))
    requests.check_no_newer_run(seen, exporter({"history": [reported]}))
    corrected = {**reported, "result": "Succeeded", "reason": "SettledAsSent"}
    with pytest.raises(Refused, match="has ended in the meantime"):
        requests.check_no_newer_run(seen, exporter({"history": [corrected]}))


def test_confirmation_holds_if_only_the_delivery_of_the_last_run_changes() -> None:
    seen = requests.latest(exporter({"history": [ENTRY]}))
    requests.check_no_newer_run(seen, exporter({"history": [{**ENTRY, "reason": "PartlyDelivered"}]}))


def test_reported_outcome_can_be_corrected() -> None:
    reported = {**ENTRY, "id": UNKNOWN, "result": "Succeeded", "reason": "SettledAsSent"}
    assert requests.report_outcome(exporter({"history": [reported]}), f"{UNKNOWN}=NotSent", NOW).run_id


def test_report_that_was_handled_before_becomes_a_new_one() -> None:
    value = f"{UNKNOWN}=Sent"
    reported = {**ENTRY, "id": UNKNOWN, "result": "Failed", "reason": "SettledAsNotSent"}
    handled = {"history": [reported], "handledSettlements": [settlement_id("uid-1", value)[:10]]}
    request = requests.report_outcome(exporter(handled), value, NOW)
    assert request.patch["metadata"]["annotations"][SETTLE_RUN] == f"{value}@2026-11-24T12:00:00Z"


def test_outcome_is_reported_only_for_an_unknown_run() -> None:
    unknown = exporter({"history": [{**ENTRY, "id": UNKNOWN, "result": "Unknown"}]})
    assert requests.report_outcome(unknown, f"{UNKNOWN}=Sent", NOW).run_id
    for value, why in ((f"{'d' * 20}=Sent", f"These are unknown: {UNKNOWN}"), ("sent", "write RUN=Sent")):
        with pytest.raises(Refused, match=why):
            requests.report_outcome(unknown, value, NOW)
    with pytest.raises(Refused, match="No run of this exporter is unknown"):
        requests.report_outcome(exporter(), f"{UNKNOWN}=Sent", NOW)


def test_audience_is_the_newest_count_of_a_run_or_a_test() -> None:
    test = {**ENTRY, "trigger": "Test", "completionTime": "2026-11-24T10:00:00Z", "recipients": {"accepted": 6}}
    test["reason"] = "TestPassed"
    assert requests.audience(exporter()) is None
    counted = requests.audience(exporter({"history": [ENTRY], "lastTest": test}))
    assert counted == requests.Audience(6, datetime(2026, 11, 24, 10, tzinfo=UTC), "test")


@pytest.mark.parametrize("reason", ["TestDelivered", "DryRun", "RemoteUnavailable"])
def test_audience_is_not_the_count_of_a_test_that_stops_at_20_people(reason: str) -> None:
    """The confirmation of a run would name 20 people, and mail all."""
    ended = {"trigger": "Test", "completionTime": "2026-11-24T10:00:00Z", "reason": reason}
    test = {**ENTRY, **ended, "recipients": {"accepted": 20}}
    found = requests.audience(exporter({"history": [ENTRY], "lastTest": test}))
    assert found
    assert found.people == 412


LENGTHS = {
    "59 s": timedelta(seconds=59),
    "59 min": timedelta(minutes=59),
    "47 h": timedelta(hours=47),
    "2 days": timedelta(days=2),
}


@pytest.mark.parametrize(("shown", "length"), LENGTHS.items())
def test_lengths_have_their_largest_unit(shown: str, length: timedelta) -> None:
    assert times.format_length(length) == shown
    assert times.ago(NOW - length, NOW) == f"{shown} ago"
    assert times.ago(NOW + length, NOW) == f"in {shown}"


def test_column_that_is_empty_in_each_row_is_left_out() -> None:
    assert tables.table(("A", "B", "C"), [("1", "", "2"), ("3", "", "4")]).splitlines() == ["A   C", "1   2", "3   4"]
