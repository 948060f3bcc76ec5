"""The sandbox on real sockets with a clock that the test moves, and a client of each API."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from qualtrics_exporter.sandbox import Account, Sandbox
from tests.sandbox.caller import NexthinkCaller, QualtricsCaller
from tests.support.clock import SteeredClock
from tests.support.waiting import HANG_SECONDS


@pytest.fixture
def clock() -> SteeredClock:
    return SteeredClock(start=datetime(2026, 1, 5, 10, tzinfo=UTC))


@pytest.fixture
def account() -> Account:
    return Account.default()


@pytest.fixture
async def sandbox(account: Account, clock: SteeredClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(account, clock=clock) as running:
        yield running
        assert running.recorder.errors == []


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=HANG_SECONDS) as client:
        yield client


@pytest.fixture
async def nexthink(sandbox: Sandbox, http: httpx.AsyncClient) -> NexthinkCaller:
    caller = NexthinkCaller(sandbox, http)
    await caller.log_in("nexthink")
    return caller


@pytest.fixture
async def qualtrics(sandbox: Sandbox, http: httpx.AsyncClient) -> QualtricsCaller:
    caller = QualtricsCaller(sandbox, http)
    await caller.log_in("qualtrics")
    return caller
