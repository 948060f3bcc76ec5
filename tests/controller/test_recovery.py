"""Killed at each step of a run, and started again: one distribution at most, and never silence."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

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


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("operation", "step"),
    [
        ("nexthink.execute", "Claimed"),
        ("qualtrics.create_batch", "Claimed"),
        ("qualtrics.import_contacts", "Importing"),
        ("qualtrics.import_status", "Importing"),
    ],
)
def test_a_run_killed_before_its_send_starts_again_and_sends_once(
    stage: Stage, people: Mailed, operation: str, step: str, when: str
) -> None:
    operator, exporter = killed(stage, operation, when)
    assert exporter.status()["activeRun"]["step"] == step
    operator.start()
    entry = exporter.ended()
    assert (entry["result"], entry["recipients"]["imported"]) == ("Succeeded", 6)
    assert people(stage) == EVERYBODY
    (sent,) = stage.sandbox.ledger.distributions
    assert stage.sandbox.ledger.batches[sent.batch_id or ""].repeated() == {}


def test_a_run_killed_after_qualtrics_took_the_send_is_found_again(stage: Stage, people: Mailed) -> None:
    operator, exporter = killed(stage, "qualtrics.create_distribution", "after")
    assert exporter.status()["activeRun"]["step"] == "Sending"
    operator.start()
    entry = exporter.ended()
    (sent,) = stage.sandbox.ledger.distributions
    assert (entry["result"], entry["distributionId"]) == ("Succeeded", sent.id)
    assert people(stage) == EVERYBODY


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
    eventually(lambda: "DeliveryUnknown" in [e["reason"] for e in exporter.events()], "an Event tells it")


def test_a_run_killed_when_it_was_sent_is_finished(stage: Stage) -> None:
    operator, exporter = killed(stage, "qualtrics.create_distribution", "after")
    (sent,) = stage.sandbox.ledger.distributions
    # The write of `Sent` cannot be held from outside: it is put in by hand.
    patch = {"status": {"activeRun": {"step": "Sent", "distributionId": sent.id}}}
    exporter.kubectl(
        "patch", "qualtricsexporter", exporter.name, "--subresource=status", "--type=merge", "-p", json.dumps(patch)
    )
    calls = len(stage.sandbox.ledger.calls)
    operator.start()
    entry = exporter.ended()
    assert (entry["result"], entry["distributionId"]) == ("Succeeded", sent.id)
    operations = [call.operation for call in stage.sandbox.ledger.calls[calls:]]
    assert "qualtrics.create_distribution" not in operations
    assert len(stage.sandbox.ledger.distributions) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_reply_to_the_send_is_looked_up(stage: Stage, people: Mailed, when: str) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", drop=when)
    exporter.annotate(run_requested_at="first")
    entry = stage.while_time_passes(exporter.ended)
    assert entry["result"] == ("Succeeded" if when == "after" else "Unknown")
    assert people(stage) == (EVERYBODY if when == "after" else set())
    assert stage.sandbox.ledger.count("qualtrics.create_distribution") == 1


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


def test_two_operators_that_both_lead_send_once(stage: Stage, people: Mailed) -> None:
    for _ in range(2):
        stage.operator()
    exporter = stage.exporter(**{"schedule.frequency": "Daily", "schedule.dayOfWeek": None})
    exporter.checked()
    for number in range(3):
        exporter.annotate(run_requested_at=f"request-{number}")
        exporter.ended(number + 1)
    stage.clock.advance_to(datetime(2026, 11, 24, 23, 20, 5, tzinfo=UTC))
    entry = exporter.ended(4)
    assert entry["trigger"] == "Schedule"
    assert len(stage.sandbox.ledger.distributions) == 4
    assert len({entry["id"] for entry in exporter.history()}) == 4


def test_a_standby_takes_over_when_the_leader_is_killed(stage: Stage, people: Mailed) -> None:
    leader = stage.operator(election=True)
    standby = stage.operator(election=True)
    exporter = stage.exporter()
    exporter.checked()
    assert standby.get("/readyz") == 200
    stage.sandbox.fault("qualtrics.import_contacts", hold="before")
    exporter.annotate(run_requested_at="first")
    stage.reached("qualtrics.import_contacts")
    leader.kill()
    stage.sandbox.release(drop=True)
    assert exporter.ended()["result"] == "Succeeded"
    assert people(stage) == EVERYBODY
    assert "qualtrics_exporter_leader 1.0" in standby.metrics()


def test_a_stop_in_the_wait_after_a_refusal_leaves_a_send_that_the_next_start_asks_for(
    stage: Stage, people: Mailed
) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", status=429, headers={"Retry-After": "240"})
    exporter.annotate(run_requested_at="first")
    run = eventually(
        lambda: (left := exporter.status().get("activeRun", {})).get("refusedUntil") and left, "the refusal is written"
    )
    assert (run["step"], run["sendAttempts"]) == ("Sending", 1)
    assert operator.stop() == 0
    operator.start()
    entry = stage.while_time_passes(exporter.ended)
    assert (entry["result"], entry["batchId"]) == ("Succeeded", run["batchId"])
    assert people(stage) == EVERYBODY
    assert stage.sandbox.ledger.count("qualtrics.create_distribution") == 2
