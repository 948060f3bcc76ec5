"""The text of the query, as its author meets it in the object: an error, a doubt, a drift, a hold."""

from tests.environment.stage import AppliedExporter, Stage
from tests.environment.waiting import eventually

GOOD = "users | with execution.events during past 7d\n| list ad.email_address\n"
BAD = "users | with execution.events during past 7d\n| where binary.name ==\n| list ad.email_address\n"
DAILY = {"schedule.frequency": "Daily", "schedule.dayOfWeek": None}


def saved(stage: Stage, query_id: str, text: str) -> str:
    """Nexthink keeps this text under that id; it names two people."""
    stage.people(query_id, ["ana@example.com", "ben@example.com"])
    stage.sandbox.account.queries[query_id].executed = text
    return query_id


def asked(stage: Stage) -> int:
    """How many times Nexthink was asked to run a query."""
    return stage.sandbox.ledger.count("nexthink.execute")


def event(exporter: AppliedExporter, reason: str) -> str:
    """The note of the only Event with that reason."""
    (found,) = (event["note"] for event in exporter.told(reason) if event["reason"] == reason)
    return str(found)


def test_a_query_that_is_wrong_stalls_the_exporter_before_anybody_is_asked(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(**{"nexthink.query": BAD, **DAILY})
    ready = exporter.checked()
    place = "spec.nexthink.query, line 2, column 23: a field or a value is missing at the end of `where`"
    assert (ready["status"], ready["reason"]) == ("False", "QueryInvalid")
    assert place in ready["message"]
    assert "queryCheck: Warn" in ready["message"]
    for condition in ("Stalled", "NexthinkReady"):
        assert exporter.condition(condition)["reason"] == "QueryInvalid"
    assert exporter.condition("QualtricsReady")["status"] == "True", "the other side is well, and says so"
    assert place in event(exporter, "QueryInvalid")
    assert "nextRetryTime" not in exporter.status(), "looking again does not help: the spec has to be changed"

    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Failed", "QueryInvalid")
    exporter.annotate(test_requested_at="now", test_mode="Deliver")
    assert exporter.tested("now")["reason"] == "QueryInvalid"
    stage.clock.advance(11 * 3600 + 25 * 60)  # a slot falls due, and is not forgotten
    slot = exporter.ended(2)
    assert (slot["trigger"], slot["result"], slot["reason"]) == ("Schedule", "Failed", "QueryInvalid")
    assert asked(stage) == 0
    assert stage.sandbox.ledger.batches == {}

    exporter.change(**{"nexthink.query": GOOD, "nexthink.queryId": saved(stage, "#mended", GOOD)})
    exporter.until(lambda status: status["observedGeneration"] == 2, "the new text is checked")
    assert exporter.checked()["status"] == "True"
    assert not exporter.condition("Stalled")
    exporter.annotate(run_requested_at="again")
    assert exporter.ended(3)["result"] == "Succeeded"


def test_who_knows_better_can_let_it_run(stage: Stage) -> None:
    stage.operator()
    text = "users | with execution.events during past 7d | list ad.email_address, name"
    spec = {"nexthink.query": text, "nexthink.queryId": saved(stage, "#newer", text), "nexthink.queryCheck": "Warn"}
    exporter = stage.exporter(**spec)
    ready = exporter.checked()
    assert (ready["status"], ready["reason"]) == ("True", "Checked")
    told = "line 1, column 71: the query returns 2 fields"
    assert f"QueryReturnsSeveralFields: {told}" in ready["message"]
    assert event(exporter, "QueryReturnsSeveralFields").startswith(told)
    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["result"] == "Succeeded"


def test_what_is_certain_is_told_before_what_is_doubtful(stage: Stage) -> None:
    stage.operator()
    text = "users | lst a | lst b | lst c | lst d | where ad.city == | list ad.email_address"
    spec = {"nexthink.query": text, "nexthink.queryId": saved(stage, "#newer", text), "nexthink.queryCheck": "Warn"}
    ready = stage.exporter(**spec).checked()
    assert ready["status"] == "True"
    assert "QueryInvalid: line 1, column 57: " in ready["message"]
    assert "and 2 more, which `qualtrics-exporter validate` shows" in ready["message"]


def test_who_has_two_mistakes_hears_of_both(stage: Stage) -> None:
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
        told
        for told in ("missing at the end", "/nowhere", "SV_nowhere0000001")
        if told in exporter.tested("now")["message"]
    }


