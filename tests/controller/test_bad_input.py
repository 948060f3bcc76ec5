"""Bad input: each ends in the reason that the design names, and nothing is sent that should not be.

What the API server refuses by itself has its table in tests/resource; here is what only the operator can find out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from qualtrics_exporter.sandbox import Credential, Query
from tests.environment import chart_rules
from tests.environment.stage import AppliedExporter, Stage

EXECUTE = "nexthink.execute"


@dataclass(frozen=True)
class Bad:
    """One kind of bad input, the reason it ends in, and the condition that tells it."""

    reason: str
    spec: dict[str, Any]
    condition: str
    prepare: Callable[[Stage], None] = lambda stage: None
    message: str = ""


def secret(name: str, **changes: str | None) -> Callable[[Stage], None]:
    """The sandbox's Secret `name`, changed, as `broken-<name>`."""

    def prepare(stage: Stage) -> None:
        keys: dict[str, str | None] = {**stage.sandbox.secrets()[name], **changes}
        stage.secret(f"broken-{name}", {key: value for key, value in keys.items() if value is not None})

    return prepare


def query(query_id: str, rows: list[list[object]], columns: int = 1) -> Callable[[Stage], None]:
    """A saved query with these rows."""

    def prepare(stage: Stage) -> None:
        account = stage.sandbox.account
        named = [f"column{n}" for n in range(columns)]
        found = Query(query_id, named, rows, account.queries[account.query_id].executed)
        stage.sandbox.call(lambda: account.add_query(found))

    return prepare


def elsewhere(stage: Stage) -> None:
    """Qualtrics credentials of another datacenter."""
    credential = Credential("elsewhere", "elsewhere-secret", frozenset({"manage:all"}), elsewhere="call")
    stage.sandbox.account.qualtrics_credentials.append(credential)
    secret("qualtrics", clientId="elsewhere", clientSecret="elsewhere-secret")(stage)


BROKEN_NEXTHINK = {"nexthink.credentialsSecretRef": {"name": "broken-nexthink"}}
BROKEN_QUALTRICS = {"qualtrics.credentialsSecretRef": {"name": "broken-qualtrics"}}

TABLE = {
    "a Secret that does not exist": Bad(
        "SecretNotFound", {"nexthink.credentialsSecretRef": {"name": "nowhere"}}, "NexthinkReady", message="/nowhere"
    ),
    "a Secret without a key": Bad(
        "SecretKeyMissing", BROKEN_QUALTRICS, "QualtricsReady",
        secret("qualtrics", clientSecret=None), message="clientSecret",
    ),
    "wrong Nexthink credentials": Bad(
        "CredentialsRefused", BROKEN_NEXTHINK, "NexthinkReady",
        secret("nexthink", clientSecret="wrong"), message="HTTP 401",
    ),
    "wrong Qualtrics credentials": Bad(
        "CredentialsRefused", BROKEN_QUALTRICS, "QualtricsReady",
        secret("qualtrics", clientSecret="wrong"), message="HTTP 401",
    ),
    "credentials of another datacenter": Bad(
        "WrongDatacenter", BROKEN_QUALTRICS, "QualtricsReady", elsewhere, message="DCD_7"
    ),
    "a host that is not allowed": Bad(
        "HostNotAllowed", BROKEN_QUALTRICS, "QualtricsReady", secret("qualtrics", url="https://evil.example.com")
    ),
    "a url with user-info": Bad(
        "HostNotAllowed", BROKEN_QUALTRICS, "QualtricsReady", secret("qualtrics", url="https://localhost@evil.example.com")
    ),
    "plain http": Bad("HostNotAllowed", BROKEN_QUALTRICS, "QualtricsReady", secret("qualtrics", url="http://localhost:1")),
    "a survey that does not exist": Bad(
        "SurveyNotFound", {"qualtrics.surveyId": "SV_doesNotExist1"}, "QualtricsReady", message="SV_doesNotExist1"
    ),
    "an inactive survey": Bad("SurveyInactive", {"qualtrics.surveyId": "SV_oldSurvey00001"}, "QualtricsReady"),
    "a message that does not exist": Bad(
        "MessageNotFound", {"qualtrics.messageId": "MS_doesNotExist1"}, "QualtricsReady"
    ),
    "a message that is no invitation": Bad(
        "MessageNotInvitation", {"qualtrics.messageId": "MS_thankYou000001"}, "QualtricsReady"
    ),
    "a directory that does not exist": Bad(
        "DirectoryNotFound", {"qualtrics.directoryId": "POOL_doesNotExist"}, "QualtricsReady"
    ),
    "a mailing list that does not exist": Bad(
        "MailingListNotFound", {"qualtrics.mailingListId": "CG_doesNotExist1"}, "QualtricsReady"
    ),
    "a saved query that does not exist": Bad("QueryNotFound", {"nexthink.queryId": "#nowhere"}, "NexthinkReady"),
    "a query that returns several fields": Bad(
        "QueryReturnsSeveralFields", {"nexthink.queryId": "#wide"}, "NexthinkReady",
        query("#wide", [["a@example.com", "Ana"]], columns=2),
    ),
    "a query that returns rows without an address": Bad(
        "QueryReturnsNoEmail", {"nexthink.queryId": "#devices"}, "NexthinkReady",
        query("#devices", [["LAPTOP-1"], ["LAPTOP-2"], [""]]),
    ),
}  # fmt: skip


