"""A query that Nexthink fails to execute, in the real operator."""

from datetime import UTC, datetime, timedelta

from tests.environment.operator import Operator
from tests.environment.stage import AppliedExporter, Stage

QUERY = "#heavy"
SLOT = datetime(2026, 11, 24, 23, 0, 5, tzinfo=UTC)
"""Wednesday in Zurich."""


def heavy(stage: Stage) -> AppliedExporter:
    """An exporter whose query Nexthink never executes."""
    stage.people(QUERY, 1200)
    stage.sandbox.account.queries[QUERY].heavy = True
    return stage.exporter(**{"nexthink.queryId": QUERY, "schedule.dayOfWeek": "Wednesday"})


def executions(stage: Stage) -> int:
    """How often Nexthink was asked to execute the query."""
    return stage.sandbox.ledger.count("nexthink.execute")


def restarted(operator: Operator) -> None:
    """Another process takes the place of this one."""
    operator.kill()
    operator.start()


def test_a_heavy_query_is_sent_from_an_export_and_the_second_run_does_not_wait_for_it(stage: Stage) -> None:
    operator = stage.operator()
    exporter = heavy(stage)
    assert exporter.checked()["status"] == "True"
    unknown = exporter.condition("QueryInSync")
    assert (unknown["status"], unknown["reason"]) == ("Unknown", "QueryNotCompared")
    assert "Nexthink failed to execute the query (HTTP 504)" in unknown["message"]
    assert stage.sandbox.ledger.count("nexthink.download") == 0, "a check does not read the result"
    assert "heavyQuery" not in exporter.status(), "no export has worked yet"

    stage.clock.advance_to(SLOT)
    first = exporter.ended()
    assert (first["result"], first["reason"]) == ("Succeeded", "QueryNotCompared")
    assert (first["trigger"], first["recipients"]["imported"]) == ("Schedule", 1200)
    generation = exporter.get()["metadata"]["generation"]
    assert exporter.status()["heavyQuery"]["generation"] == generation
    before = executions(stage)
    assert before == 6, "three short tries of the check, and of the run"

    restarted(operator)
    stage.clock.advance_to(SLOT + timedelta(days=7))
    second = exporter.ended(2)
    assert second["result"] == "Succeeded"
    assert executions(stage) == before
    assert exporter.condition("QueryInSync")["status"] == "Unknown"

    stage.sandbox.account.queries[QUERY].heavy = False
    exporter.change(description="Execution is tried again after an edit")
    exporter.checked()
    exporter.annotate(run_requested_at="lighter")
    assert exporter.ended(3)["result"] == "Succeeded"
    assert executions(stage) > before
    assert exporter.condition("QueryInSync")["status"] == "True"
    assert "heavyQuery" not in exporter.status()


def checked_again(stage: Stage, exporter: AppliedExporter) -> None:
    """Wait for the check after the one that was last."""
    before = exporter.status()["lastCheckTime"]
    stage.clock.advance(7.1 * 3600)
    exporter.until(lambda status: status["lastCheckTime"] > before, "it is checked again")


def sent_during_an_outage(stage: Stage) -> AppliedExporter:
    """An exporter whose first slot was sent from an export, because executing its query failed with HTTP 503."""
    stage.operator()
    exporter = heavy(stage)
    exporter.checked()
    stage.sandbox.account.heavy_status = 503
    stage.clock.advance_to(SLOT)
    assert exporter.ended()["reason"] == "QueryNotCompared"
    return exporter


def test_a_failure_that_may_pass_is_tried_again_by_checks_and_not_by_runs(stage: Stage) -> None:
    exporter = sent_during_an_outage(stage)
    exporter.until(lambda status: status["lastCheckTime"] > "2026-11-24T23", "the check that was due is over")
    assert "lasting" not in exporter.status()["heavyQuery"], "the failure is too young"

    before = executions(stage)
    exporter.annotate(run_requested_at="during the outage")
    assert exporter.ended(2)["reason"] == "QueryNotCompared"
    assert executions(stage) == before
    checked_again(stage, exporter)
    assert executions(stage) > before, "a check tries again"
    assert exporter.status()["heavyQuery"]["lasting"]

    before = executions(stage)
    checked_again(stage, exporter)
    stage.clock.advance_to(SLOT + timedelta(days=7))
    assert exporter.ended(3)["result"] == "Succeeded"
    assert executions(stage) == before, "the failure lasts: neither checks nor the second weekly run wait for it"


