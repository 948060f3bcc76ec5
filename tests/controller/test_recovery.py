"""Interrupted runs in detail: what is told, what a polite stop does. A kill at every effect is in tests/faults."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.environment.operator import Operator
from tests.environment.stage import AppliedExporter, Stage
from tests.environment.waiting import eventually

EVERYBODY = {f"{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}
Mailed = Callable[[Stage], set[str]]


def killed(stage: Stage, operation: str, when: str) -> tuple[Operator, AppliedExporter]:
    """A run whose operator was killed while that call was held before or after its effect."""
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault(operation, hold=when)
    exporter.annotate(run_requested_at="first")
    stage.reached(operation)
    operator.kill()
    stage.sandbox.release(drop=True)
    return operator, exporter


def test_a_run_killed_before_qualtrics_took_the_send_is_looked_up_and_never_sent(stage: Stage) -> None:
    operator, exporter = killed(stage, "qualtrics.create_distribution", "before")
    operator.start()
    entry = stage.while_time_passes(exporter.ended)
    assert (entry["result"], entry["reason"]) == ("Unknown", "DeliveryUnknown")
    assert stage.sandbox.ledger.count("qualtrics.list_distributions") == 5
    assert entry["batchId"] in entry["message"]
    assert stage.sandbox.ledger.distributions == []
    assert stage.sandbox.ledger.count("qualtrics.create_distribution") == 1
    assert exporter.condition("LastRunSucceeded")["status"] == "Unknown"
    exporter.told("DeliveryUnknown")


def test_a_run_that_was_interrupted_and_is_too_late_to_start_again_is_told(stage: Stage) -> None:
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
    assert stage.sandbox.ledger.distributions == []
    exporter.annotate(run_requested_at="second")
    assert exporter.ended(2)["result"] == "Succeeded"


def test_a_delivering_test_that_was_killed_is_dropped(stage: Stage) -> None:
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
    assert stage.sandbox.ledger.distributions == []


def test_a_polite_stop_leaves_a_run_that_has_not_sent_for_the_next_start(stage: Stage, people: Mailed) -> None:
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
    assert people(stage) == EVERYBODY


def test_a_polite_stop_finishes_a_send_that_is_under_way(stage: Stage, people: Mailed) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", hold="before")
    exporter.annotate(run_requested_at="first")
    stage.reached("qualtrics.create_distribution")
    operator.terminate()
    eventually(lambda: "stopping" in operator.log, "the operator was told")
    stage.sandbox.release()
    assert operator.wait() == 0
    assert people(stage) == EVERYBODY
    assert exporter.status().get("activeRun", {}).get("step", "Sent") == "Sent"
    operator.start()
    assert exporter.ended()["result"] == "Succeeded"
    assert len(stage.sandbox.ledger.distributions) == 1


@pytest.mark.parametrize("change", ["suspend", "edit", "delete"])
def test_what_a_user_does_during_a_run_counts_until_the_send(stage: Stage, people: Mailed, change: str) -> None:
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
        assert stage.sandbox.ledger.distributions == []
        return
    entry = exporter.ended()
    if change == "suspend":
        assert (entry["result"], entry["reason"]) == ("Skipped", "Suspended")
        assert stage.sandbox.ledger.distributions == []
    else:
        assert entry["result"] == "Succeeded"
        (sent,) = stage.sandbox.ledger.distributions
        assert sent.subject == "The new subject"
        assert people(stage) == EVERYBODY


def test_a_stop_in_the_wait_after_a_refusal_leaves_a_send_that_the_next_start_asks_for(
    stage: Stage, people: Mailed
) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", status=429, headers={"Retry-After": "240"})
    exporter.annotate(run_requested_at="first")

    def refused() -> dict[str, Any] | None:
        left: dict[str, Any] = exporter.status().get("activeRun", {})
        return left if "refusedUntil" in left else None

    run = stage.while_time_passes(lambda: eventually(refused, "the refusal is written"), seconds=1)
    assert (run["step"], run["sendAttempts"]) == ("Sending", 1)
    assert operator.stop() == 0
    operator.start()
    entry = stage.while_time_passes(exporter.ended)
    assert (entry["result"], entry["batchId"]) == ("Succeeded", run["batchId"])
    assert people(stage) == EVERYBODY
    assert stage.sandbox.ledger.count("qualtrics.create_distribution") == 2
