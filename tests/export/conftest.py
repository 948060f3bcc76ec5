"""An exporter without a cluster: the real clients, the sandbox on real sockets, the journal in a file."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.file_journal import FileJournal
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.run import execute
from qualtrics_exporter.export.run_ids import new_holder, slot_run_id
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry, Trigger
from qualtrics_exporter.sandbox import Account, Sandbox
from qualtrics_exporter.sandbox.account import Query
from tests.environment.clock import HastyClock, SteeredClock

START = datetime(2026, 1, 5, 10, tzinfo=UTC)


async def taken(journal: FileJournal, clock: Clock, trigger: Trigger = "Schedule") -> ActiveRun:
    """Claim a run, or take over the one that was left."""
    fresh = ActiveRun(id=slot_run_id("uid", "slot"), trigger=trigger, start_time=clock.now(), attempt=0, step="Claimed")
    left = journal.current() or fresh
    run = left.model_copy(update={"holder": new_holder(), "attempt": left.attempt + 1})
    await journal.claim(run)
    return run


@asynccontextmanager
async def connected(secrets: dict[str, dict[str, str]], clock: Clock) -> AsyncIterator[Clients]:
    """The real clients."""
    async with ApiContext(
        clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True, observe=lambda *_: None
    ) as remotes:
        yield Clients(
            NexthinkClient(remotes, nexthink_from(secrets["nexthink"], "Secret dex/nexthink")),
            QualtricsClient(remotes, qualtrics_from(secrets["qualtrics"], "Secret dex/qualtrics")),
        )


class Exporter:
    """One exporter, its sandbox and its journal. Every `run` is a process of its own as far as the journal knows."""

    def __init__(self, sandbox: Sandbox, clock: SteeredClock, clients: Clients, path: Path) -> None:
        self.sandbox, self.clock, self.clients, self.path = sandbox, clock, clients, path
        self.account, self.faults = sandbox.account, sandbox.faults
        self.spec = Spec.model_validate({**sandbox.account.exporter_spec(), "schedule": {"frequency": "Daily"}})

    def change(self, part: str, **fields: Any) -> None:
        """Edit the spec: `change("qualtrics", subject="…")`, `change("spec", dry_run=True)`."""
        if part == "spec":
            self.spec = self.spec.model_copy(update=fields)
        else:
            self.spec = self.spec.model_copy(update={part: getattr(self.spec, part).model_copy(update=fields)})

    def people(self, addresses: Iterable[object]) -> Query:
        """Let the query return these."""
        return self.account.add_query(Query.people(self.account.query_id, addresses, executed=self.spec.nexthink.query))

    def many(self, count: int) -> None:
        """Let the query return so many people."""
        query = self.account.add_query(Query.generated(self.account.query_id, count))
        query.executed = self.spec.nexthink.query

    def open(self) -> FileJournal:
        """Open the journal."""
        return FileJournal(self.path)

    async def ended(self, journal: FileJournal | None = None, *, trigger: Trigger = "Schedule", **how: Any) -> Ended:
        """Start a run, or go on with the one that was left, to its end."""
        with journal or self.open() as open_journal:
            run = await taken(open_journal, self.clock, trigger)
            return await execute(run, self.spec, self.clients, open_journal, self.clock, **how)

    async def run(
        self, journal: FileJournal | None = None, *, trigger: Trigger = "Schedule", **how: Any
    ) -> HistoryEntry:
        """As `ended`; the entry that the journal keeps of it."""
        ended = await self.ended(journal, trigger=trigger, **how)
        assert self.left() is None
        with self.open() as after:
            kept = after.last_test if trigger == "Test" else after.history[0]
        assert kept == ended.entry
        return kept

    def left(self) -> ActiveRun | None:
        """The run that the journal still names."""
        with self.open() as journal:
            return journal.current()

    def mailed(self) -> dict[str, int]:
        """How many mails each address got."""
        return dict(self.sandbox.ledger.mails())

    def count(self, operation: str) -> int:
        """How often Qualtrics was asked for that."""
        return self.sandbox.ledger.count(f"qualtrics.{operation}")

    async def run_changing(self, operation: str, change: Callable[[], object]) -> HistoryEntry:
        """A run during which something happens just before the remote side hears that call."""
        self.faults.add(operation, hold="before")

        async def happens() -> None:
            await self.faults.reached(operation)
            change()
            self.faults.release(operation)

        async with asyncio.TaskGroup() as group:
            group.create_task(happens())
            return await self.run()

    def fault(self, operation: str, **order: Any) -> None:
        """Order what shall go wrong with a call to Qualtrics."""
        self.faults.add(f"qualtrics.{operation}", **order)


@pytest.fixture
def clock() -> SteeredClock:
    return HastyClock(start=START)


@pytest.fixture
def account() -> Account:
    return Account.default()


@pytest.fixture
async def sandbox(account: Account, clock: SteeredClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(account, clock=clock) as running:
        yield running
        assert running.ledger.errors == []


@pytest.fixture
async def exporter(sandbox: Sandbox, clock: SteeredClock, tmp_path: Path) -> AsyncIterator[Exporter]:
    async with connected(sandbox.secrets(), clock) as clients:
        yield Exporter(sandbox, clock, clients, tmp_path / "journal.json")
        for sent in sandbox.ledger.distributions:
            assert sandbox.ledger.batches[sent.batch_id or ""].repeated() == {}, "nobody may be in a sent batch twice"
        assert all(sent.links_read == 0 for sent in sandbox.ledger.distributions)
