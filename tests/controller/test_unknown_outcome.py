"""An Unknown run is resolved by a user or by a later look-up, and its survey is never sent twice."""

from typing import Any

from tests.controller.recipients import EVERYBODY, MailedAddresses
from tests.support.applied_exporter import AppliedExporter
from tests.support.stage import Stage
from tests.support.waiting import eventually


def end_as_unknown(stage: Stage, drop: str) -> tuple[AppliedExporter, dict[str, Any]]:
    """An exporter whose run ended as Unknown, and the entry of that run."""
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", drop=drop)
    exporter.annotate(run_requested_at="first")
    entry = stage.while_time_passes(exporter.ended)
    assert entry["result"] == "Unknown"
    return exporter, entry


def wait_for_event(exporter: AppliedExporter, reason: str) -> None:
    """Wait until one Event has this reason."""
    eventually(lambda: [e["reason"] for e in exporter.events()].count(reason) == 1, f"an Event has the reason {reason}")


def test_user_reports_an_unknown_run_as_not_sent_and_sends_it_with_a_new_request(
    stage: Stage, mailed_addresses: MailedAddresses
) -> None:
    stage.operator()
    exporter, entry = end_as_unknown(stage, "before")
    assert f"settle-run: {entry['id']}=Sent or {entry['id']}=NotSent" in entry["message"]

    exporter.annotate(settle_run="not sent, says eva@example.com")
    wait_for_event(exporter, "SettlementRefused")
    status = exporter.status()
    assert (status["lastSettlement"]["reason"], status["history"]) == ("SettlementRefused", [entry])
    assert "eva" not in str(status)

    exporter.annotate(settle_run=f"{entry['id']}=NotSent")
    wait_for_event(exporter, "SettledAsNotSent")
    status = exporter.status()
    assert [(e["result"], e["reason"]) for e in status["history"]] == [("Failed", "SettledAsNotSent")]
    assert status["lastHandledSettlement"] == f"{entry['id']}=NotSent"
    assert exporter.condition("LastRunSucceeded")["reason"] == "SettledAsNotSent"
    assert mailed_addresses(stage) == set()

    exporter.annotate(run_requested_at="second")
    assert exporter.ended(2)["result"] == "Succeeded"
    assert mailed_addresses(stage) == EVERYBODY
    assert stage.sandbox.recorder.count("qualtrics.create_distribution") == 2


def test_distribution_that_qualtrics_lists_late_is_found_after_a_restart(
    stage: Stage, mailed_addresses: MailedAddresses
) -> None:
    operator = stage.operator()
    stage.sandbox.account.list_lag_seconds = 500
    exporter, entry = end_as_unknown(stage, "after")
    operator.kill()
    stage.sandbox.fault("qualtrics.list_distributions", status=403)  # the look-up after ten minutes fails
    operator.start()
    look_ups = stage.sandbox.recorder.count("qualtrics.list_distributions")
    stage.clock.advance(10 * 60)
    eventually(
        lambda: stage.sandbox.recorder.count("qualtrics.list_distributions") > look_ups, "the operator looks it up"
    )
    assert exporter.history() == [entry]
    stage.clock.advance(5 * 60)
    wait_for_event(exporter, "FoundLater")
    (sent,) = stage.sandbox.recorder.distributions
    status = exporter.status()
    assert [(e["result"], e["distributionId"]) for e in status["history"]] == [("Succeeded", sent.id)]
    assert status["lastSuccessfulTime"] == entry["completionTime"]
    assert exporter.condition("LastRunSucceeded")["status"] == "True"
    assert exporter.delivered()["sent"] == 6
    assert mailed_addresses(stage) == EVERYBODY
    assert stage.sandbox.recorder.count("qualtrics.create_distribution") == 1
