"""What the reconciler does for an exporter after it has written the plan: one ordered table of actions.

run.py           takes a claimed run to its end
check.py         checks: whether the exporter could work
dry_test.py      the test that e-mails nobody
check_inputs.py  what only the controller contributes to checks and dry tests
look_up.py       looks for the distribution of a run whose outcome is unknown
delivery.py      reads what became of the mails of a run
questions.py     what the last two share: when to ask Qualtrics, and when to ask again
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from qualtrics_exporter.controller.actions.check import QUERY_REASONS, Checker
from qualtrics_exporter.controller.actions.delivery import DeliveryFigures
from qualtrics_exporter.controller.actions.look_up import OutcomeLookUps
from qualtrics_exporter.controller.actions.run import Runner
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan import requests
from qualtrics_exporter.controller.plan.usable_spec import spec_problem
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, HistoryEntry
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Situation:
    """An exporter whose turn it is, after its plan was written."""

    key: Key
    exporter: Exporter
    claimed: ActiveRun | None = None
    """The run that this process has claimed and has to do now."""
    ended: ActiveRun | None = None
    """The run that this process has just done."""

    @property
    def at_rest(self) -> bool:
        """Whether no run needs this turn."""
        return not (self.claimed or self.ended or self.exporter.status.active_run)


@dataclass(frozen=True, slots=True)
class Action(Generic[T]):
    """One kind of action. `due` returns what to do now, or None; `do` returns the exporter as it is afterwards."""

    name: str
    due: Callable[[Situation], Awaitable[T | None]]
    do: Callable[[Situation, T], Awaitable[Exporter]]
    ends_turn: bool = True
    """Whether the exporter then waits for its next turn."""


class Actions:
    """The actions of one process."""

    def __init__(
        self,
        store: StatusStore,
        runner: Runner,
        checker: Checker,
        look_ups: OutcomeLookUps,
        figures: DeliveryFigures,
        memories: Memories,
        metrics: Metrics,
        default_zone: str,
    ) -> None:
        self._store = store
        self._runner = runner
        self._checker = checker
        self._look_ups = look_ups
        self._figures = figures
        self._memories = memories
        self._metrics = metrics
        self._zone = default_zone
        self.table: tuple[Action[Any], ...] = (
            # The first action that is due is done, then the next exporter has its turn. A run comes first, because only
            # a run is late when it waits. After a failed run the check comes in the same turn: it shows why.
            Action("run", self._run_due, self._run, ends_turn=False),
            # Somebody waits for the result of a test. It also checks everything that a check does.
            Action("dry test", self._dry_test_due, self._dry_test),
            Action("check", self._check_due, self._check),
            Action("look-up of an outcome", self._look_up_due, self._look_up),
            Action("delivery figures", self._figures_due, self._read_figures),
        )

    async def _run_due(self, now: Situation) -> ActiveRun | None:
        return now.claimed

    async def _run(self, now: Situation, run: ActiveRun) -> Exporter:
        log.info("run %s of %s: %s, attempt %d, from %s", run.id, now.key, run.trigger, run.attempt, run.step)
        with self._metrics.running():
            await self._runner.run(now.key, now.exporter, run)
        self._memories.of(now.key).qualtrics_well = None  # if the run failed, the check shows why
        return await self._store.read(now.key)

    async def _dry_test_due(self, now: Situation) -> requests.Token | None:
        token = requests.requested(requests.TEST, now.exporter)
        if token is None or not now.at_rest:
            return None
        # With a spec that cannot be used, even a delivering test is dry: it reports the problem.
        dry = not requests.wants_delivery(now.exporter) or spec_problem(now.exporter, self._zone)
        return token if dry else None

    async def _dry_test(self, now: Situation, token: requests.Token) -> Exporter:
        return self._with_failure(await self._checker.dry_test(now.key, now.exporter, token))

    async def _check_due(self, now: Situation) -> bool | None:
        """Whether the check that is due executes the query; None if no check is due."""
        exporter = now.exporter
        unchecked = not conditions.query_was_checked(exporter.status, exporter.generation)
        if now.ended and not exporter.status.active_run:
            # A run does not change `Ready`. After a failed run, a check is useful now, not in hours.
            failed = _failed_entry(exporter, now.ended)
            return unchecked or failed.reason in QUERY_REASONS if failed else None
        if now.at_rest and await self._checker.due(now.key, exporter):
            return unchecked or self._checker.tries_execution(exporter)
        return None

    async def _check(self, now: Situation, query: bool) -> Exporter:
        return self._with_failure(await self._checker.check(now.key, now.exporter, query=query))

    def _with_failure(self, checked: Exporter) -> Exporter:
        """Count an unexpected error of the check in the metrics."""
        ready = checked.status.condition(conditions.READY)
        if ready and ready.reason == Reason.INTERNAL_ERROR:
            self._metrics.failed("check")
        return checked

    async def _look_up_due(self, now: Situation) -> HistoryEntry | None:
        return self._look_ups.due(now.key, now.exporter.status) if self._can_ask(now) else None

    async def _look_up(self, now: Situation, entry: HistoryEntry) -> Exporter:
        return await self._look_ups.look_up(now.key, now.exporter, entry)

    async def _figures_due(self, now: Situation) -> HistoryEntry | None:
        return self._figures.due(now.key, now.exporter.status) if self._can_ask(now) else None

    async def _read_figures(self, now: Situation, entry: HistoryEntry) -> Exporter:
        return await self._figures.read(now.key, now.exporter, entry)

    def _can_ask(self, now: Situation) -> bool:
        """Whether Qualtrics can be asked: the spec names the credentials."""
        return now.at_rest and spec_problem(now.exporter, self._zone) is None


def _failed_entry(exporter: Exporter, run: ActiveRun) -> HistoryEntry | None:
    return next((e for e in exporter.status.history or [] if e.id == run.id and e.result == "Failed"), None)
