"""One export without a cluster: what `run` does, and `demo` shows.

The journal is a file, and it holds as it does in a cluster: an export that was interrupted goes on from where its
journal stands, and a survey that may be out is looked up, never sent again. So the first thing to do is always what an
earlier process left undone.
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
"""How long a run may take until its send. No schedule limits it here: a person is waiting, or nobody is any more."""

LEFT_UNDONE = (
    "{path} tells of a run that was interrupted ({run}, at {step}): finish it first, with the same command without "
    "--test. A survey that is out already is not sent again."
)
OF_ANOTHER = (
    "{path} tells of an interrupted run of another exporter ({run}): finish that one first, with the command that "
    "began it, or give this one a --journal of its own."
)
UNTOLD_OF_ANOTHER = (
    "{path} tells of a run of another exporter that has ended ({run}), and nobody may have heard how: give the command "
    "that began it once more, which tells that and sends nothing, or give this one a --journal of its own."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command reports."""

    entry: HistoryEntry
    earlier: bool = False
    """The run ended in an earlier command, which could not report it. This command did nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What to do. Nobody is mailed unless `send`, and then 20 people at most if it is a `test`."""

    exporter: Exporter
    spec: Spec
    secrets: Secrets
    journal: Path
    allowed_hosts: Sequence[str]
    allowed_download_hosts: Sequence[str] = DEFAULT_DOWNLOAD_HOSTS
    allow_http: bool
    proxies: Proxies = field(default_factory=Proxies)
    time_zone: str = "UTC"
    """Of a schedule that names none. The schedule only decides whose turn it is, with spec.sample."""
    send: bool = False
    test: bool = False

    def __call__(self) -> Outcome:
        """Do it, to its end or to SIGINT or SIGTERM (then `asyncio.CancelledError`).

        SIGHUP does not end it, so the run continues when its terminal closes: the same command then reports how it
        ended. Raises ExportError when it cannot begin and ClickException when the journal forbids it.
        """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            return asyncio.run(self._interruptible())
        except JournalUnreadable as error:
            raise click.ClickException(str(error)) from None
        except Abandoned as error:
            raise click.ClickException(f"{error or 'The run is not ours any more'}.") from None

    async def _interruptible(self) -> Outcome:
        task = asyncio.current_task()
        assert task  # noqa: S101
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await self.done(SystemClock())

    async def done(self, clock: Clock) -> Outcome:
        """The same in a loop that runs already, with whatever the journal raises."""
        async with AsyncExitStack() as open_things:
            progress = Progress()
            remotes = ApiContext(
                clock=clock,
                allowed_hosts=self.allowed_hosts,
                download_hosts=self.allowed_download_hosts,
                allow_http=self.allow_http,
                proxies=self.proxies,
                observe=progress.requested,
            )
            sides = self._sides(await open_things.enter_async_context(remotes))
            await open_things.enter_async_context(progress)
            if self.test and not self.send:
                progress.say("Checking both sides, and counting the people of the query")
                run_id = self._run_id("Test", timestamp(clock.now()))
                return Outcome((await dry_test(self.spec, sides, clock, run_id)).entry)
            journal = open_things.enter_context(self._opened())
            if left := journal.current():
                self._may_go_on(left)
                progress.say(describe_resumed(left))
                again = left.model_copy(update={"attempt": left.attempt + 1, "holder": new_holder()})
                if left.step in ("Claimed", "Importing"):
                    again = again.model_copy(update={"generation": self._generation})
                ended = await self._execute(again, sides, journal, clock, progress)
                if (left.trigger == "Test") == self.test and ended.entry.reason != Reason.INTERRUPTED:
                    return Outcome(ended.entry)
                progress.say(f"The earlier one ended: {ended.entry.message}")
            elif untold := journal.untold:
                self._may_tell(untold)
                when = f" at {timestamp(untold.completion_time)}" if untold.completion_time else ""
                progress.say(f"An earlier command ended{when}, and could not report its result: {untold.message}")
                if (untold.trigger == "Test") == self.test:
                    return Outcome(untold, earlier=True)
            for before in self._history(journal)[:1]:
                if before.result == "Unknown":
                    progress.say(f"The run before this one ended as Unknown: {before.message}")
            run = self._new_run(clock)
            progress.say(describe(run))
            return Outcome((await self._execute(run, sides, journal, clock, progress)).entry)

    def told(self, entry: HistoryEntry) -> None:
        """Note that its user knows how it ended: the same command begins a new run from now on.

        Not where nothing was to be sent: who gives the command with --send again may be somebody else.
        """
        if self.send:
            with suppress(Abandoned, OSError), FileJournal(self.journal) as journal:  # else it is told once more
                journal.told(entry)

    async def _execute(
        self, run: ActiveRun, sides: Clients, journal: FileJournal, clock: Clock, progress: Progress
    ) -> Ended:
        await journal.claim(run)
        spec = self.spec.model_copy(update={"dry_run": bool(self.spec.dry_run) or not self.send})
        watched = WatchedJournal(journal, progress)
        try:
            ended = await self._to_its_end(run, spec, sides, journal, watched, clock)
        except SpecChanged:
            # Its send was refused, so nothing was sent; the people in its batch are those of another manifest.
            progress.say("The manifest is not the one that the earlier process had: starting again")
            fresh = self._claimed(run.id, run.trigger, run.start_time, run.holder, run.attempt + 1)
            run = fresh.model_copy(update={"send_attempts": run.send_attempts})
            await journal.write(run)
            ended = await self._to_its_end(run, spec, sides, journal, watched, clock)
        for warning in reply_warnings(sides.qualtrics):
            progress.say(str(warning))
        return ended

    async def _to_its_end(
        self, run: ActiveRun, spec: Spec, sides: Clients, journal: FileJournal, watched: WatchedJournal, clock: Clock
    ) -> Ended:
        history = self._history(journal)
        surveyed = surveyed_groups(journal.sampled_groups, history)
        return await execute(
            *(run, spec, sides, watched, clock),
            check_first=True,
            deadline=DEADLINE,
            sample=sample_of(spec, self._name, spec.schedule.in_zone(self.time_zone), run, surveyed),
            previous=previous_audience(history),
            export_first=begins_with_export(spec.nexthink, journal.heavy_query, self._generation, clock.now()),
        )

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
        """What tells this spec from another one: a file has no generation that anybody counts."""
        return int(hashlib.sha256(self.spec.model_dump_json().encode()).hexdigest()[:12], 16)

    def _run_id(self, trigger: str, started: str) -> str:
        """Made of what the journal keeps, so that one can see of which exporter a run is."""
        whose = self._name
        return test_run_id(whose, started) if trigger == "Test" else request_run_id(whose, started)

    def _opened(self) -> FileJournal:
        return FileJournal(self.journal, generation=self._generation, exporter=self._name)

    def _history(self, journal: FileJournal) -> list[HistoryEntry]:
        """The last runs of this exporter: another one that has the same journal says nothing about its people."""
        return [entry for entry in journal.history if self._is_ours(entry)]

    def _is_ours(self, run: ActiveRun | HistoryEntry) -> bool:
        return run.start_time is not None and run.id == self._run_id(run.trigger, timestamp(run.start_time))

    def _may_tell(self, untold: HistoryEntry) -> None:
        if not self._is_ours(untold):
            # Going on would lose the note, and its own command would then send a second time.
            raise click.ClickException(UNTOLD_OF_ANOTHER.format(path=self.journal, run=untold.id))

    def _may_go_on(self, left: ActiveRun) -> None:
        told = {"path": self.journal, "run": left.id, "step": left.step}
        if not self._is_ours(left):
            raise click.ClickException(OF_ANOTHER.format(**told))
        if self.test and left.trigger != "Test":
            # Going on could mail everybody, where the user asked for 20 people.
            raise click.ClickException(LEFT_UNDONE.format(**told))

    def _sides(self, remotes: ApiContext) -> Clients:
        namespace = self.exporter.namespace
        nexthink = self.secrets.get(namespace, self.spec.nexthink.credentials_secret_ref.name)
        qualtrics = self.secrets.get(namespace, self.spec.qualtrics.credentials_secret_ref.name)
        return Clients(
            NexthinkClient(remotes, nexthink_from(*nexthink)), QualtricsClient(remotes, qualtrics_from(*qualtrics))
        )
