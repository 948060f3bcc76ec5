"""Checks: whether the exporter could run, without e-mailing anybody. Their results are in the conditions."""

from dataclasses import dataclass, replace
from typing import cast

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.actions.check_inputs import CheckInputs
from qualtrics_exporter.controller.actions.dry_test import DryTester
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan import requests
from qualtrics_exporter.controller.plan.usable_spec import spec_problem
from qualtrics_exporter.controller.plan.wake import check_due
from qualtrics_exporter.controller.recipient_memory import RecipientMemory
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.export.checks import ONE_ADDRESS, check
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import Status

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
    """Checks exporters. Every method that changes an exporter returns it as it is afterwards."""

    store: StatusStore
    credentials: ClientFactory
    targets: Targets
    memories: Memories
    clock: Clock
    default_zone: str
    memory: RecipientMemory

    @property
    def _inputs(self) -> CheckInputs:
        return CheckInputs(self.credentials, self.targets, self.memories, self.clock)

    async def due(self, key: Key, exporter: Exporter) -> bool:
        """Whether the exporter is to be checked now."""
        now = self.clock.now()
        return check_due(exporter, now) <= now or await self._secrets_changed(key, exporter)

    def tries_execution(self, exporter: Exporter) -> bool:
        """Whether a check runs the query again that Nexthink failed to execute."""
        return self._inputs.tries_execution(exporter)

    async def check(self, key: Key, exporter: Exporter, *, query: bool) -> Exporter:
        """Check the spec, the credentials and both services. `query` also runs the query."""
        inputs = self._inputs
        verdict = await self._verdict(inputs, key, exporter, query=query)
        memory = self.memories.of(key)
        if not verdict.error or verdict.qualtrics:
            memory.qualtrics_well = None
        memory.failures = memory.failures + 1 if verdict.error and not verdict.needs_new_spec else 0
        if not verdict.error:
            memory.secrets = None  # nobody waits for a correction, and ten thousand pairs take megabytes

        def change(fresh: Exporter) -> Status | None:
            if fresh.generation != exporter.generation:
                return None  # the new spec has its own check
            status = fresh.status
            if status.heavy_query:  # otherwise no export has worked yet
                status = inputs.with_heavy_query(fresh, status, verdict)
            return inputs.status_after(key, fresh, status, verdict)

        return await self.store.change(key, change)

    async def dry_test(self, key: Key, exporter: Exporter, token: requests.Token) -> Exporter:
        """Do the test that the token requests. It e-mails nobody."""
        return await DryTester(self.store, self._inputs, self.memory, self.default_zone).dry_test(key, exporter, token)

    async def _verdict(self, inputs: CheckInputs, key: Key, exporter: Exporter, *, query: bool) -> Verdict:
        if problem := spec_problem(exporter, self.default_zone):
            return Verdict(spec=problem)
        spec = cast("Spec", exporter.spec)  # there is no problem with it
        prepared = await inputs.prepare(key, exporter, spec)
        wanted = replace(ONE_ADDRESS, export_first=inputs.export_first(exporter, spec)) if query else None
        verdict = await check(spec, prepared.connections, wanted=wanted, known=prepared.known)
        return inputs.complete(key, prepared, verdict)

    async def _secrets_changed(self, key: Key, exporter: Exporter) -> bool:
        """Whether a Secret of an exporter that is not Ready changed, which may have corrected it."""
        if exporter.spec is None or conditions.is_ready(exporter.status, exporter.generation):
            return False
        if spec_problem(exporter, self.default_zone):
            return False
        return self.memories.of(key).secrets != await self.credentials.versions(exporter, exporter.spec)
