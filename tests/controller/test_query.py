"""What the status reports about the text of a query: errors, warnings, drift and held runs."""

from tests.support.applied_exporter import AppliedExporter
from tests.support.stage import Stage
from tests.support.waiting import eventually

GOOD = "users | with execution.events during past 7d\n| list ad.email_address\n"
BAD = "users | with execution.events during past 7d\n| where binary.name ==\n| list ad.email_address\n"
DAILY = {"schedule.frequency": "Daily", "schedule.dayOfWeek": None}


def save_query(stage: Stage, query_id: str, text: str) -> str:
    """Save a query with this text in Nexthink, and return its id. It returns two people."""
    stage.people(query_id, ["ana@example.com", "ben@example.com"])
    stage.sandbox.account.queries[query_id].executed = text
    return query_id


def executions(stage: Stage) -> int:
    """The number of queries that Nexthink executed."""
    return stage.sandbox.recorder.count("nexthink.execute")


def event_note(exporter: AppliedExporter, reason: str) -> str:
    """The note of the only Event with that reason."""
    (found,) = (event["note"] for event in exporter.wait_for_event(reason) if event["reason"] == reason)
    return str(found)


def test_invalid_query_stalls_the_exporter_and_is_never_executed(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(**{"nexthink.query": BAD, **DAILY})
    ready = exporter.checked()
    place = "spec.nexthink.query, line 2, column 23: a field or a value is missing at the end of `where`"
    assert (ready["status"], ready["reason"]) == ("False", "QueryInvalid")
    assert place in ready["message"]
    assert "queryCheck: Warn" in ready["message"]
    for condition in ("Stalled", "NexthinkReady"):
        assert exporter.condition(condition)["reason"] == "QueryInvalid"
    assert exporter.condition("QualtricsReady")["status"] == "True", "the problem is limited to Nexthink"
    assert place in event_note(exporter, "QueryInvalid")
    assert "nextRetryTime" not in exporter.status(), "a retry does not help: the spec has to change"

    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Failed", "QueryInvalid")
    exporter.annotate(test_requested_at="now", test_mode="Deliver")
    assert exporter.tested("now")["reason"] == "QueryInvalid"
    stage.clock.advance(11 * 3600 + 25 * 60)  # a slot falls due
    slot = exporter.ended(2)
    assert (slot["trigger"], slot["result"], slot["reason"]) == ("Schedule", "Failed", "QueryInvalid")
    assert executions(stage) == 0
    assert stage.sandbox.recorder.batches == {}

    exporter.change(**{"nexthink.query": GOOD, "nexthink.queryId": save_query(stage, "#corrected", GOOD)})
    exporter.until(lambda status: status["observedGeneration"] == 2, "the new text is checked")
    assert exporter.checked()["status"] == "True"
    assert not exporter.condition("Stalled")
    exporter.annotate(run_requested_at="again")
    assert exporter.ended(3)["result"] == "Succeeded"


def test_query_check_warn_runs_a_query_with_errors(stage: Stage) -> None:
    stage.operator()
    text = "users | with execution.events during past 7d | list ad.email_address, name"
    spec = {
        "nexthink.query": text,
        "nexthink.queryId": save_query(stage, "#newer", text),
        "nexthink.queryCheck": "Warn",
    }
    exporter = stage.exporter(**spec)
    ready = exporter.checked()
    assert (ready["status"], ready["reason"]) == ("True", "Checked")
    finding = "line 1, column 71: the query returns 2 fields"
    assert f"QueryReturnsSeveralFields: {finding}" in ready["message"]
    assert event_note(exporter, "QueryReturnsSeveralFields").startswith(finding)
    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["result"] == "Succeeded"


def test_ready_shows_query_errors_before_query_warnings(stage: Stage) -> None:
    stage.operator()
    text = "users | lst a | lst b | lst c | lst d | where ad.city == | list ad.email_address"
    spec = {
        "nexthink.query": text,
        "nexthink.queryId": save_query(stage, "#newer", text),
        "nexthink.queryCheck": "Warn",
    }
    ready = stage.exporter(**spec).checked()
    assert ready["status"] == "True"
    assert "QueryInvalid: line 1, column 57: " in ready["message"]
    assert "and 2 more, which `qualtrics-exporter validate` shows" in ready["message"]


def test_exporter_with_mistakes_on_both_services_reports_all_of_them(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(
        **{
            "nexthink.query": BAD,
            "nexthink.credentialsSecretRef": {"name": "nowhere"},
            "qualtrics.surveyId": "SV_nowhere0000001",
        }
    )
    ready = exporter.checked()
    assert (ready["reason"], exporter.condition("Stalled")["reason"]) == ("QueryInvalid", "QueryInvalid")
    assert exporter.condition("NexthinkReady")["reason"] == "SecretNotFound"
    assert exporter.condition("QualtricsReady")["reason"] == "SurveyNotFound"
    exporter.annotate(test_requested_at="now")
    assert {"missing at the end", "/nowhere", "SV_nowhere0000001"} == {
        part
        for part in ("missing at the end", "/nowhere", "SV_nowhere0000001")
        if part in exporter.tested("now")["message"]
    }


def test_findings_about_very_long_names_fit_into_the_status(stage: Stage) -> None:
    stage.operator()
    long_name = "a" * 15_800
    ready = stage.exporter(
        "warned", **{"nexthink.query": f"users | list ${long_name}", "nexthink.queryCheck": "Warn"}
    ).checked()
    assert "QueryParameterMissing" in ready["message"]
    ready = stage.exporter("stopped", **{"nexthink.query": f"users | list ${long_name}"}).checked()
    assert ready["reason"] == "QueryInvalid"


def test_query_with_warnings_runs_and_shows_each_one_in_ready_and_in_one_event(stage: Stage) -> None:
    stage.operator()
    text = "users | with execution.events during past 7d | list user.upn | limit 50"
    exporter = stage.exporter(
        **{"nexthink.query": text, "nexthink.queryId": save_query(stage, "#doubtful", text), **DAILY}
    )
    ready = exporter.checked()
    assert ready["status"] == "True"
    for warning in (
        "QueryFieldNotEmail: line 1, column 53: 'user.upn' is not known to contain an e-mail address",
        "QueryLimited: line 1, column 64: this returns at most 50 people",
        "QueryWindowMismatch: line 1, column 31: the query covers 7 days and runs every day",
    ):
        assert warning in ready["message"]
    exporter.change(description="Checked again")
    exporter.checked()
    assert event_note(exporter, "QueryLimited").startswith("line 1, column 64: this returns at most 50 people")
    assert event_note(exporter, "QueryWindowMismatch").startswith("line 1, column 31: the query covers 7 days")
    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["result"] == "Succeeded"


def test_queries_that_differ_only_in_notation_are_in_sync(stage: Stage) -> None:
    stage.operator()
    saved_text = (
        "/* by ana */ USERS | WITH execution.events past 7 d\n| where (ad.city == 'Oslo') | list ad.email_address"
    )
    text = "users | with execution.events during past 7d | where ad.city == $city\n| list ad.email_address"
    spec = {"nexthink.query": text, "nexthink.parameters": {"city": "Oslo"}}
    exporter = stage.exporter(
        **spec, **{"nexthink.queryId": save_query(stage, "#same", saved_text.replace("'Oslo'", "$city"))}
    )
    assert exporter.checked()["status"] == "True"
    assert exporter.condition("QueryInSync")["status"] == "True"


def test_query_drift_shows_both_texts_and_holds_runs_with_policy_hold(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(
        **{"nexthink.query": GOOD, "nexthink.queryId": save_query(stage, "#drift", GOOD.replace("7d", "30d"))}
    )
    exporter.checked()
    drift = exporter.condition("QueryInSync")
    assert (drift["status"], drift["reason"]) == ("False", "QueryDrift")
    assert "line 1, column 43: the spec has '7d', Nexthink runs '30d'" in drift["message"]
    exporter.annotate(run_requested_at="first")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Succeeded", "QueryDrift")

    batches = len(stage.sandbox.recorder.batches)
    exporter.change(**{"nexthink.driftPolicy": "Hold"})
    exporter.checked()
    exporter.annotate(run_requested_at="second")
    held = exporter.ended(2)
    assert (held["result"], held["reason"]) == ("Held", "QueryDrift")
    assert "the spec has '7d', Nexthink runs '30d'" in held["message"]
    assert "Nobody was mailed" in held["message"]
    assert len(stage.sandbox.recorder.batches) == batches
    assert len(stage.sandbox.recorder.distributions) == 1

    stage.sandbox.account.queries["#drift"].executed = GOOD
    exporter.annotate(run_requested_at="third")
    assert exporter.ended(3)["result"] == "Succeeded"
    assert exporter.condition("QueryInSync")["status"] == "True"


def test_address_in_a_query_does_not_appear_in_status_or_events(stage: Stage) -> None:
    stage.operator()
    text = 'users | where ad.email_address == "ana@example.com" x | list ad.email_address'
    saved_text = 'users | where ad.email_address == "eva@example.com" | list ad.email_address'
    exporter = stage.exporter(**{"nexthink.query": text, "nexthink.queryId": save_query(stage, "#private", saved_text)})
    assert "QueryNotVerified" in exporter.checked()["message"]
    assert exporter.condition("QueryInSync")["status"] == "False"
    written = str(exporter.status()) + str(eventually(exporter.events, "there are Events"))
    assert "ana@" not in written
    assert "eva@" not in written
