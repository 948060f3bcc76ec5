"""Input that only the operator can check: each mistake has its reason, and no survey goes to the wrong people.

Input that the API server rejects is tested in tests/resource.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from qualtrics_exporter.sandbox import Credential, Query
from tests.support import chart_rules
from tests.support.applied_exporter import AppliedExporter
from tests.support.stage import Stage

EXECUTE = "nexthink.execute"


@dataclass(frozen=True)
class InvalidInput:
    """A mistake in the spec, in a Secret or in a saved query, its reason, and the condition that reports it."""

    reason: str
    spec: dict[str, Any]
    condition: str
    prepare: Callable[[Stage], None] = lambda stage: None
    message: str = ""


def changed_secret(name: str, **changes: str | None) -> Callable[[Stage], None]:
    """Create a copy of the Secret `name` of the sandbox with these changes, as `changed-<name>`."""

    def prepare(stage: Stage) -> None:
        keys: dict[str, str | None] = {**stage.sandbox.secrets()[name], **changes}
        stage.secret(f"changed-{name}", {key: value for key, value in keys.items() if value is not None})

    return prepare


def saved_query(query_id: str, rows: list[list[object]], columns: int = 1) -> Callable[[Stage], None]:
    """Add a saved query with these rows to the sandbox."""

    def prepare(stage: Stage) -> None:
        account = stage.sandbox.account
        named = [f"column{n}" for n in range(columns)]
        added = Query(query_id, named, rows, account.queries[account.query_id].executed)
        stage.sandbox.call(lambda: account.add_query(added))

    return prepare


def secret_of_another_datacenter(stage: Stage) -> None:
    """Create a Secret with Qualtrics credentials of another datacenter."""
    credential = Credential("elsewhere", "elsewhere-secret", frozenset({"manage:all"}), elsewhere="call")
    stage.sandbox.account.qualtrics_credentials.append(credential)
    changed_secret("qualtrics", clientId="elsewhere", clientSecret="elsewhere-secret")(stage)


CHANGED_NEXTHINK_SECRET = {"nexthink.credentialsSecretRef": {"name": "changed-nexthink"}}
CHANGED_QUALTRICS_SECRET = {"qualtrics.credentialsSecretRef": {"name": "changed-qualtrics"}}

INVALID_INPUTS = {
    "a Secret that does not exist": InvalidInput(
        "SecretNotFound", {"nexthink.credentialsSecretRef": {"name": "nowhere"}}, "NexthinkReady", message="/nowhere"
    ),
    "a Secret without a key": InvalidInput(
        "SecretKeyMissing", CHANGED_QUALTRICS_SECRET, "QualtricsReady",
        changed_secret("qualtrics", clientSecret=None), message="clientSecret",
    ),
    "wrong Nexthink credentials": InvalidInput(
        "CredentialsRefused", CHANGED_NEXTHINK_SECRET, "NexthinkReady",
        changed_secret("nexthink", clientSecret="wrong"), message="HTTP 401",
    ),
    "wrong Qualtrics credentials": InvalidInput(
        "CredentialsRefused", CHANGED_QUALTRICS_SECRET, "QualtricsReady",
        changed_secret("qualtrics", clientSecret="wrong"), message="HTTP 401",
    ),
    "credentials of another datacenter": InvalidInput(
        "WrongDatacenter", CHANGED_QUALTRICS_SECRET, "QualtricsReady", secret_of_another_datacenter, message="DCD_7"
    ),
    "a host that is not allowed": InvalidInput(
        "HostNotAllowed", CHANGED_QUALTRICS_SECRET, "QualtricsReady",
        changed_secret("qualtrics", url="https://evil.example.com"),
    ),
    "a URL with a user name": InvalidInput(
        "HostNotAllowed", CHANGED_QUALTRICS_SECRET, "QualtricsReady",
        changed_secret("qualtrics", url="https://localhost@evil.example.com"),
    ),
    "a URL with plain http": InvalidInput(
        "HostNotAllowed", CHANGED_QUALTRICS_SECRET, "QualtricsReady", changed_secret("qualtrics", url="http://localhost:1")
    ),
    "a survey that does not exist": InvalidInput(
        "SurveyNotFound", {"qualtrics.surveyId": "SV_doesNotExist1"}, "QualtricsReady", message="SV_doesNotExist1"
    ),
    "an inactive survey": InvalidInput("SurveyInactive", {"qualtrics.surveyId": "SV_oldSurvey00001"}, "QualtricsReady"),
    "a message that does not exist": InvalidInput(
        "MessageNotFound", {"qualtrics.messageId": "MS_doesNotExist1"}, "QualtricsReady"
    ),
    "a message that is not an invitation": InvalidInput(
        "MessageNotInvitation", {"qualtrics.messageId": "MS_thankYou000001"}, "QualtricsReady"
    ),
    "a directory that does not exist": InvalidInput(
        "DirectoryNotFound", {"qualtrics.directoryId": "POOL_doesNotExist"}, "QualtricsReady"
    ),
    "a mailing list that does not exist": InvalidInput(
        "MailingListNotFound", {"qualtrics.mailingListId": "CG_doesNotExist1"}, "QualtricsReady"
    ),
    "a saved query that does not exist": InvalidInput(
        "QueryNotFound", {"nexthink.queryId": "#nowhere"}, "NexthinkReady"
    ),
    "a query that returns several fields": InvalidInput(
        "QueryReturnsSeveralFields", {"nexthink.queryId": "#wide"}, "NexthinkReady",
        saved_query("#wide", [["a@example.com", "Ana"]], columns=2),
    ),
    "a query that returns rows without an address": InvalidInput(
        "QueryReturnsNoEmail", {"nexthink.queryId": "#devices"}, "NexthinkReady",
        saved_query("#devices", [["LAPTOP-1"], ["LAPTOP-2"], [""]]),
    ),
}  # fmt: skip


def exporter_for(stage: Stage, case: str) -> AppliedExporter:
    """Apply an exporter with this mistake."""
    mistake = INVALID_INPUTS[case]
    mistake.prepare(stage)
    return stage.exporter(f"invalid-{list(INVALID_INPUTS).index(case)}", **mistake.spec)


@pytest.mark.parametrize("case", INVALID_INPUTS)
def test_check_reports_invalid_input_and_run_and_test_fail_with_the_same_reason(shared_stage: Stage, case: str) -> None:
    mistake = INVALID_INPUTS[case]
    exporter = exporter_for(shared_stage, case)
    sent = len(shared_stage.sandbox.recorder.distributions)
    ready = exporter.checked()
    assert (ready["status"], ready["reason"]) == ("False", mistake.reason)
    assert mistake.message in ready["message"]
    assert exporter.condition(mistake.condition)["reason"] == mistake.reason
    other = {"NexthinkReady": "QualtricsReady", "QualtricsReady": "NexthinkReady"}[mistake.condition]
    assert exporter.condition(other)["status"] == "True", "the other service is ready"
    assert exporter.condition("Stalled") or exporter.condition("Reconciling")
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Failed", mistake.reason)
    assert len(shared_stage.sandbox.recorder.distributions) == sent
    assert exporter.condition("Ready")["reason"] == mistake.reason, "a failed run does not make the exporter ready"
    exporter.annotate(test_requested_at="now")
    test = exporter.tested("now")
    assert (test["result"], test["reason"]) == ("Failed", mistake.reason)
    exporter.delete()


@dataclass(frozen=True)
class QueryResult:
    """A result of a query, and the entry of a run with it."""

    rows: list[list[object]] | int
    result: str
    reason: str
    recipients: dict[str, int]
    truncated: bool = False
    spec: dict[str, Any] | None = None


QUERY_RESULTS = {
    "no rows": QueryResult([], "Succeeded", "NoRecipients", {"returned": 0, "accepted": 0}),
    "empty cells": QueryResult(
        [[""], ["a@example.com"], [None]], "Succeeded", "Succeeded", {"returned": 3, "empty": 2, "imported": 1}
    ),
    "invalid addresses": QueryResult(
        [["not an address"], ["a@"], ["@b"], ["a b@example.com"], ["b@example.com"]],
        "Succeeded", "Succeeded", {"returned": 5, "invalid": 4, "imported": 1},
    ),
    "one address in three spellings": QueryResult(
        [["Ana@Example.com"], [" ana@example.com "], ["ANA@EXAMPLE.COM"]],
        "Succeeded", "Succeeded", {"returned": 3, "duplicate": 2, "imported": 1},
    ),
    "exactly a thousand rows": QueryResult(1000, "Succeeded", "Succeeded", {"returned": 1000, "imported": 1000}),
    "a thousand and one rows": QueryResult(1001, "Succeeded", "Succeeded", {"returned": 1001, "imported": 1001}),
    "twenty-five thousand rows": QueryResult(
        25_000, "Succeeded", "Succeeded", {"returned": 25_000, "imported": 25_000}
    ),
    "a truncated result": QueryResult(
        30, "Succeeded", "ResultTruncated", {"returned": 30, "imported": 30}, truncated=True,
        spec={"nexthink.resultSource": "Export"},
    ),
    "more rows than the maximum": QueryResult(
        30, "Held", "RecipientLimitExceeded", {"returned": 30, "accepted": 30}, spec={"maxRecipients": 29}
    ),
    "fewer rows than the minimum": QueryResult(
        30, "Held", "TooFewRecipients", {"returned": 30, "accepted": 30}, spec={"minRecipients": 31}
    ),
    "no rows although a minimum is set": QueryResult(
        [], "Held", "TooFewRecipients", {"returned": 0, "accepted": 0}, spec={"minRecipients": 1}
    ),
    "similar addresses of two people": QueryResult(
        [["wei\u00df@example.com"], ["weiss@example.com"], ["j\ufffdrg@example.com"], ["j_c.com#EXT#@example.com"]],
        "Succeeded", "Succeeded", {"returned": 4, "invalid": 2, "duplicate": 0, "imported": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", QUERY_RESULTS)
def test_run_counts_the_rows_of_its_query_and_mails_each_person_at_most_once(shared_stage: Stage, case: str) -> None:
    result = QUERY_RESULTS[case]
    number = list(QUERY_RESULTS).index(case)
    query_id = f"#result_{number}"
    if isinstance(result.rows, int):
        shared_stage.people(query_id, result.rows)
    else:
        saved_query(query_id, result.rows)(shared_stage)
    shared_stage.sandbox.account.queries[query_id].truncated = result.truncated
    # Each case has its own subject, because Qualtrics does not send the same mail to the same people again.
    spec = {"nexthink.queryId": query_id, "qualtrics.subject": case, **(result.spec or {})}
    exporter = shared_stage.exporter(f"result-{number}", **spec)
    assert exporter.checked()["status"] == "True"
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == (result.result, result.reason)
    assert result.recipients.items() <= entry["recipients"].items()
    distributions = [sent for sent in shared_stage.sandbox.recorder.distributions if sent.subject == case]
    people = result.recipients.get("imported", 0)
    assert len(distributions) == (1 if people else 0)
    if distributions:
        assert len(distributions[0].recipients) == len(set(map(str.lower, distributions[0].recipients))) == people
        contact_counts = [call.contacts for call in shared_stage.sandbox.recorder.of("qualtrics.import_contacts")]
        assert max(count or 0 for count in contact_counts) <= 10_000
    exporter.delete()


REMOTE_FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a huge response": (EXECUTE, {"status": 200, "body": "[" + "1," * 12_000_000 + "1]"}, "RemoteReplyTooLarge"),
    "endless rate limiting": ("qualtrics.create_batch", {"status": 429}, "RateLimited"),
}  # fmt: skip


@pytest.mark.parametrize("case", REMOTE_FAULTS)
def test_run_fails_with_a_reason_and_sends_nothing_if_a_remote_service_misbehaves(stage: Stage, case: str) -> None:
    operation, fault, reason = REMOTE_FAULTS[case]
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault(operation, times=None, **fault)
    exporter.annotate(run_requested_at="now")
    exporter.until(lambda status: "activeRun" in status or "history" in status, "the run has begun")
    entry = stage.while_time_passes(exporter.ended)
    assert (entry["result"], entry["reason"]) == ("Failed", reason)
    assert stage.sandbox.recorder.distributions == []
    assert operator.peak_memory() < 300_000_000


def test_operator_notices_a_fixed_secret_within_a_minute(stage: Stage) -> None:
    stage.operator()
    changed_secret("nexthink", clientSecret="wrong")(stage)
    exporter = stage.exporter(**CHANGED_NEXTHINK_SECRET)
    assert exporter.checked()["reason"] == "CredentialsRefused"
    for _ in range(6):
        status = exporter.until(lambda status: "nextRetryTime" in status, "the next check is planned")
        stage.clock.advance_to(datetime.fromisoformat(status["nextRetryTime"]))
        checked = status["lastCheckTime"]
        exporter.until(lambda status, before=checked: status["lastCheckTime"] > before, "the next check has ended")
    # By now, the operator waits for minutes between checks.
    changed_secret("nexthink")(stage)
    stage.clock.advance(60)
    exporter.until(
        lambda status: {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True",
        "the exporter is ready again",
    )
    exporter.wait_for_event("Recovered")
    assert not exporter.condition("Stalled")
    assert not exporter.condition("Reconciling")


def test_run_without_its_saved_query_fails_and_ready_reports_query_not_found(stage: Stage) -> None:
    stage.operator()
    stage.people("#deleted", ["a@example.com"])
    exporter = stage.exporter(**{"nexthink.queryId": "#deleted"})
    assert exporter.checked()["status"] == "True"
    stage.sandbox.call(lambda: stage.sandbox.account.queries.pop("#deleted"))
    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["reason"] == "QueryNotFound"
    exporter.until(
        lambda status: {c["type"]: c["reason"] for c in status["conditions"]}["Ready"] == "QueryNotFound",
        "Ready reports the missing query",
    )


def test_operator_without_permission_for_secrets_reports_secret_not_readable(stage: Stage) -> None:
    rules = [rule for rule in chart_rules.namespaced() if rule["resources"] != ["secrets"]]
    operator = stage.operator(rules=rules)
    exporter = stage.exporter()
    ready = exporter.checked()
    assert (ready["status"], ready["reason"]) == ("False", "SecretNotReadable")
    assert "Traceback" not in operator.log


def test_check_with_the_same_result_keeps_the_transition_times_of_conditions(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(**{"nexthink.credentialsSecretRef": {"name": "nowhere"}})
    exporter.checked()
    before = exporter.condition("Reconciling")
    checked = exporter.status()["lastCheckTime"]
    exporter.until(lambda status: status["lastCheckTime"] > checked, "the next check has ended")
    assert exporter.condition("Reconciling")["lastTransitionTime"] == before["lastTransitionTime"]


def test_query_drift_is_reported_and_holds_a_run_if_the_drift_policy_is_hold(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(**{"nexthink.query": "users | list user.name"})
    exporter.checked()
    assert exporter.condition("QueryInSync")["status"] == "False"
    exporter.change(**{"nexthink.driftPolicy": "Hold"})
    exporter.checked()
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Held", "QueryDrift")
    assert stage.sandbox.recorder.batches == {}
