"""The client of Qualtrics, with the sandbox or with a server that returns scripted replies."""

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.qualtrics.distributions import Distribution
from qualtrics_exporter.qualtrics.imports import Imported
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
        assert all(sent.links_read == 0 for sent in running.recorder.distributions)


@pytest.fixture
def qualtrics(sandbox: Sandbox, context: ApiContext) -> QualtricsClient:
    return QualtricsClient(context, qualtrics_from(sandbox.secrets()["qualtrics"], "Secret dex/qualtrics"))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running


@pytest.fixture
def scripted_client(server: Server, context: ApiContext) -> QualtricsClient:
    """A client of the server with scripted replies."""
    secret = {"url": server.url, "clientId": "the-client", "clientSecret": "the-secret"}
    return QualtricsClient(context, qualtrics_from(secret, "Secret dex/qualtrics"))


@dataclass
class SandboxClient:
    """The calls of a run, with the ids of the sandbox."""

    sandbox: Sandbox
    qualtrics: QualtricsClient

    @property
    def account(self) -> Account:
        return self.sandbox.account

    async def create_batch(self) -> str:
        return await self.qualtrics.create_batch(self.account.directory_id)

    async def import_people(self, batch_id: str, *addresses: str, **ids: str) -> Imported:
        directory_id = ids.get("directory_id", self.account.directory_id)
        list_id = ids.get("mailing_list_id", self.account.mailing_list_id)
        (imported,) = await self.import_chunks(batch_id, [list(addresses)], directory_id, list_id)
        return imported

    async def import_chunks(self, batch_id: str, parts: Iterable[list[str]], *ids: str) -> list[Imported]:
        directory_id, list_id = ids or (self.account.directory_id, self.account.mailing_list_id)
        results = self.qualtrics.import_chunks(directory_id, list_id, batch_id, "run-1", parts)
        async with aclosing(results):
            return [imported async for imported in results]

    async def create_batch_of(self, *addresses: str) -> str:
        batch_id = await self.create_batch()
        await self.import_people(batch_id, *addresses)
        return batch_id

    def distribution(self, batch_id: str, **changes: Any) -> Distribution:
        fields = {
            "library_id": self.account.library_id,
            "message_id": self.account.message_id,
            "batch_id": batch_id,
            "from_name": "Digital Workplace",
            "from_email": "noreply@qemailserver.com",
            "reply_to_email": None,
            "subject": "How is Teams?",
            "survey_id": self.account.survey_id,
            "expiration": None,
            "send_date": self.sandbox.clock.now(),
        }
        return Distribution(**{**fields, **changes})

    async def send(self, batch_id: str, **changes: Any) -> str:
        return await self.qualtrics.send(self.distribution(batch_id, **changes))

    async def find(self, batch_id: str) -> str | None:
        now = self.sandbox.clock.now()
        hour = timedelta(hours=1)
        return await self.qualtrics.find_distribution(self.account.survey_id, batch_id, now - hour, now + hour)


@pytest.fixture
def sandbox_client(sandbox: Sandbox, qualtrics: QualtricsClient) -> SandboxClient:
    return SandboxClient(sandbox, qualtrics)
