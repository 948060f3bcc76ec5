"""One export without a cluster, for the commands `run` and `demo`.

The journal is a file, with the same guarantees as in a cluster: an interrupted export resumes from its journal, and if
the survey may be sent already, it is looked up and not sent again. So a command first finishes an interrupted run.
"""

import asyncio
import hashlib
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import click

from qualtrics_exporter.cli.manifests import Secrets
from qualtrics_exporter.cli.progress import Progress, WatchedJournal, describe, describe_resumed
from qualtrics_exporter.clock import Clock, SystemClock
from qualtrics_exporter.export.checks import reply_warnings
from qualtrics_exporter.export.clients import Clients
from qualtrics_exporter.export.dry_test import dry_test
from qualtrics_exporter.export.file_journal import FileJournal, JournalUnreadable
from qualtrics_exporter.export.guards import previous_audience
from qualtrics_exporter.export.heavy_query import begins_with_export
from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged
from qualtrics_exporter.export.run import execute
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.export.run_ids import new_holder, request_run_id, test_run_id
from qualtrics_exporter.export.sample import sample_of, surveyed_groups
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.hosts import DEFAULT_DOWNLOAD_HOSTS
from qualtrics_exporter.remote.proxies import Proxies
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry, Trigger, timestamp

DEADLINE = timedelta(hours=24)
"""The time limit of a run until its send. Here it does not depend on a schedule."""

