"""Checks: whether the exporter could run, without e-mailing anybody. Their results are in the conditions."""

from dataclasses import dataclass, replace
from typing import ClassVar, cast

from qualtrics_exporter.controller.actions import Situation
from qualtrics_exporter.controller.actions.check_inputs import CheckInputs
from qualtrics_exporter.controller.plan.usable_spec import spec_problem
from qualtrics_exporter.controller.plan.wake import check_due
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.export.checks import ONE_ADDRESS, check
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import HistoryEntry, Status

QUERY_REASONS = frozenset(
    {
        Reason.QUERY_NOT_FOUND,
        Reason.QUERY_NOT_PERMITTED,
        Reason.QUERY_REFUSED,
        Reason.QUERY_RETURNS_SEVERAL_FIELDS,
        Reason.QUERY_RETURNS_NO_EMAIL,
    }
)
"""After a run that failed with one of these reasons, a check runs the query again: only that shows whether it works."""


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks exporters."""

    store: StatusStore
    inputs: CheckInputs
    default_zone: str
    ends_turn: ClassVar[bool] = True

    async def due(self, now: Situation) -> bool | None:
        """Whether the check that is due executes the query; None if no check is due."""
        exporter = now.exporter
        unchecked = not conditions.query_was_checked(exporter.status, exporter.generation)
        if now.ended and not exporter.status.active_run:
            # A run does not change `Ready`. After a failed run, a check is useful now, not in hours.
            failed = _failed_entry(exporter, now.ended.id)
            return unchecked or failed.reason in QUERY_REASONS if failed else None
        time = self.inputs.clock.now()
        # Hundreds of new exporters would use up the rate limit before the slot of another one.
        if (
            now.at_rest
            and not now.urgent
            and (check_due(exporter, time) <= time or await self._secrets_changed(now.key, exporter))
        ):
            return unchecked or self.inputs.tries_execution(exporter)
        return None

    async def do(self, now: Situation, query: bool) -> Exporter:
        """Check the spec, the credentials and both services. `query` also runs the query."""
        key, exporter = now.key, now.exporter
        verdict = await self._verdict(key, exporter, query=query)
        memory = self.inputs.memories.of(key)
        if not verdict.error or verdict.qualtrics:
            memory.qualtrics_passed = None
        memory.failures = memory.failures + 1 if verdict.error and not verdict.needs_new_spec else 0
        if not verdict.error:
            memory.secrets = None  # nobody waits for a correction, and ten thousand pairs take megabytes

        def change(fresh: Exporter) -> Status | None:
            if fresh.generation != exporter.generation:
                return None  # the new spec has its own check
            status = fresh.status
            if status.heavy_query:  # otherwise no export has worked yet
                status = self.inputs.with_heavy_query(fresh, status, verdict)
            return self.inputs.status_after(key, fresh, status, verdict)

        return await self.store.change(key, change)

    async def _verdict(self, key: Key, exporter: Exporter, *, query: bool) -> Verdict:
        if problem := spec_problem(exporter, self.default_zone):
            return Verdict(spec=problem)
        spec = cast("Spec", exporter.spec)  # there is no problem with it
        prepared = await self.inputs.prepare(key, exporter, spec)
        wanted = replace(ONE_ADDRESS, export_first=self.inputs.export_first(exporter, spec)) if query else None
        verdict = await check(spec, prepared.connections, wanted=wanted, known=prepared.known)
        return self.inputs.complete(key, prepared, verdict)

    async def _secrets_changed(self, key: Key, exporter: Exporter) -> bool:
        """Whether a Secret of an exporter that is not Ready changed, which may have corrected it."""
        if exporter.spec is None or conditions.is_ready(exporter.status, exporter.generation):
            return False
        if spec_problem(exporter, self.default_zone):
            return False
        return self.inputs.memories.of(key).secrets != await self.inputs.credentials.versions(exporter, exporter.spec)


def _failed_entry(exporter: Exporter, run_id: str) -> HistoryEntry | None:
    return next((e for e in exporter.status.history or [] if e.id == run_id and e.result == "Failed"), None)
