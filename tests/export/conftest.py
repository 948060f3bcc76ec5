"""An exporter without a cluster: real clients, the sandbox on real sockets, and the journal in a file."""

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
from qualtrics_exporter.export.run_context import RunContext
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
from tests.support.clock import AutoAdvancingClock, SteeredClock

START = datetime(2026, 1, 5, 10, tzinfo=UTC)


class PausableClock(AutoAdvancingClock):
    """Time passes only if the test advances it while `paused` returns true."""

    paused: Callable[[], bool] = staticmethod(lambda: False)

    async def sleep(self, seconds: float) -> None:
        if seconds > 1 and self.paused():
            await SteeredClock.sleep(self, seconds)
        else:
            await super().sleep(seconds)


async def claim_run(journal: FileJournal, clock: Clock, trigger: Trigger = "Schedule") -> ActiveRun:
    """Claim a new run, or take over the active one."""
    new = ActiveRun(id=slot_run_id("uid", "slot"), trigger=trigger, start_time=clock.now(), attempt=0, step="Claimed")
    active = journal.current() or new
    run = active.model_copy(update={"holder": new_holder(), "attempt": active.attempt + 1})
    await journal.claim(run)
    return run


@asynccontextmanager
async def open_clients(secrets: dict[str, dict[str, str]], clock: Clock) -> AsyncIterator[Clients]:
    async with ApiContext(
        clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True, observe=lambda *_: None
    ) as context:
        yield Clients(
            NexthinkClient(context, nexthink_from(secrets["nexthink"], "Secret dex/nexthink")),
            QualtricsClient(context, qualtrics_from(secrets["qualtrics"], "Secret dex/qualtrics")),
        )


class Exporter:
    """One exporter, its sandbox and its journal. For the journal, each `run` is a separate process."""

    def __init__(self, sandbox: Sandbox, clock: SteeredClock, clients: Clients, path: Path) -> None:
        self.sandbox, self.clock, self.clients, self.path = sandbox, clock, clients, path
        self.account, self.faults = sandbox.account, sandbox.faults
        self.spec = Spec.model_validate({**sandbox.account.exporter_spec(), "schedule": {"frequency": "Daily"}})

    def change_spec(self, part: str, **fields: Any) -> None:
        """Edit the spec: `change_spec("qualtrics", subject="…")`, `change_spec("spec", dry_run=True)`."""
        if part == "spec":
            self.spec = self.spec.model_copy(update=fields)
        else:
            self.spec = self.spec.model_copy(update={part: getattr(self.spec, part).model_copy(update=fields)})

    def set_people(self, addresses: Iterable[object]) -> Query:
        """Let the query return these addresses."""
        return self.account.add_query(Query.people(self.account.query_id, addresses, executed=self.spec.nexthink.query))

    def set_people_count(self, count: int) -> None:
        """Let the query return this number of generated people."""
        query = self.account.add_query(Query.generated(self.account.query_id, count))
        query.executed = self.spec.nexthink.query

    def open_journal(self) -> FileJournal:
        return FileJournal(self.path)

    async def execute(
        self, journal: FileJournal | None = None, *, trigger: Trigger = "Schedule", **options: Any
    ) -> Ended:
        """Execute a new run, or resume the active one."""
        with journal or self.open_journal() as open_journal:
            run = await claim_run(open_journal, self.clock, trigger)
            return await execute(RunContext(run, self.spec, self.clients, open_journal, self.clock, **options))

    async def run(
        self, journal: FileJournal | None = None, *, trigger: Trigger = "Schedule", **options: Any
    ) -> HistoryEntry:
        """As `execute`. Return the entry in the journal."""
        ended = await self.execute(journal, trigger=trigger, **options)
        assert self.active_run() is None
        with self.open_journal() as after:
            entry = after._status.last_test if trigger == "Test" else after.history[0]
        assert entry == ended.entry
        return entry

    def active_run(self) -> ActiveRun | None:
        with self.open_journal() as journal:
            return journal.current()

    def mailed(self) -> dict[str, int]:
        """The number of mails for each address."""
        return dict(self.sandbox.recorder.mails())

    def count_calls(self, operation: str) -> int:
        """The number of calls of this operation that Qualtrics received."""
        return self.sandbox.recorder.count(f"qualtrics.{operation}")

    async def run_with_change_before(self, operation: str, change: Callable[[], object]) -> HistoryEntry:
        """Run, and apply `change` immediately before the remote service handles the operation."""
        self.faults.add(operation, hold="before")

        async def change_at_operation() -> None:
            await self.faults.reached(operation)
            change()
            self.faults.release(operation)

        async with asyncio.TaskGroup() as group:
            group.create_task(change_at_operation())
            return await self.run()

    def add_fault(self, operation: str, **fault: Any) -> None:
        """Add a fault to an operation of Qualtrics."""
        self.faults.add(f"qualtrics.{operation}", **fault)


@pytest.fixture
def clock() -> SteeredClock:
    return PausableClock(start=START)


@pytest.fixture
def account() -> Account:
    return Account.default()


@pytest.fixture
async def sandbox(account: Account, clock: SteeredClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(account, clock=clock) as running:
        yield running
        assert running.recorder.errors == []


@pytest.fixture
async def exporter(sandbox: Sandbox, clock: SteeredClock, tmp_path: Path) -> AsyncIterator[Exporter]:
    async with open_clients(sandbox.secrets(), clock) as clients:
        yield Exporter(sandbox, clock, clients, tmp_path / "journal.json")
        for sent in sandbox.recorder.distributions:
            assert sandbox.recorder.batches[sent.batch_id or ""].repeated() == {}, "a person is in a sent batch twice"
        assert all(sent.links_read == 0 for sent in sandbox.recorder.distributions)
