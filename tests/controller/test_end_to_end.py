"""The main flow: apply and check an exporter, request a run, mail the people of the query, report the result."""

import re

from tests.controller.recipients import EVERYBODY, MailedAddresses
from tests.support.stage import Stage
from tests.support.waiting import HANG, eventually


def test_applied_exporter_becomes_ready_before_its_first_slot(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter()
    ready = exporter.checked()
    assert (ready["status"], ready["reason"]) == ("True", "Checked")
    exporter.kubectl("wait", "--for=condition=Ready", "qualtricsexporter/teams-rollout", f"--timeout={HANG}")
    status = exporter.status()
    assert status["schedule"] == "every Monday at 00:00, Europe/Zurich"
    assert status["nextScheduleTime"] == "2026-11-29T23:00:00Z"
    assert {c["type"] for c in status["conditions"]} == {
        "Ready", "NexthinkReady", "QualtricsReady", "QueryInSync", "LastRunSucceeded",
    }  # fmt: skip
    assert stage.sandbox.recorder.distributions == []


def test_requested_run_mails_exactly_the_people_of_the_query_and_reports_success(
    stage: Stage, mailed_addresses: MailedAddresses
) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(run_requested_at="first")
    entry = exporter.ended()

    assert mailed_addresses(stage) == EVERYBODY
    (sent,) = stage.sandbox.recorder.distributions
    assert (entry["result"], entry["reason"], entry["trigger"]) == ("Succeeded", "Succeeded", "Request")
    assert entry["recipients"] == {
        "returned": 8, "empty": 1, "invalid": 0, "duplicate": 1, "accepted": 6, "imported": 6,
    }  # fmt: skip
    assert (entry["distributionId"], entry["batchId"]) == (sent.id, sent.batch_id)
    eventually(lambda: re.search(rf" run_id={entry['id']} .*result=Succeeded ", operator.log), "the log has the result")
    status = exporter.status()
    assert status["lastHandledRunRequest"] == "first"
    assert status["lastSuccessfulTime"] == entry["completionTime"]
    assert exporter.condition("LastRunSucceeded")["status"] == "True"
    assert exporter.condition("QueryInSync")["status"] == "True"
    reasons = [event["reason"] for event in exporter.wait_for_event("Succeeded")]
    assert reasons == ["Checked", "Succeeded"]

    columns = exporter.kubectl("get", "qex", "teams-rollout")
    header, row = columns.splitlines()
    assert header.split() == [
        "NAME", "FREQUENCY", "SUSPENDED", "READY", "LAST", "RESULT", "RECIPIENTS", "LAST", "SUCCESS", "NEXT", "AGE",
    ]  # fmt: skip
    assert row.split()[:5] == ["teams-rollout", "Weekly", "True", "Succeeded", "6"]


def test_small_run_makes_seven_remote_calls_five_status_writes_and_one_event(stage: Stage) -> None:
    stage.sandbox.account.import_polls = 0
    fault_proxy = stage.fault_proxy()
    operator = stage.operator(fault_proxy=fault_proxy)
    exporter = stage.exporter()
    exporter.checked()

    operator.stop()  # the next process has no tokens, and knows no calls that count for the rate limit
    stage.clock.advance(2)
    stage.sandbox.call(stage.sandbox.recorder.calls.clear)
    operator.start()
    fault_proxy.calls.clear()
    exporter.annotate(run_requested_at="first")
    exporter.ended()
    events = eventually(
        lambda: [call for call in fault_proxy.calls if call.operation == "api.event"], "an Event was written"
    )

    assert [call.operation for call in stage.sandbox.recorder.calls] == [
        "nexthink.token",
        "nexthink.execute",
        "qualtrics.token",
        "qualtrics.create_batch",
        "qualtrics.import_contacts",
        "qualtrics.import_status",
        "qualtrics.create_distribution",
    ]
    writes = [call.operation for call in fault_proxy.calls if call.operation.startswith("api.status.")]
    assert writes == [f"api.status.{step}" for step in ("Claimed", "Importing", "Sending", "Sent", "ended")]
    assert len(events) == 1


def test_run_token_that_is_set_twice_sends_once(stage: Stage, mailed_addresses: MailedAddresses) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(run_requested_at="once")
    exporter.ended()
    exporter.annotate(run_requested_at="once")
    exporter.annotate(test_requested_at="after-the-second")
    exporter.tested("after-the-second")
    assert len(exporter.history()) == 1
    assert mailed_addresses(stage) == EVERYBODY


def test_create_edit_resume_and_restart_send_nothing(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**{"schedule.frequency": "Daily", "schedule.dayOfWeek": None})
    exporter.checked()
    exporter.change(**{"qualtrics.subject": "Another subject"})
    exporter.checked()
    exporter.change(suspend=True)
    exporter.checked()
    assert "nextScheduleTime" not in exporter.status()
    stage.clock.advance(36 * 3600)  # a slot falls due while it is suspended
    exporter.change(suspend=False)
    exporter.checked()
    operator.kill()
    operator.start()
    exporter.change(description="Edited after a restart")
    exporter.checked()
    assert exporter.history() == []
    assert stage.sandbox.recorder.batches == {}
    assert stage.sandbox.recorder.distributions == []


def test_exporter_created_with_request_tokens_does_not_run(stage: Stage) -> None:
    stage.operator()
    manifest = stage.manifest()
    manifest["metadata"]["annotations"] = {
        "qualtrics-exporter.dev/run-requested-at": "from-git",
        "qualtrics-exporter.dev/test-requested-at": "from-git",
        "qualtrics-exporter.dev/test-mode": "Deliver",
    }
    stage.apply(manifest)
    exporter = stage.existing("teams-rollout")
    exporter.checked()
    status = exporter.status()
    assert (status["lastHandledRunRequest"], status["lastHandledTestRequest"]) == ("from-git", "from-git")
    assert stage.sandbox.recorder.distributions == []


def test_suspended_exporter_skips_a_requested_run_with_an_entry_and_still_tests(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(suspend=True)
    assert exporter.checked()["reason"] == "Suspended"
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Skipped", "Suspended")
    exporter.annotate(test_requested_at="now")
    assert exporter.tested("now")["reason"] == "TestPassed"
    assert [event["reason"] for event in exporter.wait_for_event("TestPassed")][-2:] == ["Suspended", "TestPassed"]
    assert stage.sandbox.recorder.distributions == []


def test_delivering_test_mails_at_most_twenty_people(stage: Stage, mailed_addresses: MailedAddresses) -> None:
    stage.operator()
    stage.people("#many", 100)
    exporter = stage.exporter(**{"nexthink.queryId": "#many"})
    exporter.checked()
    exporter.annotate(test_requested_at="t1", test_mode="Deliver")
    test = exporter.tested("t1")
    assert (test["result"], test["reason"]) == ("Succeeded", "TestDelivered")
    assert len(mailed_addresses(stage)) == 20
    assert exporter.history() == []

    exporter.annotate(test_mode="Dry")  # a change of the mode alone requests no test
    exporter.annotate(test_mode="Deliver")
    exporter.annotate(test_requested_at="t2", test_mode="Dry")
    assert exporter.tested("t2")["reason"] == "TestPassed"
    assert len(mailed_addresses(stage)) == 20


def test_operator_reads_delivery_figures_after_a_run(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.account.bouncing_addresses.add("ana@example.com")
    exporter.annotate(run_requested_at="first")
    exporter.ended()
    stage.clock.advance(121)
    delivery = exporter.delivered()
    assert (delivery["requestStatus"], delivery["sent"], delivery["bounced"]) == ("Done", 6, 1)
    entry = exporter.history()[0]
    assert (entry["result"], entry["reason"]) == ("Succeeded", "PartlyDelivered")
    assert exporter.condition("LastRunSucceeded")["status"] == "True"
    reads = stage.sandbox.recorder.count("qualtrics.read_distribution")
    stage.clock.advance(8 * 60)
    exporter.delivered(after=delivery["observedTime"])
    assert stage.sandbox.recorder.count("qualtrics.read_distribution") == reads + 1


def test_run_reports_mails_that_qualtrics_suppressed_as_duplicates(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(run_requested_at="first")
    exporter.ended()
    exporter.annotate(run_requested_at="second")
    exporter.ended(2)
    stage.clock.advance(121)
    exporter.until(
        lambda status: status["history"][0]["reason"] == "DuplicateSuppressed", "the status reports the duplicates"
    )
    assert exporter.history()[0]["result"] == "Succeeded"
    last = exporter.condition("LastRunSucceeded")
    assert (last["status"], last["reason"]) == ("False", "DuplicateSuppressed")
    exporter.wait_for_event("DuplicateSuppressed")


def test_run_with_query_drift_also_reports_suppressed_duplicates(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(**{"nexthink.query": "users | list user.ad.email_address"})
    exporter.checked()
    for number in (1, 2):
        exporter.annotate(run_requested_at=f"run-{number}")
        assert exporter.ended(number)["reason"] == "QueryDrift"
    stage.clock.advance(121)
    exporter.until(
        lambda status: status["history"][0]["reason"] == "DuplicateSuppressed", "the status reports the duplicates"
    )
    assert exporter.condition("LastRunSucceeded")["status"] == "False"


def test_second_exporter_with_the_same_target_gets_a_warning_and_stays_ready(stage: Stage) -> None:
    stage.operator()
    stage.exporter("first").checked()
    second = stage.exporter("second")
    ready = second.checked()
    assert ready["status"] == "True"
    assert f"{stage.namespace}/first" in ready["message"]
    second.wait_for_event("DuplicateTarget")
