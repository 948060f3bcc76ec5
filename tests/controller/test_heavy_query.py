"""Queries that Nexthink fails to execute, and that the operator exports instead."""

from datetime import UTC, datetime, timedelta

from tests.support.applied_exporter import AppliedExporter
from tests.support.operator import Operator
from tests.support.stage import Stage

QUERY = "#heavy"
SLOT = datetime(2026, 11, 24, 23, 0, 5, tzinfo=UTC)
"""Five seconds after the slot of a Wednesday in Zurich."""


def heavy_exporter(stage: Stage) -> AppliedExporter:
    """Apply an exporter whose query Nexthink fails to execute."""
    stage.people(QUERY, 1200)
    stage.sandbox.account.queries[QUERY].heavy = True
    return stage.exporter(**{"nexthink.queryId": QUERY, "schedule.dayOfWeek": "Wednesday"})


def executions(stage: Stage) -> int:
    """Return how often the operator asked Nexthink to execute the query."""
    return stage.sandbox.recorder.count("nexthink.execute")


def restart(operator: Operator) -> None:
    """Kill the operator, and start another process."""
    operator.kill()
    operator.start()


def test_run_exports_a_heavy_query_and_the_next_run_does_not_try_to_execute_it(stage: Stage) -> None:
    operator = stage.operator()
    exporter = heavy_exporter(stage)
    assert exporter.checked()["status"] == "True"
    unknown = exporter.condition("QueryInSync")
    assert (unknown["status"], unknown["reason"]) == ("Unknown", "QueryNotCompared")
    assert "Nexthink failed to execute the query (HTTP 504)" in unknown["message"]
    assert stage.sandbox.recorder.count("nexthink.download") == 0, "a check does not read the result"
    assert "heavyQuery" not in exporter.status(), "no export has worked yet"

    stage.clock.advance_to(SLOT)
    first = exporter.ended()
    assert (first["result"], first["reason"]) == ("Succeeded", "QueryNotCompared")
    assert (first["trigger"], first["recipients"]["imported"]) == ("Schedule", 1200)
    generation = exporter.get()["metadata"]["generation"]
    assert exporter.status()["heavyQuery"]["generation"] == generation
    before = executions(stage)
    assert before == 6, "the check and the run each try three times"

    restart(operator)
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


def wait_for_next_check(stage: Stage, exporter: AppliedExporter) -> None:
    """Let time pass until the next check has ended."""
    before = exporter.status()["lastCheckTime"]
    stage.clock.advance(7.1 * 3600)
    exporter.until(lambda status: status["lastCheckTime"] > before, "the next check has ended")


def exporter_after_a_run_during_an_outage(stage: Stage) -> AppliedExporter:
    """Apply an exporter whose first run exports its query, because executing it fails with HTTP 503."""
    stage.operator()
    exporter = heavy_exporter(stage)
    exporter.checked()
    stage.sandbox.account.heavy_status = 503
    stage.clock.advance_to(SLOT)
    assert exporter.ended()["reason"] == "QueryNotCompared"
    exporter.until(lambda status: status["lastCheckTime"] > "2026-11-24T23", "the check that was due has ended")
    return exporter


def test_only_checks_try_to_execute_a_query_again_after_a_temporary_error(stage: Stage) -> None:
    exporter = exporter_after_a_run_during_an_outage(stage)
    assert "lasting" not in exporter.status()["heavyQuery"], "the query has failed only for a short time"

    before = executions(stage)
    exporter.annotate(run_requested_at="during the outage")
    assert exporter.ended(2)["reason"] == "QueryNotCompared"
    assert executions(stage) == before
    wait_for_next_check(stage, exporter)
    assert executions(stage) > before, "the check tries to execute the query"
    assert exporter.status()["heavyQuery"]["lasting"]

    before = executions(stage)
    wait_for_next_check(stage, exporter)
    stage.clock.advance_to(SLOT + timedelta(days=7))
    assert exporter.ended(3)["result"] == "Succeeded"
    assert executions(stage) == before, "the failure lasts, so neither checks nor the second weekly run try"


