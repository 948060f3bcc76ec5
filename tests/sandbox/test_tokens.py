"""Tests of the token endpoints: which requests get a token, when it expires, and what its scopes allow."""

import httpx
import pytest

from qualtrics_exporter.sandbox import Credential, Sandbox
from tests.sandbox.caller import NexthinkCaller, QualtricsCaller, error_code
from tests.support.clock import SteeredClock

SERVICES = ["nexthink", "qualtrics"]
GRANT = {"grant_type": "client_credentials"}


@pytest.mark.parametrize(("service", "seconds"), [("nexthink", 900), ("qualtrics", 3600)])
async def test_token_reply_has_the_type_lifetime_and_scope(
    nexthink: NexthinkCaller, service: str, seconds: int
) -> None:
    reply = await nexthink.token(service)
    scope = nexthink.sandbox.secrets()[service]["scope"]
    assert reply.status_code == 200
    answer = reply.json()
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", seconds, scope)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("form", "authenticated", "status", "error"),
    [
        ({"scope": "S"}, True, 400, "invalid_request"),
        ({"grant_type": "password", "scope": "S"}, True, 400, "unsupported_grant_type"),
        (GRANT, True, 400, "invalid_scope"),
        ({**GRANT, "scope": "S"}, False, 401, "invalid_client"),
        ({**GRANT, "scope": "S", "client_id": "x", "client_secret": "y"}, True, 400, "invalid_request"),
    ],
    ids=["no grant type", "another grant type", "no scope", "wrong credentials", "credentials in the form"],
)
async def test_token_request_that_violates_the_rfc_is_refused(
    sandbox: Sandbox,
    http: httpx.AsyncClient,
    service: str,
    form: dict[str, str],
    authenticated: bool,
    status: int,
    error: str,
) -> None:
    secret = sandbox.secrets()[service]
    data = {key: secret["scope"] if value == "S" else value for key, value in form.items()}
    auth = (secret["clientId"], secret["clientSecret"]) if authenticated else ("unknown", "wrong")
    reply = await http.post(secret["tokenUrl"], data=data, auth=auth)
    assert (reply.status_code, reply.json()["error"]) == (status, error)


async def test_token_request_in_json_is_refused(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    secret = sandbox.secrets()["nexthink"]
    auth = (secret["clientId"], secret["clientSecret"])
    reply = await http.post(secret["tokenUrl"], json={**GRANT, "scope": secret["scope"]}, auth=auth)
    assert reply.status_code == 400


async def test_token_request_for_a_scope_that_the_client_lacks_is_refused(nexthink: NexthinkCaller) -> None:
    assert (await nexthink.token("nexthink", scope="manage:all")).json()["error"] == "invalid_scope"


async def test_nexthink_token_expires_after_15_minutes(nexthink: NexthinkCaller, clock: SteeredClock) -> None:
    clock.advance(890)
    assert (await nexthink.execute()).status_code == 200
    clock.advance(11)
    reply = await nexthink.execute()
    assert (reply.status_code, reply.content) == (401, b"")


async def test_qualtrics_token_expires_after_an_hour(qualtrics: QualtricsCaller, clock: SteeredClock) -> None:
    clock.advance(3590)
    assert (await qualtrics.get("/whoami")).status_code == 200
    clock.advance(11)
    reply = await qualtrics.get("/whoami")
    assert reply.status_code == 401
    assert reply.json()["meta"]["requestId"]


async def test_revoked_tokens_are_refused_by_both_services(
    qualtrics: QualtricsCaller, nexthink: NexthinkCaller
) -> None:
    qualtrics.sandbox.revoke_tokens()
    assert (await qualtrics.get("/whoami")).status_code == 401
    assert (await nexthink.execute()).status_code == 401


async def test_issued_tokens_include_revoked_ones(qualtrics: QualtricsCaller, nexthink: NexthinkCaller) -> None:
    qualtrics.sandbox.revoke_tokens()
    issued = qualtrics.sandbox.issued_tokens()
    assert [caller.headers["Authorization"] for caller in (nexthink, qualtrics)] == [f"Bearer {t}" for t in issued]


async def test_token_expires_although_the_wall_clock_is_set_back(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    before = clock.now()
    clock.advance(3700)
    clock.set_wall(before)
    assert (await qualtrics.get("/whoami")).status_code == 401


async def test_nexthink_refuses_a_token_of_qualtrics(qualtrics: QualtricsCaller, nexthink: NexthinkCaller) -> None:
    nexthink.headers = qualtrics.headers
    assert (await nexthink.execute()).status_code == 401


async def test_qualtrics_request_without_a_token_is_error_atp_2(qualtrics: QualtricsCaller) -> None:
    qualtrics.headers = {}
    reply = await qualtrics.get("/whoami")
    assert (reply.status_code, error_code(reply)) == (400, "ATP_2")


async def test_credential_of_another_datacenter_is_error_dcd_7(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.qualtrics_credentials[0].elsewhere = "call"
    await qualtrics.log_in("qualtrics")
    reply = await qualtrics.get("/whoami")
    assert (reply.status_code, error_code(reply)) == (401, "DCD_7")


async def test_manage_scope_includes_reading_and_writing_its_resource(qualtrics: QualtricsCaller) -> None:
    managing = Credential("managing", "managing-secret", frozenset({"manage:surveys", "manage:contact_transactions"}))
    qualtrics.account.qualtrics_credentials[:] = [managing]
    await qualtrics.log_in("qualtrics")
    assert (await qualtrics.get(f"/surveys/{qualtrics.account.survey_id}")).status_code == 200
    await qualtrics.create_batch()
    reply = await qualtrics.post("/distributions", {})
    assert (reply.status_code, error_code(reply)) == (403, "AuthZ_2.0")
    narrower = await qualtrics.token("qualtrics", scope="write:contact_transactions read:surveys")
    assert narrower.status_code == 200
    assert (await qualtrics.token("qualtrics", scope="read:distributions")).json()["error"] == "invalid_scope"


async def test_read_scope_allows_only_reading_its_resource(qualtrics: QualtricsCaller) -> None:
    narrow = Credential("narrow", "narrow-secret", frozenset({"read:surveys"}))
    qualtrics.account.qualtrics_credentials[:] = [narrow]
    await qualtrics.log_in("qualtrics")
    assert (await qualtrics.get(f"/surveys/{qualtrics.account.survey_id}")).status_code == 200
    reply = await qualtrics.post("/distributions", {})
    assert (reply.status_code, error_code(reply)) == (403, "AuthZ_2.0")
