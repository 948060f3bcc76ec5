"""A Secret that the API server cannot read: conditions, entries and tests say so. A short failure costs nothing."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.environment.stage import AppliedExporter, Stage
from tests.environment.waiting import eventually

HOURLY = {"schedule": {"frequency": "Hourly", "everyHours": 4, "timeZone": "UTC"}}
REASON = "SecretNotReadable"
FAILURES = [
    pytest.param({"status": 403}, id="HTTP 403"),
    pytest.param({"status": 500}, id="HTTP 500"),
    pytest.param({"drop": "before"}, id="no reply"),
    pytest.param({"hold": "before"}, id="timeouts", marks=pytest.mark.long),
]


def when(stage: Stage, exporter: AppliedExporter, look: Any, what: str) -> Any:
    """Wait, while time passes, until the status is like that."""
    return stage.while_time_passes(lambda: eventually(lambda: look(exporter.status()), what))


def test_a_secret_that_cannot_be_read_shows_in_the_conditions(stage: Stage) -> None:
    gate = stage.gate()
    stage.operator(gate=gate)
    gate.fault("api.secret", times=None, status=500)
    exporter = stage.exporter()

    # By the first check: no time passes.
    exporter.until(lambda _: exporter.condition("Ready").get("reason") == REASON, f"Ready says {REASON}")
    assert exporter.condition("Ready")["status"] != "True"
    gate.clear_faults()
    when(stage, exporter, lambda _: exporter.condition("Ready")["status"] == "True", "it is ready")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_slot_and_a_test_end_with_the_reason_when_a_secret_cannot_be_read(
    stage: Stage, failure: dict[str, Any]
) -> None:
    gate = stage.gate()
    stage.operator(gate=gate)
    exporter = stage.exporter(**HOURLY)
    exporter.checked()
    gate.fault("api.secret", times=None, **failure)
    due = datetime.fromisoformat(exporter.status()["nextScheduleTime"])
    stage.clock.advance_to(due + timedelta(seconds=1))
    entry = when(stage, exporter, lambda status: status.get("history", [None])[0], "the slot has an entry")
    assert (entry["result"], entry["reason"]) == ("Failed", REASON)
    assert "Nobody was mailed" in entry["message"]
    took = datetime.fromisoformat(entry["completionTime"]) - datetime.fromisoformat(entry["startTime"])
    assert took > timedelta(minutes=2), "the Secret is read again for some minutes"
    exporter.annotate(test_requested_at="while-it-fails")
    test = when(stage, exporter, lambda status: status.get("lastTest"), "the test is answered")
    assert test["reason"] == REASON
    assert stage.sandbox.ledger.distributions == []


def test_a_secret_that_cannot_be_read_for_a_moment_costs_nothing(stage: Stage) -> None:
    gate = stage.gate()
    stage.operator(gate=gate)
    exporter = stage.exporter(**HOURLY)
    exporter.checked()
    gate.fault("api.secret", times=2, status=500)
    due = datetime.fromisoformat(exporter.status()["nextScheduleTime"])
    stage.clock.advance_to(due + timedelta(seconds=1))
    entry = when(stage, exporter, lambda status: status.get("history", [None])[0], "the slot has an entry")
    assert entry["result"] == "Succeeded"
    assert len(stage.sandbox.ledger.distributions) == 1