def test_check_compares_the_query_after_a_short_outage(stage: Stage) -> None:
    exporter = exporter_after_a_run_during_an_outage(stage)
    assert exporter.condition("QueryInSync")["status"] == "Unknown"

    stage.sandbox.account.queries[QUERY].heavy = False
    wait_for_next_check(stage, exporter)
    assert exporter.condition("QueryInSync")["status"] == "True"
    assert "heavyQuery" not in exporter.status()


def test_drift_policy_hold_holds_a_heavy_query_and_says_what_to_do(stage: Stage) -> None:
    stage.operator()
    exporter = heavy_exporter(stage)
    exporter.change(**{"nexthink.driftPolicy": "Hold", "nexthink.resultSource": "Export"})
    assert "QueryNotCompared: spec.nexthink.resultSource is Export" in exporter.checked()["message"]
    (event,) = [event for event in exporter.wait_for_event("QueryNotCompared") if event["reason"] == "QueryNotCompared"]
    assert "stops nothing" not in event["note"]
    exporter.annotate(run_requested_at="now")
    held = exporter.ended()
    assert (held["result"], held["reason"]) == ("Held", "QueryNotCompared")
    assert "Set it to Warn" in held["message"]
    assert stage.sandbox.recorder.batches == {}


def test_dry_test_exports_a_heavy_query_and_the_next_run_does_not_try_to_execute_it(stage: Stage) -> None:
    stage.operator()
    exporter = heavy_exporter(stage)
    exporter.change(maxRecipients=1000)
    exporter.checked()
    exporter.annotate(test_requested_at="t1")
    test = exporter.tested("t1")
    assert (test["result"], test["reason"]) == ("Held", "RecipientLimitExceeded")
    assert test["recipients"]["accepted"] == 1200
    assert stage.sandbox.recorder.batches == {}
    before = executions(stage)
    assert exporter.status()["heavyQuery"]

    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["reason"] == "RecipientLimitExceeded"
    assert executions(stage) == before


def test_query_drift_stays_reported_until_the_query_is_compared_again(stage: Stage) -> None:
    stage.operator()
    stage.people(QUERY, 3)
    query = stage.sandbox.account.queries[QUERY]
    saved_text, query.executed = query.executed, "users | list ad.email_address"
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

    query.heavy, query.executed = False, saved_text
    exporter.annotate(run_requested_at="light")
    assert exporter.ended(3)["reason"] == "Succeeded"
    assert exporter.condition("QueryInSync")["status"] == "True"


def test_problem_that_a_test_found_in_an_export_stays_reported_until_a_test_passes(stage: Stage) -> None:
    stage.operator()
    stage.people(QUERY, 3)
    query = stage.sandbox.account.queries[QUERY]
    columns, query.columns = query.columns, ["user.name", "user.ad.email_address"]
    exporter = stage.exporter(**{"nexthink.queryId": QUERY, "nexthink.resultSource": "Export"})
    assert exporter.checked()["status"] == "True", "a check does not read an export"
    exporter.annotate(test_requested_at="t1")
    assert exporter.tested("t1")["reason"] == "QueryReturnsSeveralFields"
    found = exporter.condition("Ready")
    assert (found["status"], found["reason"]) == ("False", "QueryReturnsSeveralFields")

    checked = exporter.status()["lastCheckTime"]
    stage.clock.advance(3600)
    exporter.until(lambda status: status["lastCheckTime"] > checked, "the next check has ended")
    after = exporter.condition("Ready")
    assert (after["status"], after["reason"], after["message"]) == ("False", found["reason"], found["message"])

    query.columns = columns
    exporter.annotate(test_requested_at="t2")
    assert exporter.tested("t2")["reason"] == "TestPassed"
    assert exporter.condition("Ready")["status"] == "True"
