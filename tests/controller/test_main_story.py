"""The main job: applied, asked for, read from Nexthink, mailed by Qualtrics, told in the status."""

from collections.abc import Callable

from tests.environment.stage import Stage
from tests.environment.waiting import HANG, eventually

EVERYBODY = {f"{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}

Mailed = Callable[[Stage], set[str]]


def test_an_applied_exporter_is_checked_and_says_so_before_its_first_slot(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter()
    ready = exporter.checked()
    assert (ready["status"], ready["reason"]) == ("True", "Checked")
    exporter.kubectl("wait", "--for=condition=Ready", "qualtricsexporter/teams-rollout", f"--timeout={HANG}")
    status = exporter.status()
    assert status["schedule"] == "every Monday at 00:00, Europe/Zurich"
    assert status["nextScheduleTime"] == "2026-11-29T23:00:00Z"
    assert {c["type"] for c in status["conditions"]} == {
        "Ready", "NexthinkReady", "QualtricsReady", "QueryInSync", "LastRunSucceeded",
    }  # fmt: skip
    assert stage.sandbox.ledger.distributions == []


def test_a_requested_run_mails_exactly_the_people_of_the_query_and_tells_so(stage: Stage, people: Mailed) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(run_requested_at="first")
    entry = exporter.ended()

    assert people(stage) == EVERYBODY
    (sent,) = stage.sandbox.ledger.distributions
    assert (entry["result"], entry["reason"], entry["trigger"]) == ("Succeeded", "Succeeded", "Request")
    assert entry["recipients"] == {
        "returned": 8, "empty": 1, "invalid": 0, "duplicate": 1, "accepted": 6, "imported": 6,
    }  # fmt: skip
    assert (entry["distributionId"], entry["batchId"]) == (sent.id, sent.batch_id)
    ended = f"run {entry['id']} of {stage.namespace}/{exporter.name} ended: Succeeded, Succeeded"
    eventually(lambda: ended in operator.log, "the log tells how it ended")
    status = exporter.status()
    assert status["lastHandledRunRequest"] == "first"
    assert status["lastSuccessfulTime"] == entry["completionTime"]
    assert exporter.condition("LastRunSucceeded")["status"] == "True"
    assert exporter.condition("QueryInSync")["status"] == "True"
    told = [event["reason"] for event in exporter.told("Succeeded")]
    assert told == ["Checked", "Succeeded"]

    columns = exporter.kubectl("get", "qex", "teams-rollout")
    header, row = columns.splitlines()
    assert header.split() == [
        "NAME", "FREQUENCY", "SUSPENDED", "READY", "LAST", "RESULT", "RECIPIENTS", "LAST", "SUCCESS", "NEXT", "AGE",
    ]  # fmt: skip
    assert row.split()[:5] == ["teams-rollout", "Weekly", "True", "Succeeded", "6"]


def test_a_small_run_takes_seven_remote_calls(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    operator.stop()  # forgets its tokens, and when it last asked: Nexthink takes one query a second
    stage.clock.advance(2)
    stage.sandbox.call(stage.sandbox.ledger.calls.clear)
    operator.start()
    exporter.annotate(run_requested_at="first")
    exporter.ended()
    assert [call.operation for call in stage.sandbox.ledger.calls] == [
        "nexthink.token",
        "nexthink.execute",
        "qualtrics.token",
        "qualtrics.create_batch",
        "qualtrics.import_contacts",
        "qualtrics.import_status",
        "qualtrics.create_distribution",
    ]


def test_a_token_that_is_given_twice_sends_once(stage: Stage, people: Mailed) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(run_requested_at="once")
    exporter.ended()
    exporter.annotate(run_requested_at="once")
    exporter.annotate(test_requested_at="comes-after-it")
    exporter.tested("comes-after-it")
    assert len(exporter.history()) == 1
    assert people(stage) == EVERYBODY


def test_creating_editing_resuming_and_restarting_sends_nothing(stage: Stage) -> None:
    operator = stage.operator()
    exporter = stage.exporter(**{"schedule.frequency": "Daily", "schedule.dayOfWeek": None})
    exporter.checked()
    exporter.change(**{"qualtrics.subject": "Another subject"})
    exporter.checked()
    exporter.change(suspend=True)
    exporter.checked()
    assert "nextScheduleTime" not in exporter.status()
    stage.clock.advance(36 * 3600)  # a slot falls due while it is suspended
    exporter.change(suspend=False)
    exporter.checked()
    operator.kill()
    operator.start()
    exporter.change(description="Edited after a restart")
    exporter.checked()
    assert exporter.history() == []
    assert stage.sandbox.ledger.batches == {}
    assert stage.sandbox.ledger.distributions == []


def test_an_exporter_that_brings_tokens_along_runs_nothing(stage: Stage) -> None:
    stage.operator()
    manifest = stage.manifest()
    manifest["metadata"]["annotations"] = {
        "qualtrics-exporter.dev/run-requested-at": "from-git",
        "qualtrics-exporter.dev/test-requested-at": "from-git",
        "qualtrics-exporter.dev/test-mode": "Deliver",
    }
    stage.apply(manifest)
    exporter = stage.existing("teams-rollout")
    exporter.checked()
    status = exporter.status()
    assert (status["lastHandledRunRequest"], status["lastHandledTestRequest"]) == ("from-git", "from-git")
    assert stage.sandbox.ledger.distributions == []


def test_a_suspended_exporter_refuses_a_run_visibly_and_still_tests(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(suspend=True)
    assert exporter.checked()["reason"] == "Suspended"
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Skipped", "Suspended")
    exporter.annotate(test_requested_at="now")
    assert exporter.tested("now")["reason"] == "TestPassed"
    assert [event["reason"] for event in exporter.told("TestPassed")][-2:] == ["Suspended", "TestPassed"]
    assert stage.sandbox.ledger.distributions == []


def test_a_delivering_test_mails_twenty_people_at_most(stage: Stage, people: Mailed) -> None:
    stage.operator()
    stage.people("#many", 100)
    exporter = stage.exporter(**{"nexthink.queryId": "#many"})
    exporter.checked()
    exporter.annotate(test_requested_at="t1", test_mode="Deliver")
    test = exporter.tested("t1")
    assert (test["result"], test["reason"]) == ("Succeeded", "TestDelivered")
    assert len(people(stage)) == 20
    assert exporter.history() == []
    exporter.annotate(test_mode="Dry")  # only the token counts
    exporter.annotate(test_mode="Deliver")
    exporter.annotate(test_requested_at="t2", test_mode="Dry")
    assert exporter.tested("t2")["reason"] == "TestPassed"
    assert len(people(stage)) == 20


def test_delivery_figures_are_read_back(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.account.bouncing_addresses.add("ana@example.com")
    exporter.annotate(run_requested_at="first")
    exporter.ended()
    stage.clock.advance(121)
    delivery = exporter.delivered()
    assert (delivery["requestStatus"], delivery["sent"], delivery["bounced"]) == ("Done", 6, 1)
    entry = exporter.history()[0]
    assert (entry["result"], entry["reason"]) == ("Succeeded", "PartlyDelivered")
    assert exporter.condition("LastRunSucceeded")["status"] == "True"
    reads = stage.sandbox.ledger.count("qualtrics.read_distribution")
    stage.clock.advance(8 * 60)
    exporter.delivered(after=delivery["observedTime"])
    assert stage.sandbox.ledger.count("qualtrics.read_distribution") == reads + 1


def test_a_mail_that_qualtrics_suppressed_is_told(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(run_requested_at="first")
    exporter.ended()
    exporter.annotate(run_requested_at="second")
    exporter.ended(2)
    stage.clock.advance(121)
    exporter.until(lambda status: status["history"][0]["reason"] == "DuplicateSuppressed", "the duplicate is told")
    assert exporter.history()[0]["result"] == "Succeeded"
    last = exporter.condition("LastRunSucceeded")
    assert (last["status"], last["reason"]) == ("False", "DuplicateSuppressed")
    exporter.told("DuplicateSuppressed")


def test_a_suppressed_mail_is_told_also_where_the_query_drifts(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(**{"nexthink.query": "users | list user.ad.email_address"})
    exporter.checked()
    for number in (1, 2):
        exporter.annotate(run_requested_at=f"run-{number}")
        assert exporter.ended(number)["reason"] == "QueryDrift"
    stage.clock.advance(121)
    exporter.until(lambda status: status["history"][0]["reason"] == "DuplicateSuppressed", "the duplicate is told")
    assert exporter.condition("LastRunSucceeded")["status"] == "False"


def test_a_second_exporter_for_the_same_people_is_told_and_blocks_nothing(stage: Stage) -> None:
    stage.operator()
    stage.exporter("first").checked()
    second = stage.exporter("second")
    ready = second.checked()
    assert ready["status"] == "True"
    assert f"{stage.namespace}/first" in ready["message"]
    second.told("DuplicateTarget")
