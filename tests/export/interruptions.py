"""Crashes, cancellations and pauses at chosen points of a run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from qualtrics_exporter.export.file_journal import FileJournal
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.export.run import execute
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.resource.status import ActiveRun
from tests.export.conftest import Exporter, PausableClock, claim_run
from tests.support.waiting import HANG_SECONDS

ONE_MAIL_EACH = {f"{name}@example.com": 1 for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}
"""The mails of a complete run in the default account."""

BEFORE_THE_SEND = ["nexthink.token", "nexthink.execute", "qualtrics.token", "qualtrics.create_batch"]
BEFORE_THE_SEND += ["qualtrics.import_contacts", "qualtrics.import_status"]
"""The operations of a small run before its send, in order."""

IMPORTING, SENDING, SENT, FINISH = 1, 2, 3, 4
"""The numbers of the writes of a journal in a run without failures."""

RATE_LIMITED = {"status": 429, "headers": {"Retry-After": "200"}}


class Crash(BaseException):
    """Ends a process. The program does not catch it."""


def crash_at(number: int) -> Callable[[int], None]:
    """A hook of `RecordingJournal` that crashes at the write with this number."""

    def crash(now: int) -> None:
        if now == number:
            raise Crash

    return crash


class RecordingJournal(FileJournal):
    """Keeps what was written. Calls the hooks `before` and `after` with the number of each write."""

    def __init__(
        self, path: Path, before: Callable[[int], Any] = lambda _: None, after: Callable[[int], Any] = lambda _: None
    ) -> None:
        super().__init__(path)
        self.before, self.after = before, after
        self.written: list[ActiveRun] = []
        self.number = 0

    async def write(self, run: ActiveRun) -> None:
        self.number += 1
        if awaitable := self.before(self.number):
            await awaitable
        await super().write(run)
        self.written.append(run)
        self.after(self.number)

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        self.number += 1
        self.before(self.number)
        await asyncio.sleep(0)  # like a journal behind a network
        await super().finish(run, ended)
        self.after(self.number)


class QualtricsDownAtSend(RecordingJournal):
    """Stops the sandbox after the write of `Sending` with this number, so that the send finds no connection."""

    def __init__(self, exporter: Exporter, send_attempt: int = 1) -> None:
        super().__init__(exporter.path)
        self.sandbox, self.send_attempt = exporter.sandbox, send_attempt

    async def write_sending(self, run: ActiveRun) -> None:
        await super().write_sending(run)
        if run.send_attempts == self.send_attempt:
            await self.sandbox.stop()


def records_refusal(run: ActiveRun) -> bool:
    return run.refused_until is not None


class CrashAtRefusal(RecordingJournal):
    """Crashes before or after the write of the refusal."""

    moment = "after"

    async def write(self, run: ActiveRun) -> None:
        if records_refusal(run) and self.moment == "before":
            raise Crash
        await super().write(run)
        if records_refusal(run):
            raise Crash


class RejectingJournal(RecordingJournal):
    """Raises an error instead of writing `Sending`."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(path)
        self.error = error

    async def write_sending(self, run: ActiveRun) -> None:
        raise self.error


@contextlib.asynccontextmanager
async def started(exporter: Exporter, journal: FileJournal | None = None) -> AsyncIterator[asyncio.Task[Ended]]:
    """Execute a run in a task. At the end, cancel it."""

    async def execute_run(run: ActiveRun, open_journal: FileJournal) -> Ended:
        ended = await execute(RunContext(run, exporter.spec, exporter.clients, open_journal, exporter.clock))
        task = asyncio.current_task()
        assert task
        assert not task.cancelling(), "the run suppressed a cancellation"
        return ended

    with journal or RecordingJournal(exporter.path) as open_journal:
        run = await claim_run(open_journal, exporter.clock)
        task = asyncio.create_task(execute_run(run, open_journal))
        try:
            yield task
        finally:
            exporter.faults.clear()
            task.cancel()
            await asyncio.wait([task])


async def was_cancelled(task: asyncio.Task[Ended]) -> bool:
    """Wait for the end of a task. Return whether it ended with its cancellation."""
    async with asyncio.timeout(HANG_SECONDS):
        await asyncio.wait([task])
    return task.cancelled()


async def crash_after_refused_send(exporter: Exporter, moment: str = "after", **fault: Any) -> ActiveRun:
    """Crash before or after the write of a refused send. Return the active run."""
    exporter.add_fault("create_distribution", **(fault or RATE_LIMITED))
    journal = CrashAtRefusal(exporter.path)
    journal.moment = moment
    with pytest.raises(Crash):
        await exporter.execute(journal)
    run = exporter.active_run()
    assert run
    assert run.step == "Sending"
    return run


async def exhaust_send_limit(exporter: Exporter, clock: PausableClock) -> asyncio.Task[None]:
    """Pause the clock, and use up the rate limit of sends. Return a task that waits for the limit."""

    async def use_up() -> None:
        while True:
            await exporter.clients.qualtrics.acquire_send()

    clock.paused = lambda: True
    task = asyncio.create_task(use_up())
    await clock.asleep()
    return task


def active_step(exporter: Exporter) -> str | None:
    """The step of the active run in the journal."""
    run = exporter.active_run()
    return run.step if run else None


def send_requests(exporter: Exporter) -> list[datetime]:
    """The times at which Qualtrics received requests to send."""
    return [call.at for call in exporter.sandbox.recorder.of("qualtrics.create_distribution")]
