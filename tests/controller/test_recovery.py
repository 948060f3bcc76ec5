"""Interrupted runs: what they report, and what a graceful stop does. tests/faults has a kill at every effect."""

from typing import Any

import pytest

from tests.controller.recipients import EVERYBODY, MailedAddresses
from tests.support.applied_exporter import AppliedExporter
from tests.support.operator import Operator
from tests.support.stage import Stage
from tests.support.waiting import eventually


def kill_during(stage: Stage, operation: str, when: str) -> tuple[Operator, AppliedExporter]:
    """Kill the operator of a run while a call is held before or after its effect."""
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault(operation, hold=when)
    exporter.annotate(run_requested_at="first")
    stage.reached(operation)
    operator.kill()
    stage.sandbox.release(drop=True)
    return operator, exporter


def test_run_killed_before_qualtrics_received_its_send_is_looked_up_and_never_sent(stage: Stage) -> None:
    operator, exporter = kill_during(stage, "qualtrics.create_distribution", "before")
    operator.start()
    entry = stage.while_time_passes(exporter.ended)
    assert (entry["result"], entry["reason"]) == ("Unknown", "DeliveryUnknown")
    assert stage.sandbox.recorder.count("qualtrics.list_distributions") == 5
    assert entry["batchId"] in entry["message"]
    assert stage.sandbox.recorder.distributions == []
    assert stage.sandbox.recorder.count("qualtrics.create_distribution") == 1
    assert exporter.condition("LastRunSucceeded")["status"] == "Unknown"
    exporter.wait_for_event("DeliveryUnknown")


def test_interrupted_run_that_is_too_late_to_restart_ends_as_missed(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**{"schedule.startingDeadlineSeconds": 60})
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_contacts", hold="before")
    exporter.annotate(run_requested_at="first")
    stage.reached("qualtrics.import_contacts")
    operator.kill()
    stage.sandbox.release(drop=True)
    stage.clock.advance(120)
    operator.start()
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Missed", "DeadlineExceeded")
    assert stage.sandbox.recorder.distributions == []
    exporter.annotate(run_requested_at="second")
    assert exporter.ended(2)["result"] == "Succeeded"


def test_killed_delivering_test_fails_with_interrupted(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_contacts", hold="before")
    exporter.annotate(test_requested_at="t", test_mode="Deliver")
    stage.reached("qualtrics.import_contacts")
    operator.kill()
    stage.sandbox.release(drop=True)
    operator.start()
    test = exporter.tested("t")
    assert (test["result"], test["reason"]) == ("Failed", "Interrupted")
    assert stage.sandbox.recorder.distributions == []


def test_graceful_stop_leaves_an_unsent_run_to_the_next_start(stage: Stage, mailed_addresses: MailedAddresses) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_contacts", hold="before")
    exporter.annotate(run_requested_at="first")
    stage.reached("qualtrics.import_contacts")
    assert operator.stop() == 0
    assert exporter.status()["activeRun"]["step"] == "Importing"
    stage.sandbox.release(drop=True)
    operator.start()
    assert exporter.ended()["result"] == "Succeeded"
    assert mailed_addresses(stage) == EVERYBODY


def test_graceful_stop_finishes_a_send_in_progress(stage: Stage, mailed_addresses: MailedAddresses) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", hold="before")
    exporter.annotate(run_requested_at="first")
    stage.reached("qualtrics.create_distribution")

    operator.terminate()
    eventually(lambda: "stopping" in operator.log, "the operator is stopping")
    stage.sandbox.release()
    assert operator.wait() == 0
    assert mailed_addresses(stage) == EVERYBODY
    assert exporter.status().get("activeRun", {}).get("step", "Sent") == "Sent"
    operator.start()
    assert exporter.ended()["result"] == "Succeeded"
    assert len(stage.sandbox.recorder.distributions) == 1


@pytest.mark.parametrize("change", ["suspend", "edit", "delete"])
def test_suspension_edit_or_deletion_during_a_run_takes_effect_before_the_send(
    stage: Stage, mailed_addresses: MailedAddresses, change: str
) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_status", hold="before")
    exporter.annotate(run_requested_at="first")
    stage.reached("qualtrics.import_status")

    if change == "suspend":
        exporter.change(suspend=True)
    elif change == "edit":
        exporter.change(**{"qualtrics.subject": "The new subject"})
    else:
        exporter.delete()
    stage.sandbox.release()

    if change == "delete":
        stage.exporter("another").checked()
        assert stage.sandbox.recorder.distributions == []
        return
    entry = exporter.ended()
    if change == "suspend":
        assert (entry["result"], entry["reason"]) == ("Skipped", "Suspended")
        assert stage.sandbox.recorder.distributions == []
    else:
        assert entry["result"] == "Succeeded"
        (sent,) = stage.sandbox.recorder.distributions
        assert sent.subject == "The new subject"
        assert mailed_addresses(stage) == EVERYBODY


def test_stop_during_the_wait_after_a_refused_send_leaves_the_retry_to_the_next_start(
    stage: Stage, mailed_addresses: MailedAddresses
) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", status=429, headers={"Retry-After": "240"})
    exporter.annotate(run_requested_at="first")

    def refused_run() -> dict[str, Any] | None:
        active: dict[str, Any] = exporter.status().get("activeRun", {})
        return active if "refusedUntil" in active else None

    run = stage.while_time_passes(lambda: eventually(refused_run, "the status has the refusal"), seconds=1)
    assert (run["step"], run["sendAttempts"]) == ("Sending", 1)
    assert operator.stop() == 0
    operator.start()
    entry = stage.while_time_passes(exporter.ended)
    assert (entry["result"], entry["batchId"]) == ("Succeeded", run["batchId"])
    assert mailed_addresses(stage) == EVERYBODY
    assert stage.sandbox.recorder.count("qualtrics.create_distribution") == 2
