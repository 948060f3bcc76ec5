"""Reconcile one exporter: plan, write the plan down, act, announce, and say when to look again.

In this order, because the order makes it safe: the plan is one write, so whatever is then done was claimed. A run comes
before tests, checks and delivery figures, because it is the only thing that is late when it waits.
"""

import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.actions.check import QUERY_REASONS, Checker
from qualtrics_exporter.controller.actions.look_up import LookUps
from qualtrics_exporter.controller.actions.run import ClientFactory, Runner
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, Refused
from qualtrics_exporter.controller.kube.event_recorder import EventRecorder
from qualtrics_exporter.controller.leader_gaps import LeaderRecord
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan import requests
from qualtrics_exporter.controller.plan.deadlines import spec_problem
from qualtrics_exporter.controller.plan.reconcile import plan
from qualtrics_exporter.controller.plan.slots import Context
from qualtrics_exporter.controller.plan.wake import NEVER, Wake, next_wake
from qualtrics_exporter.controller.recipient_memory import RecipientMemory
from qualtrics_exporter.controller.run_holders import ProcessIdentity
from qualtrics_exporter.controller.status import conditions, events
from qualtrics_exporter.controller.status.store import Key, StatusStore
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.controller.work_queue import Turn
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, Status
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

ABANDONED_SECONDS = 300.0
"""A run in other hands whose heartbeat (every minute) has stopped for so long has lost its holder. If that is wrong, as
for a holder that cannot reach the API server, the holder loses the run at its next write.
"""

PLAN_SECONDS = 5.0
"""How long the write of a plan is tried: nothing was done yet, and the work queue comes back."""

_NUMBER = re.compile(r"[0-9]+")

Action = Callable[[], Awaitable[Exporter]]