INTERRUPTED_RUN = (
    "The journal {path} has an interrupted run ({run}, at {step}): finish it first with the same command without "
    "--test. If its survey is sent already, it is not sent again."
)
INTERRUPTED_RUN_OF_ANOTHER = (
    "The journal {path} has an interrupted run of another exporter ({run}): finish it first with the command that "
    "started it, or use another --journal for this exporter."
)
UNREPORTED_RUN_OF_ANOTHER = (
    "The journal {path} has a finished run of another exporter ({run}), and its result may not have been reported: run "
    "the command that started it again, which reports the result and sends nothing, or use another --journal for this "
    "exporter."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The run that a command reports."""

    entry: HistoryEntry
    earlier: bool = False
    """The run ended in an earlier command, which could not report it. This command only reports it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One call of the command. Only with `send` it sends e-mails, and as a `test` to at most 20 people."""

    exporter: Exporter
    spec: Spec
    secrets: Secrets
    journal: Path
    allowed_hosts: Sequence[str]
    allowed_download_hosts: Sequence[str] = DEFAULT_DOWNLOAD_HOSTS
    allow_http: bool
    proxies: Proxies = field(default_factory=Proxies)
    time_zone: str = "UTC"
    """Of a schedule that does not set one. The schedule only selects the group for spec.sample."""
    send: bool = False
    test: bool = False

    def __call__(self) -> Outcome:
        """Run it until it ends, or until SIGINT or SIGTERM (then raises `asyncio.CancelledError`).

        It ignores SIGHUP: if its terminal closes, the run continues, and the same command reports the result later.
        Raises ExportError if the export cannot start, and ClickException if the journal does not allow it.
        """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            return asyncio.run(self._interruptible())
        except JournalUnreadable as error:
            raise click.ClickException(str(error)) from None
        except Abandoned as error:
            raise click.ClickException(f"{error or 'Another process took over the run'}.") from None

    async def _interruptible(self) -> Outcome:
        task = asyncio.current_task()
        assert task  # noqa: S101
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await self.done(SystemClock())

    async def done(self, clock: Clock) -> Outcome:
        """The same in a running event loop. Also raises the errors of the journal."""
        async with AsyncExitStack() as open_things:
            progress = Progress()
            context = ApiContext(
                clock=clock,
                allowed_hosts=self.allowed_hosts,
                download_hosts=self.allowed_download_hosts,
                allow_http=self.allow_http,
                proxies=self.proxies,
                observe=progress.requested,
            )
            clients = self._clients(await open_things.enter_async_context(context))
            await open_things.enter_async_context(progress)
            if self.test and not self.send:
                progress.say("Checking Nexthink and Qualtrics, and counting the people of the query")
                run_id = self._run_id("Test", timestamp(clock.now()))
                return Outcome((await dry_test(self.spec, clients, clock, run_id)).entry)
            journal = open_things.enter_context(self._opened())
            if interrupted := journal.current():
                self._check_resumable(interrupted)
                progress.say(describe_resumed(interrupted))
                resumed = interrupted.model_copy(update={"attempt": interrupted.attempt + 1, "holder": new_holder()})
                if interrupted.step in ("Claimed", "Importing"):
                    resumed = resumed.model_copy(update={"generation": self._generation})
                ended = await self._execute(resumed, clients, journal, clock, progress)
                if (interrupted.trigger == "Test") == self.test and ended.entry.reason != Reason.INTERRUPTED:
                    return Outcome(ended.entry)
                progress.say(f"The earlier run ended: {ended.entry.message}")
            elif unreported := journal.unreported:
                self._check_reportable(unreported)
                when = f" at {timestamp(unreported.completion_time)}" if unreported.completion_time else ""
                progress.say(f"An earlier command ended{when}, and could not report its result: {unreported.message}")
                if (unreported.trigger == "Test") == self.test:
                    return Outcome(unreported, earlier=True)
            for last in self._history(journal)[:1]:
                if last.result == "Unknown":
                    progress.say(f"The last run ended as Unknown: {last.message}")
            run = self._new_run(clock)
            progress.say(describe(run))
            return Outcome((await self._execute(run, clients, journal, clock, progress)).entry)

    def mark_reported(self, entry: HistoryEntry) -> None:
        """Record that the result was reported, so that the same command starts a new run from now on.

        Without `send`, the result stays pending until somebody runs the command with --send.
        """
        if self.send:
            with suppress(Abandoned, OSError), FileJournal(self.journal) as journal:  # else it is reported again
                journal.mark_reported(entry)

    async def _execute(
        self, run: ActiveRun, clients: Clients, journal: FileJournal, clock: Clock, progress: Progress
    ) -> Ended:
        await journal.claim(run)
        spec = self.spec.model_copy(update={"dry_run": bool(self.spec.dry_run) or not self.send})
        watched = WatchedJournal(journal, progress)
        try:
            ended = await self._to_its_end(run, spec, clients, journal, watched, clock)
        except SpecChanged:
            # Its send was refused, so nothing was sent. Its batch has the people of the earlier manifest.
            progress.say("The manifest has changed since the interruption: starting again")
            fresh = self._claimed(run.id, run.trigger, run.start_time, run.holder, run.attempt + 1)
            run = fresh.model_copy(update={"send_attempts": run.send_attempts})
            await journal.write(run)
            ended = await self._to_its_end(run, spec, clients, journal, watched, clock)
        for warning in reply_warnings(clients.qualtrics):
            progress.say(str(warning))
        return ended

    async def _to_its_end(
        self, run: ActiveRun, spec: Spec, clients: Clients, journal: FileJournal, watched: WatchedJournal, clock: Clock
    ) -> Ended:
        history = self._history(journal)
        surveyed = surveyed_groups(journal.sampled_groups, history)
        context = RunContext(
            *(run, spec, clients, watched, clock),
            check_first=True,
            deadline=DEADLINE,
            sample=sample_of(spec, self._name, spec.schedule.in_zone(self.time_zone), run, surveyed),
            previous=previous_audience(history),
            export_first=begins_with_export(spec.nexthink, journal.heavy_query, self._generation, clock.now()),
        )
        return await execute(context)

    def _new_run(self, clock: Clock) -> ActiveRun:
        now = clock.now()
        trigger: Trigger = "Test" if self.test else "Request"
        return self._claimed(self._run_id(trigger, timestamp(now)), trigger, now, new_holder())

    def _claimed(self, run_id: str, trigger: Trigger, start: datetime, holder: str, attempt: int = 1) -> ActiveRun:
        return ActiveRun(
            id=run_id,
            trigger=trigger,
            start_time=start,
            generation=self._generation,
            attempt=attempt,
            holder=holder,
            step="Claimed",
        )

    @property
    def _name(self) -> str:
        return f"{self.exporter.namespace or 'default'}/{self.exporter.name}"

    @property
    def _generation(self) -> int:
        """A hash of the spec, because a file has no generation."""
        return int(hashlib.sha256(self.spec.model_dump_json().encode()).hexdigest()[:12], 16)

    def _run_id(self, trigger: str, started: str) -> str:
        """Derived from fields of the journal, so that it shows which exporter a run belongs to."""
        return (test_run_id if trigger == "Test" else request_run_id)(self._name, started)

    def _opened(self) -> FileJournal:
        return FileJournal(self.journal, generation=self._generation, exporter=self._name)

    def _history(self, journal: FileJournal) -> list[HistoryEntry]:
        """The last runs of this exporter, without those of other exporters in the same journal."""
        return [entry for entry in journal.history if self._is_ours(entry)]

    def _is_ours(self, run: ActiveRun | HistoryEntry) -> bool:
        return run.start_time is not None and run.id == self._run_id(run.trigger, timestamp(run.start_time))

    def _check_reportable(self, unreported: HistoryEntry) -> None:
        if not self._is_ours(unreported):
            # A new run would overwrite the result, and its own command would then send a second time.
            raise click.ClickException(UNREPORTED_RUN_OF_ANOTHER.format(path=self.journal, run=unreported.id))

    def _check_resumable(self, interrupted: ActiveRun) -> None:
        facts = {"path": self.journal, "run": interrupted.id, "step": interrupted.step}
        if not self._is_ours(interrupted):
            raise click.ClickException(INTERRUPTED_RUN_OF_ANOTHER.format(**facts))
        if self.test and interrupted.trigger != "Test":
            # Resuming could send to everybody, although the user asked for 20 people.
            raise click.ClickException(INTERRUPTED_RUN.format(**facts))

    def _clients(self, context: ApiContext) -> Clients:
        namespace = self.exporter.namespace
        nexthink = self.secrets.get(namespace, self.spec.nexthink.credentials_secret_ref.name)
        qualtrics = self.secrets.get(namespace, self.spec.qualtrics.credentials_secret_ref.name)
        return Clients(
            NexthinkClient(context, nexthink_from(*nexthink)), QualtricsClient(context, qualtrics_from(*qualtrics))
        )