def exporter_for(stage: Stage, case: str) -> AppliedExporter:
    """The exporter of a row of the table, applied."""
    bad = TABLE[case]
    bad.prepare(stage)
    return stage.exporter(f"bad-{list(TABLE).index(case)}", **bad.spec)


@pytest.mark.parametrize("case", TABLE)
def test_bad_input_is_told_before_the_first_slot_and_a_run_of_it_fails_with_its_reason(
    shared_stage: Stage, case: str
) -> None:
    bad = TABLE[case]
    exporter = exporter_for(shared_stage, case)
    sent = len(shared_stage.sandbox.ledger.distributions)
    ready = exporter.checked()
    assert (ready["status"], ready["reason"]) == ("False", bad.reason)
    assert bad.message in ready["message"]
    assert exporter.condition(bad.condition)["reason"] == bad.reason
    other = {"NexthinkReady": "QualtricsReady", "QualtricsReady": "NexthinkReady"}[bad.condition]
    assert exporter.condition(other)["status"] == "True", "the other side is well, and says so"
    assert exporter.condition("Stalled") or exporter.condition("Reconciling")
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Failed", bad.reason)
    assert len(shared_stage.sandbox.ledger.distributions) == sent
    assert exporter.condition("Ready")["reason"] == bad.reason, "a run that fails does not make it ready"
    exporter.annotate(test_requested_at="now")
    test = exporter.tested("now")
    assert (test["result"], test["reason"]) == ("Failed", bad.reason)
    exporter.delete()


@dataclass(frozen=True)
class Odd:
    """A result of the query, and what becomes of it."""

    rows: list[list[object]] | int
    result: str
    reason: str
    recipients: dict[str, int]
    truncated: bool = False
    spec: dict[str, Any] | None = None


