"""Requests to send: one for each call of the client, whatever the reply is."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.qualtrics.distributions import Distribution
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.transport import CallRecord, Timeouts, Transport
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.sandbox import Account
from tests.qualtrics.conftest import SandboxClient
from tests.remote.clock import RecordingClock
from tests.remote.servers import Server, result
from tests.support.waiting import HANG_SECONDS

DISTRIBUTION = Distribution(
    library_id="UR_1",
    message_id="MS_1",
    batch_id="BT_1",
    from_name="Digital Workplace",
    from_email="noreply@qemailserver.com",
    reply_to_email=None,
    subject="How is Teams?",
    survey_id="SV_1",
    expiration=None,
    send_date=datetime(2026, 1, 5, 10, 0, 0, 999_999, tzinfo=UTC),
)


async def test_send_mails_each_person_of_the_batch_once_and_nobody_else(sandbox_client: SandboxClient) -> None:
    batch_id = await sandbox_client.create_batch_of("ana@example.com", "ben@example.com")
    distribution_id = await sandbox_client.send(batch_id)
    (sent,) = sandbox_client.sandbox.recorder.distributions
    assert (sent.id, sent.batch_id, sent.run_ids) == (distribution_id, batch_id, ["run-1"])
    assert sandbox_client.sandbox.recorder.mails() == {"ana@example.com": 1, "ben@example.com": 1}


async def test_request_to_send_is_as_documented(server: Server, scripted_client: QualtricsClient) -> None:
    server.script(result(id="EMD_1"))
    await scripted_client.ensure_token(timedelta(minutes=5))
    assert await scripted_client.send(DISTRIBUTION) == "EMD_1"
    (post,) = server.received_requests
    assert (post.method, post.target) == ("POST", "/API/v3/distributions")
    assert json.loads(post.body) == {
        "message": {"libraryId": "UR_1", "messageId": "MS_1"},
        "recipients": {"transactionBatchId": "BT_1"},
        "header": {
            "fromName": "Digital Workplace",
            "fromEmail": "noreply@qemailserver.com",
            "subject": "How is Teams?",
        },
        "surveyLink": {"surveyId": "SV_1", "type": "Individual"},
        "sendDate": "2026-01-05T10:00:00Z",
    }


async def test_request_to_send_contains_optional_fields_if_they_are_set(sandbox_client: SandboxClient) -> None:
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    ends = datetime(2026, 1, 19, 11, tzinfo=UTC)
    await sandbox_client.send(batch_id, reply_to_email="dex@example.com", expiration=ends)
    request = sandbox_client.sandbox.recorder.distributions[0].request
    assert request["header"]["replyToEmail"] == "dex@example.com"
    assert request["surveyLink"]["expirationDate"] == "2026-01-19T11:00:00Z"


# The fault of the request, and whether the survey is sent.
UNCLEAR: dict[str, tuple[dict[str, object], bool]] = {
    "connection lost before the effect": ({"drop": "before"}, False),
    "connection lost after the effect": ({"drop": "after"}, True),
    "500": ({"status": 500}, False),
    "500 after the effect": ({"status": 500, "apply_effect": True}, True),
    "503 after the effect": ({"status": 503, "apply_effect": True, "headers": {"Retry-After": "1"}}, True),
    "504 after the effect": ({"status": 504, "apply_effect": True}, True),
    "408 of a gateway after the effect": ({"status": 408, "apply_effect": True}, True),
    "redirect": ({"status": 302, "headers": {"Location": "/"}}, False),
    "redirect to the same path": ({"status": 307, "headers": {"Location": "/API/v3/distributions"}}, False),
    "login page": ({"body": "<html>"}, True),
    "truncated reply": ({"truncate": 20}, True),
    "reply without an id": ({"body": '{"result": {}}'}, True),
    "400 with a truncated body": ({"status": 400, "truncate": 3}, False),
    "page of a filter": ({"status": 406, "body": "<html>", "apply_effect": True}, True),
    "empty 403 of a filter": ({"status": 403, "body": b"", "apply_effect": True}, True),
    "empty 401 of a filter": ({"status": 401, "body": b"", "apply_effect": True}, True),
    "JSON of a gateway": ({"status": 403, "body": '{"message": "Forbidden"}', "apply_effect": True}, True),
    "empty reply": ({"status": 204, "apply_effect": True}, True),
    "invalid id": ({"body": '{"result": {"id": "EMD 1"}}'}, True),
}


@pytest.mark.parametrize("case", UNCLEAR)
async def test_send_with_an_unclear_outcome_is_not_repeated(sandbox_client: SandboxClient, case: str) -> None:
    fault, sent = UNCLEAR[case]
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    sandbox_client.sandbox.faults.add("qualtrics.create_distribution", **fault)
    with pytest.raises(OutcomeUnknown) as error:
        await sandbox_client.send(batch_id)
    assert error.value.reason is Reason.DELIVERY_UNKNOWN
    assert batch_id in error.value.what
    assert sandbox_client.sandbox.recorder.count("qualtrics.create_distribution") == 1
    assert sum(sandbox_client.sandbox.recorder.mails().values()) == sent


REFUSED: dict[str, tuple[dict[str, object], type[ExportError], Reason]] = {
    "400": ({"status": 400}, Permanent, Reason.SEND_REFUSED),
    "401": ({"status": 401}, Permanent, Reason.CREDENTIALS_REFUSED),
    "403": ({"status": 403}, Permanent, Reason.NOT_PERMITTED),
    "404": ({"status": 404}, Permanent, Reason.SEND_REFUSED),
    "409": ({"status": 409}, Permanent, Reason.SEND_REFUSED),
    "413": ({"status": 413}, Permanent, Reason.SEND_REFUSED),
    "418": ({"status": 418}, Permanent, Reason.SEND_REFUSED),
    "422": ({"status": 422}, Permanent, Reason.SEND_REFUSED),
    "451": ({"status": 451}, Permanent, Reason.SEND_REFUSED),
    "429": ({"status": 429}, RateLimited, Reason.RATE_LIMITED),
    "another datacenter": (
        {"status": 401, "body": '{"meta": {"error": {"errorCode": "DCD_7"}}}'},
        Permanent,
        Reason.WRONG_DATACENTER,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_send_is_reported_and_not_repeated_by_the_client(
    sandbox_client: SandboxClient, case: str
) -> None:
    fault, kind, reason = REFUSED[case]
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    tokens = sandbox_client.sandbox.recorder.count("qualtrics.token")
    sandbox_client.sandbox.faults.add("qualtrics.create_distribution", **fault)
    with pytest.raises(ExportError) as error:
        await sandbox_client.send(batch_id)
    assert (type(error.value), error.value.reason) == (kind, reason)
    assert sandbox_client.sandbox.recorder.count("qualtrics.create_distribution") == 1
    assert sandbox_client.sandbox.recorder.count("qualtrics.token") == tokens
    assert sandbox_client.sandbox.recorder.mails() == {}


async def test_invalid_request_to_send_is_reported_with_the_code_of_qualtrics(sandbox_client: SandboxClient) -> None:
    await sandbox_client.qualtrics.ensure_token(timedelta(minutes=5))
    with pytest.raises(Permanent, match="QVAL_1") as error:
        await sandbox_client.send("CG_notabatch0001")
    assert error.value.reason is Reason.SEND_REFUSED


async def test_send_after_a_401_needs_a_new_token(sandbox_client: SandboxClient) -> None:
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    sandbox_client.sandbox.revoke_tokens()
    with pytest.raises(Permanent):
        await sandbox_client.send(batch_id)
    with pytest.raises(Transient, match="was not sent"):
        await sandbox_client.send(batch_id)
    assert sandbox_client.sandbox.recorder.count("qualtrics.create_distribution") == 1
    await sandbox_client.qualtrics.ensure_token(timedelta(minutes=5))
    assert await sandbox_client.send(batch_id)


async def test_rate_limited_send_reports_how_long_to_wait(sandbox_client: SandboxClient) -> None:
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    sandbox_client.sandbox.faults.add("qualtrics.create_distribution", status=429, headers={"Retry-After": "42"})
    with pytest.raises(RateLimited) as error:
        await sandbox_client.send(batch_id)
    assert error.value.retry_after == timedelta(seconds=42)


async def test_send_without_a_connection_certainly_did_not_happen(
    server: Server, scripted_client: QualtricsClient
) -> None:
    await scripted_client.ensure_token(timedelta(minutes=5))
    await server.__aexit__(None, None, None)
    with pytest.raises(Transient) as error:
        await scripted_client.send(DISTRIBUTION)
    assert (type(error.value), error.value.reason) == (Transient, Reason.REMOTE_UNAVAILABLE)


async def test_send_without_a_token_makes_no_request(server: Server, scripted_client: QualtricsClient) -> None:
    with pytest.raises(Transient, match="was not sent"):
        await scripted_client.send(DISTRIBUTION)
    assert server.request_count == 0


async def test_send_to_a_host_that_is_not_allowed_fails(context: ApiContext) -> None:
    secret = {"url": "https://elsewhere.example.com", "clientId": "x", "clientSecret": "y"}
    with pytest.raises(Permanent) as error:
        await QualtricsClient(context, qualtrics_from(secret, "Secret dex/qualtrics")).send(DISTRIBUTION)
    assert error.value.reason is Reason.HOST_NOT_ALLOWED


async def test_send_that_gets_no_reply_is_not_repeated(server: Server, clock: RecordingClock) -> None:
    async def hang(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    server.script(hang)
    secret = {"url": server.url, "clientId": "x", "clientSecret": "y"}
    async with ApiContext(clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True) as context:
        silent = QualtricsClient(context, qualtrics_from(secret, "Secret dex/qualtrics"))
        await silent.ensure_token(timedelta(minutes=5))
        await context.transport.aclose()  # so that only the request that hangs has the short timeout
        context.transport = Transport(clock, Timeouts(connect=HANG_SECONDS, silence=0.1, total=HANG_SECONDS), None)
        with pytest.raises(OutcomeUnknown) as error:
            await silent.send(DISTRIBUTION)
    assert error.value.reason is Reason.DELIVERY_UNKNOWN
    assert server.request_count == 1


async def test_token_that_expires_soon_is_renewed_before_the_send(
    sandbox_client: SandboxClient, account: Account, clock: RecordingClock
) -> None:
    account.qualtrics_token_seconds = 900
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    clock.advance(700)
    await sandbox_client.qualtrics.ensure_token(timedelta(minutes=5))
    assert sandbox_client.sandbox.recorder.count("qualtrics.token") == 2
    await sandbox_client.qualtrics.ensure_token(timedelta(minutes=5))
    await sandbox_client.send(batch_id)
    assert sandbox_client.sandbox.recorder.count("qualtrics.token") == 2


async def test_send_makes_one_request_and_does_not_wait(
    sandbox_client: SandboxClient, calls: list[CallRecord], clock: RecordingClock
) -> None:
    batch_id = await sandbox_client.create_batch_of("ana@example.com")
    await sandbox_client.qualtrics.ensure_token(timedelta(minutes=5))
    calls.clear()
    clock.slept.clear()
    await sandbox_client.send(batch_id)
    assert [(call.operation, call.outcome) for call in calls] == [("create_distribution", "ok")]
    assert clock.slept == []


async def test_send_does_not_wait_for_the_rate_limit_again_after_acquire_send(
    server: Server, scripted_client: QualtricsClient, clock: RecordingClock
) -> None:
    await scripted_client.ensure_token(timedelta(minutes=5))
    for _ in range(3000):  # the limit for one minute
        await scripted_client.acquire_send()
    clock.slept = []
    server.script(result(id="EMD_1"))
    await scripted_client.send(DISTRIBUTION)
    assert clock.slept == []
    await scripted_client.acquire_send()
    assert clock.slept


def test_printed_distribution_shows_no_address() -> None:
    assert repr(DISTRIBUTION) == "<Distribution of SV_1 to BT_1>"