def test_after_a_short_outage_a_check_compares_the_query(stage: Stage) -> None:
    exporter = sent_during_an_outage(stage)
    assert exporter.condition("QueryInSync")["status"] == "Unknown"

    stage.sandbox.account.queries[QUERY].heavy = False
    checked_again(stage, exporter)
    assert exporter.condition("QueryInSync")["status"] == "True"
    assert "heavyQuery" not in exporter.status()


def test_hold_holds_a_heavy_query_and_says_what_to_do(stage: Stage) -> None:
    stage.operator()
    exporter = heavy(stage)
    exporter.change(**{"nexthink.driftPolicy": "Hold", "nexthink.resultSource": "Export"})
    assert "QueryNotCompared: spec.nexthink.resultSource is Export" in exporter.checked()["message"]
    (warned,) = [event for event in exporter.told("QueryNotCompared") if event["reason"] == "QueryNotCompared"]
    assert "stops nothing" not in warned["note"]
    exporter.annotate(run_requested_at="now")
    held = exporter.ended()
    assert (held["result"], held["reason"]) == ("Held", "QueryNotCompared")
    assert "Set it to Warn" in held["message"]
    assert stage.sandbox.ledger.batches == {}


def test_a_dry_test_counts_a_heavy_audience_and_the_run_after_it_does_not_wait(stage: Stage) -> None:
    stage.operator()
    exporter = heavy(stage)
    exporter.change(maxRecipients=1000)
    exporter.checked()
    exporter.annotate(test_requested_at="t1")
    test = exporter.tested("t1")
    assert (test["result"], test["reason"]) == ("Held", "RecipientLimitExceeded")
    assert test["recipients"]["accepted"] == 1200
    assert stage.sandbox.ledger.batches == {}
    before = executions(stage)
    assert exporter.status()["heavyQuery"]

    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["reason"] == "RecipientLimitExceeded"
    assert executions(stage) == before


def test_a_drift_that_was_found_stays_until_the_query_is_compared_again(stage: Stage) -> None:
    stage.operator()
    stage.people(QUERY, 3)
    query = stage.sandbox.account.queries[QUERY]
    right, query.executed = query.executed, "users | list ad.email_address"
    exporter = stage.exporter(**{"nexthink.queryId": QUERY})
    exporter.checked()
    assert exporter.condition("QueryInSync")["status"] == "False"

    query.heavy = True
    for number in (1, 2):
        before = executions(stage)
        exporter.annotate(run_requested_at=f"heavy {number}")
        assert exporter.ended(number)["reason"] == "QueryNotCompared"
        assert executions(stage) > before, "each run tries to compare"
        assert exporter.condition("QueryInSync")["status"] == "False"
        assert "heavyQuery" not in exporter.status()

    query.heavy, query.executed = False, right
    exporter.annotate(run_requested_at="light")
    assert exporter.ended(3)["reason"] == "Succeeded"
    assert exporter.condition("QueryInSync")["status"] == "True"


def test_what_a_test_found_in_an_export_stays_until_the_result_is_read_again(stage: Stage) -> None:
    stage.operator()
    stage.people(QUERY, 3)
    query = stage.sandbox.account.queries[QUERY]
    one, query.columns = query.columns, ["user.name", "user.ad.email_address"]
    exporter = stage.exporter(**{"nexthink.queryId": QUERY, "nexthink.resultSource": "Export"})
    assert exporter.checked()["status"] == "True", "a check does not read an export"
    exporter.annotate(test_requested_at="t1")
    assert exporter.tested("t1")["reason"] == "QueryReturnsSeveralFields"
    found = exporter.condition("Ready")
    assert (found["status"], found["reason"]) == ("False", "QueryReturnsSeveralFields")

    checked = exporter.status()["lastCheckTime"]
    stage.clock.advance(3600)
    exporter.until(lambda status: status["lastCheckTime"] > checked, "it is checked again")
    after = exporter.condition("Ready")
    assert (after["status"], after["reason"], after["message"]) == ("False", found["reason"], found["message"])

    query.columns = one
    exporter.annotate(test_requested_at="t2")
    assert exporter.tested("t2")["reason"] == "TestPassed"
    assert exporter.condition("Ready")["status"] == "True"
