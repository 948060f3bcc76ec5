"""Reconcile one exporter: read, plan, act, announce, and say when to look again.

This order makes it safe: the plan is one write, so everything that is then done was claimed before. The table of
actions in `app.build` says what is done, and in which order.
"""

import logging
from dataclasses import dataclass
from typing import Any

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.actions import Action, Situation
from qualtrics_exporter.controller.actions.questions import Questions
from qualtrics_exporter.controller.announcer import Announcer
from qualtrics_exporter.controller.election.leadership import LeaderRecord
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, Refused
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.plan.next_status import plan
from qualtrics_exporter.controller.plan.wake import NEVER, Wake, next_wake
from qualtrics_exporter.controller.queue.work_item import Turn
from qualtrics_exporter.controller.run_holders import RunHolders
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.remote.waits import WAITING_FOR
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import ActiveRun, Status

log = logging.getLogger(__name__)

PLAN_SECONDS = 5.0
"""How long the plan is written: nothing was done yet, and the work queue comes back."""


@dataclass(frozen=True)
class Reconciler:
    """Reconciles exporters; the work queue calls `reconcile`."""

    store: StatusStore
    holders: RunHolders
    actions: tuple[Action[Any], ...]
    questions: Questions
    memories: Memories
    announcer: Announcer
    record: LeaderRecord
    clock: Clock
    zone: str

    async def reconcile(self, key: Key, turn: Turn) -> Wake:
        """Do what is due for one exporter; returns when to look at it again.

        Raises `NotFound` if it does not exist any more, `Unreachable` if the API server does not answer, `Refused` if
        the API server rejects the status, and `Forbidden` if the operator may not write it. Any other error is
        announced before it is raised.
        """
        WAITING_FOR.set(key)
        try:
            return await self._reconcile(key, turn)
        except (Refused, Forbidden) as error:
            await self.announcer.write_refused(key, error)
            raise
        except ClusterError:
            raise
        except Exception as error:
            await self.announcer.unexpected_error(key, error)
            raise

    async def _reconcile(self, key: Key, turn: Turn) -> Wake:
        exporter, claimed = await self._plan(key, turn)
        if exporter.deleting:
            return NEVER
        return self._next_wake(key, await self._act(Situation(key, exporter, claimed, urgent=turn.urgent)))

    async def _plan(self, key: Key, turn: Turn) -> tuple[Exporter, ActiveRun | None]:
        """Write what is due; returns the run that this process has to do now."""
        holder = self.holders.identity.new_holder()
        before: Exporter | None = None

        def change(exporter: Exporter) -> Status | None:
            nonlocal before
            run = exporter.status.active_run
            if before and run and run.holder == holder:
                return None  # the reply to the same write was lost
            before = exporter
            if exporter.ignored:
                log.warning("ignored invalid fields of the status of %s: %s", key, ", ".join(exporter.ignored))
            if exporter.deleting:
                return None
            context = Context(
                now=self.clock.now(),
                holder=holder,
                default_zone=self.zone,
                leadership=self.record.current,
                first=turn.first,
                waited=turn.waited,
                clock_unsure=self.record.clock_unsure,
                orphaned=self.holders.is_orphaned(key, run),
                waiting=turn.waiting,
                in_progress=turn.in_progress,
            )
            return plan(exporter, context).status

        # Without a repair by the store: `plan` repairs the status, and the entries of the repair are announced.
        after = await self.store.change(key, change, patience=PLAN_SECONDS, repair=False)
        run = after.status.active_run
        claimed = run if run and run.holder == holder else None
        if claimed and claimed.attempt == 1:
            self.announcer.claimed(claimed, turn.waited)
        await self.announcer.changed(before or after, after)
        return after, claimed

    async def _act(self, situation: Situation) -> Exporter:
        """Do the first action that is due; returns the exporter as it is afterwards."""
        for action in self.actions:
            if (what := await action.due(situation)) is None:
                continue
            exporter = await action.do(situation, what)
            await self.announcer.changed(situation.exporter, exporter)
            situation = Situation(situation.key, exporter, ended=situation.claimed, urgent=situation.urgent)
            if action.ends_turn:
                break
        return situation.exporter

    def _next_wake(self, key: Key, exporter: Exporter) -> Wake:
        retries = self.questions.retries(key, exporter.status)
        foreign_run = self.memories.of(key).foreign_run is not None
        self.memories.tidy(key)
        return next_wake(exporter, self.clock.now(), self.zone, retries, foreign_run=foreign_run)
