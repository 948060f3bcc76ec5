"""Whether it was sent cannot be told: a person finds out, or the operator later, and nothing is ever sent twice."""

from collections.abc import Callable
from typing import Any

from tests.environment.stage import AppliedExporter, Stage
from tests.environment.waiting import eventually

EVERYBODY = {f"{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}
Mailed = Callable[[Stage], set[str]]


def unknown(stage: Stage, drop: str) -> tuple[AppliedExporter, dict[str, Any]]:
    """An exporter whose run ended Unknown, and its entry."""
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", drop=drop)
    exporter.annotate(run_requested_at="first")
    entry = stage.while_time_passes(exporter.ended)
    assert entry["result"] == "Unknown"
    return exporter, entry


def told(exporter: AppliedExporter, reason: str, times: int = 1) -> None:
    """Wait until Events tell it so many times."""
    eventually(lambda: [e["reason"] for e in exporter.events()].count(reason) == times, f"an Event says {reason}")


def test_a_person_settles_what_was_not_sent_and_then_sends_it(stage: Stage, people: Mailed) -> None:
    stage.operator()
    exporter, entry = unknown(stage, "before")
    assert f"settle-run: {entry['id']}=Sent or {entry['id']}=NotSent" in entry["message"]

    exporter.annotate(settle_run="not sent, says eva@example.com")
    told(exporter, "SettlementRefused")
    status = exporter.status()
    assert (status["lastSettlement"]["reason"], status["history"]) == ("SettlementRefused", [entry])
    assert "eva" not in str(status)

    exporter.annotate(settle_run=f"{entry['id']}=NotSent")
    told(exporter, "SettledAsNotSent")
    status = exporter.status()
    assert [(e["result"], e["reason"]) for e in status["history"]] == [("Failed", "SettledAsNotSent")]
    assert status["lastHandledSettlement"] == f"{entry['id']}=NotSent"
    assert exporter.condition("LastRunSucceeded")["reason"] == "SettledAsNotSent"
    assert people(stage) == set()

    exporter.annotate(run_requested_at="second")
    assert exporter.ended(2)["result"] == "Succeeded"
    assert people(stage) == EVERYBODY
    assert stage.sandbox.ledger.count("qualtrics.create_distribution") == 2


def test_what_the_list_shows_later_is_found_also_after_a_restart(stage: Stage, people: Mailed) -> None:
    operator = stage.operator()
    stage.sandbox.account.list_lag_seconds = 500
    exporter, entry = unknown(stage, "after")
    operator.kill()
    stage.sandbox.fault("qualtrics.list_distributions", status=403)  # the look at ten minutes fails
    operator.start()
    looks = stage.sandbox.ledger.count("qualtrics.list_distributions")
    stage.clock.advance(10 * 60)
    eventually(lambda: stage.sandbox.ledger.count("qualtrics.list_distributions") > looks, "it is looked for")
    assert exporter.history() == [entry]
    stage.clock.advance(5 * 60)
    told(exporter, "FoundLater")
    (sent,) = stage.sandbox.ledger.distributions
    status = exporter.status()
    assert [(e["result"], e["distributionId"]) for e in status["history"]] == [("Succeeded", sent.id)]
    assert status["lastSuccessfulTime"] == entry["completionTime"]
    assert exporter.condition("LastRunSucceeded")["status"] == "True"
    assert exporter.delivered()["sent"] == 6
    assert people(stage) == EVERYBODY
    assert stage.sandbox.ledger.count("qualtrics.create_distribution") == 1
