"""Conditions, entries and tests report a Secret that cannot be read. A short failure does not affect a slot."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.applied_exporter import AppliedExporter
from tests.support.stage import Stage
from tests.support.waiting import eventually

HOURLY = {"schedule": {"frequency": "Hourly", "everyHours": 4, "timeZone": "UTC"}}
REASON = "SecretNotReadable"
FAILURES = [
    pytest.param({"status": 403}, id="HTTP 403"),
    pytest.param({"status": 500}, id="HTTP 500"),
    pytest.param({"drop": "before"}, id="no reply"),
    pytest.param({"hold": "before"}, id="timeouts", marks=pytest.mark.long),
]


def wait_for_status(stage: Stage, exporter: AppliedExporter, condition: Any, what: str) -> Any:
    """Wait, while time passes, until the status meets the condition. Returns the result of the condition."""
    return stage.while_time_passes(lambda: eventually(lambda: condition(exporter.status()), what))


def test_unreadable_secret_is_reported_in_ready_until_it_can_be_read(stage: Stage) -> None:
    fault_proxy = stage.fault_proxy()
    stage.operator(fault_proxy=fault_proxy)
    fault_proxy.fault("api.secret", times=None, status=500)
    exporter = stage.exporter()

    # The first check reports it: no time passes.
    exporter.until(lambda _: exporter.condition("Ready").get("reason") == REASON, f"Ready has the reason {REASON}")
    assert exporter.condition("Ready")["status"] != "True"
    fault_proxy.clear_faults()
    wait_for_status(stage, exporter, lambda _: exporter.condition("Ready")["status"] == "True", "it is ready")


@pytest.mark.parametrize("failure", FAILURES)
def test_slot_and_test_fail_with_secret_not_readable_if_a_secret_stays_unreadable(
    stage: Stage, failure: dict[str, Any]
) -> None:
    fault_proxy = stage.fault_proxy()
    stage.operator(fault_proxy=fault_proxy)
    exporter = stage.exporter(**HOURLY)
    exporter.checked()
    fault_proxy.fault("api.secret", times=None, **failure)
    due = datetime.fromisoformat(exporter.status()["nextScheduleTime"])
    stage.clock.advance_to(due + timedelta(seconds=1))
    entry = wait_for_status(stage, exporter, lambda status: status.get("history", [None])[0], "the slot has an entry")
    assert (entry["result"], entry["reason"]) == ("Failed", REASON)
    assert "Nobody was mailed" in entry["message"]
    took = datetime.fromisoformat(entry["completionTime"]) - datetime.fromisoformat(entry["startTime"])
    assert took > timedelta(minutes=2), "the Secret is read again for some minutes"

    exporter.annotate(test_requested_at="while-it-fails")
    test = wait_for_status(stage, exporter, lambda status: status.get("lastTest"), "the test has ended")
    assert test["reason"] == REASON
    assert stage.sandbox.recorder.distributions == []


def test_slot_succeeds_if_a_secret_is_unreadable_for_a_moment(stage: Stage) -> None:
    fault_proxy = stage.fault_proxy()
    stage.operator(fault_proxy=fault_proxy)
    exporter = stage.exporter(**HOURLY)
    exporter.checked()
    fault_proxy.fault("api.secret", times=2, status=500)
    due = datetime.fromisoformat(exporter.status()["nextScheduleTime"])
    stage.clock.advance_to(due + timedelta(seconds=1))
    entry = wait_for_status(stage, exporter, lambda status: status.get("history", [None])[0], "the slot has an entry")
    assert entry["result"] == "Succeeded"
    assert len(stage.sandbox.recorder.distributions) == 1
