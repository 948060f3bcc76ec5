"""Tests of the servers: start, stop, HTTPS, the log, and the default account."""

import asyncio
import logging
import ssl

import httpx
import pytest
import trustme

from qualtrics_exporter.sandbox import Account, Sandbox
from tests.sandbox.caller import QualtricsCaller
from tests.support.clock import SteeredClock


async def test_secrets_have_the_keys_that_the_operator_needs(sandbox: Sandbox) -> None:
    secrets = sandbox.secrets()
    assert set(secrets) == {"nexthink", "qualtrics"}
    for secret in secrets.values():
        assert set(secret) == {"url", "tokenUrl", "clientId", "clientSecret", "scope"}
    assert secrets["qualtrics"]["tokenUrl"] == sandbox.qualtrics_url + "/oauth2/token"
    assert secrets["nexthink"]["tokenUrl"] == sandbox.nexthink_url + "/oauth2/default/v1/token"


async def test_each_of_the_three_servers_has_its_own_origin(sandbox: Sandbox) -> None:
    assert len({sandbox.nexthink_url, sandbox.qualtrics_url, sandbox.store_url}) == 3


async def test_sandbox_serves_https_with_a_private_certificate(clock: SteeredClock) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    async with (
        Sandbox(clock=clock, tls=server_context, advertise="localhost") as sandbox,
        httpx.AsyncClient(verify=client_context, trust_env=False) as http,
    ):
        assert sandbox.qualtrics_url.startswith("https://localhost:")
        caller = QualtricsCaller(sandbox, http)
        await caller.log_in("qualtrics")
        assert (await caller.get("/whoami")).status_code == 200


async def test_stopping_the_sandbox_drops_held_requests_and_closes_its_ports(clock: SteeredClock) -> None:
    sandbox = Sandbox(clock=clock)
    await sandbox.start()
    async with httpx.AsyncClient(trust_env=False) as http:
        caller = QualtricsCaller(sandbox, http)
        sandbox.faults.add("qualtrics.token", hold=True)
        request = asyncio.create_task(caller.token("qualtrics"))
        await sandbox.faults.reached("qualtrics.token")
        await sandbox.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            await request
        with pytest.raises(httpx.ConnectError):
            await caller.token("qualtrics")


async def test_restarted_sandbox_uses_the_same_ports(clock: SteeredClock) -> None:
    sandbox = Sandbox(clock=clock)
    await sandbox.start()
    urls = (sandbox.nexthink_url, sandbox.qualtrics_url, sandbox.store_url)
    await sandbox.stop()
    await sandbox.start()
    assert (sandbox.nexthink_url, sandbox.qualtrics_url, sandbox.store_url) == urls
    await sandbox.stop()


async def test_closed_port_refuses_connections_until_it_is_opened_again(
    sandbox: Sandbox, http: httpx.AsyncClient, qualtrics: QualtricsCaller
) -> None:
    await sandbox.close_port("qualtrics")
    with pytest.raises(httpx.ConnectError):
        await http.get(sandbox.qualtrics_url)
    assert (await http.get(sandbox.nexthink_url)).status_code == 404, "the other server still accepts connections"

    await sandbox.open_port("qualtrics")
    await sandbox.open_port("nexthink")
    assert (await http.get(sandbox.qualtrics_url)).status_code == 404


async def test_log_of_the_sandbox_contains_no_addresses_or_secrets(
    qualtrics: QualtricsCaller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    qualtrics.sandbox.faults.add("qualtrics.whoami", drop="after")
    await qualtrics.log_in("qualtrics")
    with pytest.raises(httpx.RemoteProtocolError):
        await qualtrics.get("/whoami")
    await qualtrics.send(await qualtrics.batch_with("ana@example.com"))
    messages = [
        record.getMessage() for record in caplog.records if record.name.startswith(("qualtrics_exporter", "aiohttp"))
    ]
    assert messages
    log = "\n".join(messages)
    secret = qualtrics.sandbox.secrets()["qualtrics"]["clientSecret"]
    for private in ("ana", secret, qualtrics.headers["Authorization"]):
        assert private not in log


async def test_bug_in_the_sandbox_is_a_500_and_is_recorded(clock: SteeredClock) -> None:
    async with Sandbox(clock=clock) as sandbox, httpx.AsyncClient(trust_env=False) as http:
        caller = QualtricsCaller(sandbox, http)
        await caller.log_in("qualtrics")
        sandbox.account.directories = None  # type: ignore[assignment]
        assert (await caller.get("/directories")).status_code == 500
        assert len(sandbox.recorder.errors) == 1


def test_default_account_contains_the_objects_that_its_ids_name() -> None:
    account = Account.default()
    assert account.query_id in account.queries
    assert account.surveys[account.survey_id].active
    assert not account.surveys[account.inactive_survey_id].active
    assert account.messages[account.message_id].category == "invite"
    assert account.messages[account.other_message_id].category != "invite"
    assert account.has_list(account.directory_id, account.mailing_list_id)
    rows = [row[0] for row in account.queries[account.query_id].stream()]
    assert len(rows) == 8
    assert len({str(row).lower() for row in rows if row}) == 6
