"""The client of Nexthink, with the sandbox or with a server that returns scripted replies."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.transport import CallRecord
from qualtrics_exporter.sandbox import Account, Sandbox
from tests.remote.clock import RecordingClock
from tests.remote.servers import Server


@pytest.fixture
def clock() -> RecordingClock:
    return RecordingClock(start=datetime(2026, 1, 5, 10, tzinfo=UTC))


@pytest.fixture
def calls() -> list[CallRecord]:
    return []


@pytest.fixture
async def context(clock: RecordingClock, calls: list[CallRecord]) -> AsyncIterator[ApiContext]:
    async with ApiContext(clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True, observe=calls.append) as running:
        yield running


@pytest.fixture
def account() -> Account:
    return Account.default()


@pytest.fixture
async def sandbox(account: Account, clock: RecordingClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(account, clock=clock) as running:
        yield running
        assert running.recorder.errors == []


@pytest.fixture
def nexthink(sandbox: Sandbox, context: ApiContext) -> NexthinkClient:
    return NexthinkClient(context, nexthink_from(sandbox.secrets()["nexthink"], "Secret dex/nexthink"))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running


def secret(server: Server) -> dict[str, str]:
    """The credentials for that server."""
    return {
        "url": server.url,
        "tokenUrl": f"{server.url}/oauth2/token",
        "clientId": "the-client",
        "clientSecret": "the-secret",
    }


@pytest.fixture
def scripted_client(server: Server, context: ApiContext) -> NexthinkClient:
    """A client of the server with scripted replies."""
    return NexthinkClient(context, nexthink_from(secret(server), "Secret dex/nexthink"))
