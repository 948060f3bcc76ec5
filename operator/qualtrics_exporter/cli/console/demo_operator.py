"""Does in this process what an operator does in a cluster, for the exporter of `qualtrics-exporter demo --dashboard`.

It plans with the functions of the operator, so a token acts once and a suspended exporter sends nothing. The run has
the journal of the command line, a file. Without a cluster there is no lease, and no other process to take a run over.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from qualtrics_exporter.cli.console.demo import Demo
from qualtrics_exporter.cli.manifests import Secrets
from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.actions.delivery import figures_of, given_up_because
from qualtrics_exporter.controller.actions.look_up import distribution_of
from qualtrics_exporter.controller.election.leadership import Leadership
from qualtrics_exporter.controller.plan import requests
from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.plan.deadlines import run_deadline
from qualtrics_exporter.controller.plan.next_status import finished, plan
from qualtrics_exporter.controller.plan.wake import check_due
from qualtrics_exporter.controller.status import conditions, delivery_figures, resolution
from qualtrics_exporter.export.checks import check
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.dry_test import dry_test
from qualtrics_exporter.export.file_journal import FileJournal
from qualtrics_exporter.export.guards import previous_audience
from qualtrics_exporter.export.journal import Ended, SuspendedMeanwhile
from qualtrics_exporter.export.run import execute
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.export.run_ids import new_holder
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry, Status

ZONE = "UTC"
"""Of a schedule that does not set a time zone. The schedule of the demo does."""
LONGEST_WAIT = timedelta(hours=1)
RETRY = timedelta(seconds=30)
"""When a check is repeated after an error that may pass, such as a fault that the reader has injected."""

log = logging.getLogger(__name__)


class DemoOperator:
    """Runs, tests and checks the exporter of a demo. `journal` is a file that does not exist yet."""

    def __init__(self, demo: Demo, clients: Clients, journal: Path, clock: Clock) -> None:
        self._demo = demo
        self._clients = clients
        self._journal = journal
        self._clock = clock
        self._leadership = Leadership.started(clock.now())

    async def operate(self) -> None:
        """Work until cancelled. An unexpected error ends the work, and the page shows it."""
        try:
            with FileJournal(self._journal) as file:
                while True:
                    await self._step(_Journal(self._demo, file, self._clock))
        except Exception as error:
            log.exception("the demo stops")
            problem = f"The demo has an internal error ({type(error).__name__}) and has stopped. Please report it."
            self._demo.snapshot.report(problem, self._clock.now())

    async def _step(self, journal: "_Journal") -> None:
        """Do the first thing that is due, or wait."""
        now = self._clock.now()
        planned = plan(self._demo.exporter, Context(now, new_holder(), ZONE, self._leadership, first=False))
        self._demo.write(planned.status)
        exporter = self._demo.exporter
        if exporter.spec is None:
            raise ValueError(exporter.spec_error)
        if planned.claimed:
            await self._run(exporter.spec, planned.claimed, journal)
        elif token := requests.requested(requests.TEST, exporter):
            await self._test(exporter.spec, token)
        elif check_due(exporter, now) <= now:
            await self._check(exporter.spec)
        elif entry := next((each for each in resolution.in_doubt(exporter.status) if _look_due(each, now)), None):
            await self._look_up(entry)
        elif entry := next((each for each in exporter.status.history or [] if _figures_due(each, now)), None):
            await self._read_figures(entry)
        else:
            await self._demo.requested(self._seconds_until_next(now))

    async def _run(self, spec: Spec, run: ActiveRun, journal: "_Journal") -> None:
        await journal.file.claim(run)
        context = RunContext(
            *(run, spec, self._clients, journal, self._clock),
            check_first=True,
            deadline=run_deadline(spec),
            previous=previous_audience(self._demo.exporter.status.history or []),
        )
        await execute(context)

    async def _test(self, spec: Spec, token: requests.Token) -> None:
        """Count the people. Nothing is sent."""
        exporter = self._demo.exporter
        previous = previous_audience(exporter.status.history or ())
        run_id = requests.TEST.id_of(exporter.uid, token.identity)
        tested = await dry_test(spec, self._clients, self._clock, run_id, previous=previous)
        fresh = self._demo.exporter
        status = requests.with_receipt(requests.TEST, fresh, fresh.status, token)
        self._write_verdict(resolution.with_last_test(status, tested.entry), tested.verdict, exporter)

    async def _check(self, spec: Spec) -> None:
        exporter = self._demo.exporter
        verdict = await check(spec, self._clients)
        self._write_verdict(self._demo.exporter.status, verdict, exporter)

    def _write_verdict(self, status: Status, verdict: Verdict, checked: Exporter) -> None:
        now = self._clock.now()
        retry_time = now + RETRY if verdict.error and not verdict.needs_new_spec else None
        status = conditions.checked(
            *(status, verdict, checked.generation, now), suspended=checked.suspended, retry_time=retry_time
        )
        self._demo.write(status)

    async def _look_up(self, entry: HistoryEntry) -> None:
        """Ask Qualtrics again whether it has the distribution."""
        try:
            found = await distribution_of(self._clients.qualtrics, entry)
        except ExportError as error:
            log.info("run %s could not be looked for: %s", entry.id, error.reason)
            found = None
        exporter = self._demo.exporter
        status = resolution.looked_for(exporter.status, entry, found, exporter.generation, self._clock.now())
        if status:
            self._demo.write(status)

    async def _read_figures(self, entry: HistoryEntry) -> None:
        try:
            after = delivery_figures.with_figures(entry, await figures_of(self._clients.qualtrics, entry))
        except ExportError as error:
            after = delivery_figures.given_up(entry, given_up_because(error))
        status, now = self._demo.exporter.status, self._clock.now()
        history = [after if each == entry else each for each in status.history or []]
        status = status.model_copy(update={"history": history})
        if conditions.newest_run(status) == after:
            status = conditions.last_run(status, after, self._demo.exporter.generation, now)
        self._demo.write(status)

    def _seconds_until_next(self, now: datetime) -> float:
        exporter = self._demo.exporter
        times = [now + LONGEST_WAIT, check_due(exporter, now)]
        times += [at for each in exporter.status.history or [] if (at := delivery_figures.next_read(each, now))]
        times += [at for each in resolution.in_doubt(exporter.status) if (at := resolution.next_look(each, now))]
        if exporter.status.next_schedule_time and not exporter.suspended:
            times.append(exporter.status.next_schedule_time)
        return max(1.0, (min(times) - now).total_seconds())


@asynccontextmanager
async def operating(
    demo: Demo, secrets: Sequence[dict[str, Any]], journal: Path, clock: Clock
) -> AsyncIterator[DemoOperator]:
    """Operate the exporter of the demo within the block, with the Secrets of a sandbox on this machine."""
    exporter = demo.exporter
    assert exporter.spec, exporter.spec_error  # noqa: S101
    found = Secrets("the sandbox", secrets)
    async with ApiContext(clock=clock, allowed_hosts=["127.0.0.1"], allow_http=True) as context:
        nexthink = found.get(exporter.namespace, exporter.spec.nexthink.credentials_secret_ref.name)
        qualtrics = found.get(exporter.namespace, exporter.spec.qualtrics.credentials_secret_ref.name)
        clients = Clients(
            NexthinkClient(context, nexthink_from(*nexthink)), QualtricsClient(context, qualtrics_from(*qualtrics))
        )
        operator = DemoOperator(demo, clients, journal, clock)
        working = asyncio.create_task(operator.operate())
        try:
            yield operator
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


def _look_due(entry: HistoryEntry, now: datetime) -> bool:
    at = resolution.next_look(entry, now)
    return at is not None and at <= now


def _figures_due(entry: HistoryEntry, now: datetime) -> bool:
    """Whether to read the figures: also right after the send, because the sandbox delivers at once."""
    at = delivery_figures.next_read(entry, now)
    return bool(at and (at <= now or entry.delivery is None))


@dataclass(frozen=True, slots=True)
class _Journal:
    """The journal of a run: the file, and the status that the page shows.

    In a cluster, a change of the spec before the send starts the run again. Here only `suspend` can change.
    """

    demo: Demo
    file: FileJournal
    clock: Clock

    async def write(self, run: ActiveRun) -> None:
        await self.file.write(run)
        self._show(run)

    async def write_sending(self, run: ActiveRun) -> None:
        if self.demo.exporter.suspended and run.trigger != "Test":
            raise SuspendedMeanwhile
        await self.file.write_sending(run)
        self._show(run)

    async def finish(self, run: ActiveRun, ended: Ended) -> None:
        await self.file.finish(run, ended)
        self.demo.write(finished(self.demo.exporter, ended, self.clock.now(), ZONE))

    def _show(self, run: ActiveRun) -> None:
        self.demo.write(self.demo.exporter.status.model_copy(update={"active_run": run}))
