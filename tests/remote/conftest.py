"""A scripted server, and a session with it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.transport import CallRecord, Timeouts
from tests.remote.clock import RecordingClock
from tests.remote.servers import Server, credentials_for
from tests.support.waiting import HANG_SECONDS

START = datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.fixture
def clock() -> RecordingClock:
    return RecordingClock(start=START)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running


@pytest.fixture
def calls() -> list[CallRecord]:
    """The records of all calls."""
    return []


@pytest.fixture
def timeouts() -> Timeouts:
    return Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=HANG_SECONDS)


@pytest.fixture
async def api_context(clock: RecordingClock, calls: list[CallRecord], timeouts: Timeouts) -> AsyncIterator[ApiContext]:
    async with ApiContext(
        clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True, observe=calls.append, timeouts=timeouts
    ) as running:
        yield running


@pytest.fixture
def credentials(server: Server) -> ServiceCredentials:
    return credentials_for(server.url)


@pytest.fixture
def session(api_context: ApiContext, credentials: ServiceCredentials) -> Session:
    return Session(api_context, credentials, QUALTRICS)