class Reconciler:
    """Reconciles exporters; `reconcile` is what the work queue calls."""

    def __init__(
        self,
        store: StatusStore,
        credentials: ClientFactory,
        recorder: EventRecorder,
        metrics: Metrics,
        targets: Targets,
        clock: Clock,
        *,
        identity: ProcessIdentity,
        record: LeaderRecord,
        default_zone: str,
    ) -> None:
        self._store = store
        self._memories = memories = Memories()
        memory = RecipientMemory()
        self._runner = Runner(store, credentials, clock, identity, default_zone, memory, lambda: record.unsure)
        self._checker = Checker(store, credentials, targets, memories, clock, default_zone, memory)
        self._look_ups = LookUps(store, credentials, memories, clock)
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._identity = identity
        self._record = record
        self._zone = default_zone

    def forget(self, key: Key) -> None:
        """The exporter is gone."""
        self._memories.forget(key)

    async def reconcile(self, key: Key, turn: Turn) -> Wake:
        """Do what is due for one exporter; returns when to look at it again.

        Raises `NotFound` when it does not exist any more, `Unreachable` when the API server does not answer, `Refused`
        when it does not take what is written, `Forbidden` when the operator lacks the permission to write it. Any other
        error is reported about this exporter first.
        """
        try:
            return await self._reconcile(key, turn)
        except (Refused, Forbidden) as error:
            await self._report_refusal(key, error)
            raise
        except ClusterError:
            raise
        except Exception as error:
            await self._report_error(key, error)
            raise

    async def _reconcile(self, key: Key, turn: Turn) -> Wake:
        exporter, claimed = await self._plan(key, turn)
        if exporter.deleting:
            return NEVER
        if claimed:
            exporter = await self._run(key, exporter, claimed)
        if action := await self._action(key, exporter, claimed):
            before, exporter = exporter, await action()
            await self._announce(before, exporter)
        return self._next(key, exporter)

    async def _plan(self, key: Key, turn: Turn) -> tuple[Exporter, ActiveRun | None]:
        """Write down what is due; returns the run that this process has to do now."""
        holder = self._identity.new_holder()
        before: Exporter | None = None

        def change(exporter: Exporter) -> Status | None:
            nonlocal before
            run = exporter.status.active_run
            if before and run and run.holder == holder:
                return None  # the reply to our own write was lost
            before = exporter
            if exporter.ignored:
                log.warning("ignored what is not understood of %s: %s", key, ", ".join(exporter.ignored))
            if exporter.deleting:
                return None
            context = Context(
                now=self._clock.now(),
                holder=holder,
                default_zone=self._zone,
                leadership=self._record.current,
                first=turn.first,
                waited=turn.waited,
                unsure=self._record.unsure,
                orphaned=self._is_orphan(key, run),
                waiting=turn.waiting,
                in_progress=turn.in_progress,
            )
            return plan(exporter, context).status

        # `plan` repairs the status. Here it is as it was found: the entries of a repair are news.
        after = await self._store.change(key, change, patience=PLAN_SECONDS, repair=False)
        run = after.status.active_run
        await self._announce(before or after, after)
        return after, run if run and run.holder == holder else None

    def _is_orphan(self, key: Key, run: ActiveRun | None) -> bool:
        """Whether nobody can be working on the run. This process does not: it works on an exporter in one task."""
        memory = self._memories.of(key)
        if run is None or self._identity.is_own(run.holder) or self._identity.succeeds(run.holder):
            memory.foreign_run = None
            return run is not None
        seen = (run.id, run.holder, run.step, run.attempt, run.heartbeat_time)
        now = self._clock.monotonic()
        if memory.foreign_run != seen:
            memory.foreign_run, memory.foreign_since = seen, now
        return now - memory.foreign_since >= ABANDONED_SECONDS

    async def _run(self, key: Key, exporter: Exporter, run: ActiveRun) -> Exporter:
        log.info("run %s of %s: %s, attempt %d, from %s", run.id, key, run.trigger, run.attempt, run.step)
        with self._metrics.running():
            await self._runner.run(key, exporter, run)
        self._memories.of(key).qualtrics_well = None  # if the run failed, the check shows why
        after = await self._store.read(key)
        await self._announce(exporter, after)
        return after

    async def _action(self, key: Key, exporter: Exporter, ran: ActiveRun | None) -> Action | None:
        """The first of these that is to be done now: a test, a check, a look-up, figures. A run comes before them."""
        if exporter.status.active_run:
            return None
        unchecked = not conditions.query_was_checked(exporter.status, exporter.generation)
        if ran:
            # `Ready` is not for a run to touch. After one that failed, a check is worth it now, not in hours.
            failed = next((e for e in exporter.status.history or [] if e.id == ran.id and e.result == "Failed"), None)
            query = unchecked or bool(failed and failed.reason in QUERY_REASONS)
            return partial(self._checker.check, key, exporter, query=query) if failed else None
        problem = spec_problem(exporter, self._zone)
        token = requests.requested(requests.TEST, exporter)
        if token and (problem or not requests.wants_delivery(exporter)):
            return partial(self._checker.dry_test, key, exporter, token)
        if await self._checker.due(key, exporter):
            query = unchecked or self._checker.tries_execution(exporter)
            return partial(self._checker.check, key, exporter, query=query)
        if problem:
            return None  # Qualtrics cannot be asked: the spec says with which credentials
        if entry := self._look_ups.outcome_due(key, exporter.status):
            return partial(self._look_ups.look_again, key, exporter, entry)
        if entry := self._look_ups.figures_due(key, exporter.status):
            return partial(self._look_ups.read_figures, key, exporter, entry)
        return None

    def _next(self, key: Key, exporter: Exporter) -> Wake:
        now = self._clock.now()
        memory = self._memories.of(key)
        if exporter.status.active_run and memory.foreign_run:
            return Wake(now + timedelta(seconds=ABANDONED_SECONDS / 5))
        monotonic = self._clock.monotonic()
        entries = {entry.id for entry in (*(exporter.status.history or []), exporter.status.last_test) if entry}
        memory.retries = {question: retry for question, retry in memory.retries.items() if question.run in entries}
        retries = {question: _later(now, retry.after - monotonic) for question, retry in memory.retries.items()}
        self._memories.tidy(key)
        return next_wake(exporter, now, self._zone, retries)

    async def _announce(self, before: Exporter, after: Exporter) -> None:
        if before.status is after.status:
            return
        for entry in events.new_entries(before.status, after.status):
            self._metrics.run_ended(entry)
        for event in events.events(before, after):
            await self._recorder.record(
                after, event.type, event.reason, event.note, action=event.action, dedup=event.dedup
            )

    async def _report_refusal(self, key: Key, error: Refused | Forbidden) -> None:
        """A status that cannot be written cannot say so; an Event is an object of its own."""
        with contextlib.suppress(ClusterError):
            # Without the permission to read there is no Event: then it was not the write that was forbidden.
            exporter, reason = await self._store.read(key), Reason.STATUS_REFUSED
            note = f"{reason.meaning} {reason.next_step} What happened: {error}."
            # Another cause is another Event, but a quota with other numbers is not.
            dedup = f"{key.uid} {exporter.generation} {error.status} {_NUMBER.sub('#', str(error))}"
            await self._recorder.record(exporter, "Warning", reason, note, action="Write", dedup=dedup)

    async def _report_error(self, key: Key, error: Exception) -> None:
        """Report an unexpected error to the user of the exporter, in its conditions and by an Event."""
        kind, reason = type(error).__name__, Reason.INTERNAL_ERROR
        self._metrics.failed("reconcile")
        try:
            exporter = await self._store.read(key)
            note = f"{reason.meaning} It is tried again ({kind}). {reason.next_step}"
            dedup = f"{key.uid} {exporter.generation} {kind}"
            await self._recorder.record(exporter, "Warning", reason, note, action="Reconcile", dedup=dedup)
            await self._store.change(
                key,
                lambda fresh: conditions.internal_error(fresh.status, kind, fresh.generation, self._clock.now()),
                patience=PLAN_SECONDS,
            )
        except ClusterError:
            return
        except Exception:
            log.exception("an error about %s could not be reported", key)


def _later(now: datetime, seconds: float) -> datetime:
    """That many seconds from now; the last day of the calendar if there is no such time."""
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return NEVER.at
