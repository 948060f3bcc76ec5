"""One claimed run of one exporter, from its claim to its entry in the history.

The steps are in `export`. This module adds what only a controller knows: credentials come from Secrets, the spec can
change during a run, and a run that cannot even begin still ends in an entry.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.actions import Situation
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan.deadlines import run_deadline
from qualtrics_exporter.controller.plan.next_status import finished
from qualtrics_exporter.controller.plan.usable_spec import schedule_of, spec_problem
from qualtrics_exporter.controller.recipient_memory import RecipientMemory
from qualtrics_exporter.controller.run_holders import ProcessIdentity
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.journal import StatusJournal
from qualtrics_exporter.controller.status.key import Key, tenant_of
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.export.guards import previous_audience
from qualtrics_exporter.export.heavy_query import begins_with_export
from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged
from qualtrics_exporter.export.messages import unknown_message
from qualtrics_exporter.export.run import execute
from qualtrics_exporter.export.run_context import MAX_WRITE_SECONDS, RunContext
from qualtrics_exporter.export.sample import Sample, sample_of, surveyed_groups
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, Status, entry_of
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runner:
    """Takes claimed runs to their end."""

    store: StatusStore
    clients: ClientFactory
    clock: Clock
    identity: ProcessIdentity
    default_zone: str
    memory: RecipientMemory
    memories: Memories
    metrics: Metrics
    clock_unsure: Callable[[], bool]
    """Whether the clock was set forward a moment ago, and may be wrong."""
    max_write_seconds: float = MAX_WRITE_SECONDS
    ends_turn: ClassVar[bool] = False  # after a failed run, the check comes in the same turn: it shows why

    async def due(self, now: Situation) -> ActiveRun | None:
        """The run that was just claimed or taken over."""
        return now.claimed

    async def do(self, now: Situation, run: ActiveRun) -> Exporter:
        """Take the run to its end."""
        log.info("run %s of %s: %s, attempt %d, from %s", run.id, now.key, run.trigger, run.attempt, run.step)
        with self.metrics.running():
            await self.run(now.key, now.exporter, run)
        self.memories.of(now.key).qualtrics_passed = None  # if the run failed, the check shows why
        return await self.store.read(now.key)

    async def run(self, key: Key, exporter: Exporter, run: ActiveRun) -> None:
        """Do the rest of a run.

        Returns when the run has ended or another process has taken it over. Cancelling leaves a run that has not
        reached its send for the next start, and waits for a send in progress.
        """
        journal = StatusJournal(self.store, key, self.clock, self._finished)
        try:
            while True:
                try:
                    async with journal.heartbeat(run):
                        await self._attempt(journal, exporter, run)
                except SpecChanged:
                    log.info("%s was edited during run %s: starting again with the new spec", key, run.id)
                    exporter, run = await self._start_again(key, run)
                else:
                    return
        except Abandoned as why:
            cause = str(why) or "another process has taken it over"
            log.warning("stopped working on run %s of %s: %s", run.id, key, cause)

    def _finished(self, exporter: Exporter, ended: Ended, now: datetime) -> Status:
        return finished(exporter, ended, now, self.default_zone)

    async def _attempt(self, journal: StatusJournal, exporter: Exporter, run: ActiveRun) -> None:
        try:
            if problem := spec_problem(exporter, self.default_zone):
                raise problem
            assert exporter.spec is not None  # noqa: S101  no problem, so there is a spec
            clients = await self.clients.both(exporter, exporter.spec)
        except ExportError as error:
            await journal.finish(run, without_clients(run, error, self.clock.now()))
            return
        context = RunContext(
            *(run, exporter.spec, clients, journal, self.clock),
            check_first=run.step == "Claimed" and not conditions.is_ready(exporter.status, exporter.generation),
            deadline=self._time_left(exporter.spec, run),
            memory=partial(self.memory.hold, tenant_of(exporter)),
            sample=self._sample(exporter, exporter.spec, run),
            previous=previous_audience(exporter.status.history or []),
            export_first=begins_with_export(
                exporter.spec.nexthink, exporter.status.heavy_query, exporter.generation, self.clock.now()
            ),
            clock_unsure=self.clock_unsure,
            max_write_seconds=self.max_write_seconds,
        )
        await execute(context)

    def _sample(self, exporter: Exporter, spec: Spec, run: ActiveRun) -> Sample | None:
        status, name = exporter.status, f"{exporter.namespace}/{exporter.name}"
        surveyed = surveyed_groups(status.sampled_groups, status.history)
        return sample_of(spec, name, schedule_of(exporter, spec, self.default_zone), run, surveyed)

    def _time_left(self, spec: Spec, run: ActiveRun) -> timedelta:
        """How long the run may still take. A future start time is ignored: a clock that was ahead wrote it."""
        elapsed = max(timedelta(0), self.clock.now() - run.start_time)
        return max(timedelta(0), run_deadline(spec) - elapsed)

    async def _start_again(self, key: Key, run: ActiveRun) -> tuple[Exporter, ActiveRun]:
        again: ActiveRun | None = None

        def claim(exporter: Exporter) -> Status | None:
            nonlocal again
            stored = exporter.status.active_run
            if again is not None and stored == again:
                return None  # the reply to the same write was lost
            if stored is None or (stored.id, stored.holder) != (run.id, run.holder):
                raise Abandoned
            again = ActiveRun(
                id=run.id,
                trigger=run.trigger,
                scheduled_time=run.scheduled_time,
                start_time=run.start_time,
                generation=exporter.generation,
                attempt=run.attempt + 1,
                holder=self.identity.new_holder(),
                heartbeat_time=self.clock.now(),
                step="Claimed",
                send_attempts=run.send_attempts,
            )
            return exporter.status.model_copy(update={"active_run": again})

        exporter = await self.store.change(key, claim)
        assert again is not None  # noqa: S101  otherwise `claim` raised `Abandoned`
        return exporter, again


def without_clients(run: ActiveRun, error: ExportError, now: datetime) -> Ended:
    """The end of a run that has no clients. Its journal decides whether it was sent."""
    if run.step == "Sent":
        return Ended(entry_of(run, "Succeeded", Reason.SUCCEEDED, Reason.SUCCEEDED.meaning, now))
    if not run.before_send:
        message = unknown_message(run, f"the outcome could not be looked up: {error.what}")
        return Ended(entry_of(run, "Unknown", Reason.DELIVERY_UNKNOWN, message, now))
    return Ended(entry_of(run, "Failed", error.reason, f"{error.message} Nobody was mailed.", now))