RESULTS = {
    "no rows": Odd([], "Succeeded", "NoRecipients", {"returned": 0, "accepted": 0}),
    "empty cells": Odd(
        [[""], ["a@example.com"], [None]], "Succeeded", "Succeeded", {"returned": 3, "empty": 2, "imported": 1}
    ),
    "garbage among addresses": Odd(
        [["not an address"], ["a@"], ["@b"], ["a b@example.com"], ["b@example.com"]],
        "Succeeded", "Succeeded", {"returned": 5, "invalid": 4, "imported": 1},
    ),
    "one address in three spellings": Odd(
        [["Ana@Example.com"], [" ana@example.com "], ["ANA@EXAMPLE.COM"]],
        "Succeeded", "Succeeded", {"returned": 3, "duplicate": 2, "imported": 1},
    ),
    "exactly a thousand rows": Odd(1000, "Succeeded", "Succeeded", {"returned": 1000, "imported": 1000}),
    "a thousand and one rows": Odd(1001, "Succeeded", "Succeeded", {"returned": 1001, "imported": 1001}),
    "twenty-five thousand rows": Odd(25_000, "Succeeded", "Succeeded", {"returned": 25_000, "imported": 25_000}),
    "a result that the licence cut": Odd(
        30, "Succeeded", "ResultTruncated", {"returned": 30, "imported": 30}, truncated=True,
        spec={"nexthink.resultSource": "Export"},
    ),
    "more people than allowed": Odd(
        30, "Held", "RecipientLimitExceeded", {"returned": 30, "accepted": 30}, spec={"maxRecipients": 29}
    ),
    "fewer people than expected": Odd(
        30, "Held", "TooFewRecipients", {"returned": 30, "accepted": 30}, spec={"minRecipients": 31}
    ),
    "nobody where somebody is expected": Odd(
        [], "Held", "TooFewRecipients", {"returned": 0, "accepted": 0}, spec={"minRecipients": 1}
    ),
    "two people with alike addresses": Odd(
        [["wei\u00df@example.com"], ["weiss@example.com"], ["j\ufffdrg@example.com"], ["j_c.com#EXT#@example.com"]],
        "Succeeded", "Succeeded", {"returned": 4, "invalid": 2, "duplicate": 0, "imported": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RESULTS)
def test_odd_results_are_counted_and_each_person_is_mailed_once(shared_stage: Stage, case: str) -> None:
    odd = RESULTS[case]
    number = list(RESULTS).index(case)
    query_id = f"#odd_{number}"
    if isinstance(odd.rows, int):
        shared_stage.people(query_id, odd.rows)
    else:
        query(query_id, odd.rows)(shared_stage)
    shared_stage.sandbox.account.queries[query_id].truncated = odd.truncated
    # A subject of its own, or Qualtrics would keep the same mail back from the same people.
    spec = {"nexthink.queryId": query_id, "qualtrics.subject": case, **(odd.spec or {})}
    exporter = shared_stage.exporter(f"odd-{number}", **spec)
    assert exporter.checked()["status"] == "True"
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == (odd.result, odd.reason)
    assert odd.recipients.items() <= entry["recipients"].items()
    mine = [sent for sent in shared_stage.sandbox.ledger.distributions if sent.subject == case]
    people = odd.recipients.get("imported", 0)
    assert len(mine) == (1 if people else 0)
    if mine:
        assert len(mine[0].recipients) == len(set(map(str.lower, mine[0].recipients))) == people
        carried = [call.contacts for call in shared_stage.sandbox.ledger.of("qualtrics.import_contacts")]
        assert max(count or 0 for count in carried) <= 10_000
    exporter.delete()


REPLIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a huge body": (EXECUTE, {"status": 200, "body": "[" + "1," * 12_000_000 + "1]"}, "RemoteReplyTooLarge"),
    "too many requests for ever": ("qualtrics.create_batch", {"status": 429}, "RateLimited"),
}  # fmt: skip


@pytest.mark.parametrize("case", REPLIES)
def test_nonsense_from_a_remote_side_ends_in_a_reason_and_in_nothing_sent(stage: Stage, case: str) -> None:
    operation, fault, reason = REPLIES[case]
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault(operation, times=None, **fault)
    exporter.annotate(run_requested_at="now")
    exporter.until(lambda status: "activeRun" in status or "history" in status, "the run has begun")
    entry = stage.while_time_passes(exporter.ended)
    assert (entry["result"], entry["reason"]) == ("Failed", reason)
    assert stage.sandbox.ledger.distributions == []
    assert operator.peak_memory() < 300_000_000


def test_a_secret_that_was_mended_is_noticed_within_a_minute(stage: Stage) -> None:
    stage.operator()
    secret("nexthink", clientSecret="wrong")(stage)
    exporter = stage.exporter(**BROKEN_NEXTHINK)
    assert exporter.checked()["reason"] == "CredentialsRefused"
    for _ in range(6):
        status = exporter.until(lambda status: "nextRetryTime" in status, "the next check is planned")
        stage.clock.advance_to(datetime.fromisoformat(status["nextRetryTime"]))
        checked = status["lastCheckTime"]
        exporter.until(lambda status, before=checked: status["lastCheckTime"] > before, "it is checked again")
    # The pauses between checks have grown to minutes by now.
    secret("nexthink")(stage)
    stage.clock.advance(60)
    exporter.until(
        lambda status: {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True",
        "the exporter is ready again",
    )
    exporter.told("Recovered")
    assert not exporter.condition("Stalled")
    assert not exporter.condition("Reconciling")


def test_a_saved_query_that_vanishes_is_found_by_the_run_and_told_by_ready(stage: Stage) -> None:
    stage.operator()
    stage.people("#vanishes", ["a@example.com"])
    exporter = stage.exporter(**{"nexthink.queryId": "#vanishes"})
    assert exporter.checked()["status"] == "True"
    stage.sandbox.call(lambda: stage.sandbox.account.queries.pop("#vanishes"))
    exporter.annotate(run_requested_at="now")
    assert exporter.ended()["reason"] == "QueryNotFound"
    exporter.until(
        lambda status: {c["type"]: c["reason"] for c in status["conditions"]}["Ready"] == "QueryNotFound",
        "Ready tells it",
    )


def test_an_operator_that_may_not_read_secrets_says_so(stage: Stage) -> None:
    rules = [rule for rule in chart_rules.namespaced() if rule["resources"] != ["secrets"]]
    operator = stage.operator(rules=rules)
    exporter = stage.exporter()
    ready = exporter.checked()
    assert (ready["status"], ready["reason"]) == ("False", "SecretNotReadable")
    assert "Traceback" not in operator.log


def test_the_times_of_conditions_move_with_their_status_only(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(**{"nexthink.credentialsSecretRef": {"name": "nowhere"}})
    exporter.checked()
    before = exporter.condition("Reconciling")
    checked = exporter.status()["lastCheckTime"]
    exporter.until(lambda status: status["lastCheckTime"] > checked, "it is checked again")
    assert exporter.condition("Reconciling")["lastTransitionTime"] == before["lastTransitionTime"]


def test_drift_is_told_and_held_where_the_user_wants_so(stage: Stage) -> None:
    stage.operator()
    exporter = stage.exporter(**{"nexthink.query": "users | list user.name"})
    exporter.checked()
    assert exporter.condition("QueryInSync")["status"] == "False"
    exporter.change(**{"nexthink.driftPolicy": "Hold"})
    exporter.checked()
    exporter.annotate(run_requested_at="now")
    entry = exporter.ended()
    assert (entry["result"], entry["reason"]) == ("Held", "QueryDrift")
    assert stage.sandbox.ledger.batches == {}