def test_names_of_any_length_fit_into_the_object(stage: Stage) -> None:
    stage.operator()
    long = "a" * 15_800
    ready = stage.exporter(
        "warned", **{"nexthink.query": f"users | list ${long}", "nexthink.queryCheck": "Warn"}
    ).checked()
    assert "QueryParameterMissing" in ready["message"]
    ready = stage.exporter("stopped", **{"nexthink.query": f"users | list ${long}"}).checked()
    assert ready["reason"] == "QueryInvalid"


def test_a_doubtful_query_runs_and_is_told_in_ready_and_once_as_an_event(stage: Stage) -> None:
    stage.operator()
    text = "users | with execution.events during past 7d | list user.upn | limit 50"
    exporter = stage.exporter(**{"nexthink.query": text, "nexthink.queryId": saved(stage, "#doubtful", text), **DAILY})
    ready = exporter.checked()
    assert ready["status"] == "True"
    for told in (
        "QueryFieldNotEmail: line 1, column 53: 'user.upn' is not known to contain an e-mail address",
        "QueryLimited: line 1, column 64: this returns at most 50 people",
        "QueryWindowMismatch: line 1, column 31: the query covers 7 days and runs every day",
    ):
        assert told in ready["message"]
    exporter.change(description="Looked at again")
    exporter.checked()
    assert event(exporter, "QueryLimited").startswith("line 1, column 64: this returns at most 50 people")
    assert event(exporter, "QueryWindowMismatch").startswith("line 1, column 31: the query covers 7 days")
    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["result"] == "Succeeded"


def test_what_makes_no_difference_is_in_sync(stage: Stage) -> None:
    stage.operator()
    runs = "/* by ana */ USERS | WITH execution.events past 7 d\n| where (ad.city == 'Oslo') | list ad.email_address"
    text = "users | with execution.events during past 7d | where ad.city == $city\n| list ad.email_address"
    spec = {"nexthink.query": text, "nexthink.parameters": {"city": "Oslo"}}
    exporter = stage.exporter(**spec, **{"nexthink.queryId": saved(stage, "#same", runs.replace("'Oslo'", "$city"))})
    assert exporter.checked()["status"] == "True"
    assert exporter.condition("QueryInSync")["status"] == "True"


def test_a_drift_is_told_with_both_sides_and_held_where_the_user_wants_so(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(
        **{"nexthink.query": GOOD, "nexthink.queryId": saved(stage, "#drift", GOOD.replace("7d", "30d"))}
    )
    exporter.checked()
    drift = exporter.condition("QueryInSync")
    assert (drift["status"], drift["reason"]) == ("False", "QueryDrift")
    assert "line 1, column 43: the spec has '7d', Nexthink runs '30d'" in drift["message"]
    exporter.annotate(run_requested_at="first")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Succeeded", "QueryDrift")

    batches = len(stage.sandbox.ledger.batches)
    exporter.change(**{"nexthink.driftPolicy": "Hold"})
    exporter.checked()
    exporter.annotate(run_requested_at="second")
    held = exporter.ended(2)
    assert (held["result"], held["reason"]) == ("Held", "QueryDrift")
    assert "the spec has '7d', Nexthink runs '30d'" in held["message"]
    assert "Nobody was mailed" in held["message"]
    assert len(stage.sandbox.ledger.batches) == batches
    assert len(stage.sandbox.ledger.distributions) == 1

    stage.sandbox.account.queries["#drift"].executed = GOOD
    exporter.annotate(run_requested_at="third")
    assert exporter.ended(3)["result"] == "Succeeded"
    assert exporter.condition("QueryInSync")["status"] == "True"


def test_no_address_of_a_query_gets_into_the_object(stage: Stage) -> None:
    stage.operator()
    text = 'users | where ad.email_address == "ana@example.com" x | list ad.email_address'
    runs = 'users | where ad.email_address == "eva@example.com" | list ad.email_address'
    exporter = stage.exporter(**{"nexthink.query": text, "nexthink.queryId": saved(stage, "#private", runs)})
    assert "QueryNotVerified" in exporter.checked()["message"]
    assert exporter.condition("QueryInSync")["status"] == "False"
    told = str(exporter.status()) + str(eventually(exporter.events, "there are Events"))
    assert "ana@" not in told
    assert "eva@" not in told
