"""The test that e-mails nobody, requested by an annotation. Its result is in `status.lastTest`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar, cast

from qualtrics_exporter.controller.actions import Situation
from qualtrics_exporter.controller.actions.check_inputs import CheckInputs, too_slow
from qualtrics_exporter.controller.plan import requests
from qualtrics_exporter.controller.plan.usable_spec import spec_problem
from qualtrics_exporter.controller.recipient_memory import RecipientMemory
from qualtrics_exporter.controller.status import resolution
from qualtrics_exporter.controller.status.key import Key, tenant_of
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.export.dry_test import DryTest, counting, counting_bytes, dry_test, dry_test_entry
from qualtrics_exporter.export.guards import previous_audience
from qualtrics_exporter.export.run_ids import test_run_id
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.remote.time_limit import OutOfTime, TimeLimit
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import Status

TEST_SECONDS = 1800.0
"""How long Nexthink may take for a test, which may have to export the whole result. A slot of the same exporter waits
for the test."""


@dataclass(frozen=True, slots=True)
class DryTester:
    """Does dry tests and stores their results. Each test also checks everything that a check does."""

    store: StatusStore
    inputs: CheckInputs
    memory: RecipientMemory
    default_zone: str
    ends_turn: ClassVar[bool] = True

    async def due(self, now: Situation) -> requests.Token | None:
        """The token of the test that is requested."""
        token = requests.requested(requests.TEST, now.exporter)
        if token is None or not now.at_rest:
            return None
        # With a spec that cannot be used, even a delivering test is dry: it reports the problem.
        dry = not requests.wants_delivery(now.exporter) or spec_problem(now.exporter, self.default_zone)
        return token if dry else None

    async def do(self, now: Situation, token: requests.Token) -> Exporter:
        """Do the test that the token requests. It needs no journal: its receipt is written together with its result."""
        key, exporter = now.key, now.exporter
        run_id = test_run_id(exporter.uid, token.identity)
        entry, verdict = await self._done(key, exporter, run_id)

        def change(fresh: Exporter) -> Status | None:
            if requests.requested(requests.TEST, fresh) != token:
                return None
            status = requests.with_receipt(requests.TEST, fresh, fresh.status, token)
            status = resolution.with_last_test(status, entry)
            if fresh.generation != exporter.generation:
                return status
            status = self.inputs.with_heavy_query(fresh, status, verdict)
            return self.inputs.status_after(key, fresh, status, verdict)

        return await self.store.change(key, change)

    async def _done(self, key: Key, exporter: Exporter, run_id: str) -> DryTest:
        inputs, clock = self.inputs, self.inputs.clock
        inputs.memories.of(key).qualtrics_passed = None  # a test checks everything
        if problem := spec_problem(exporter, self.default_zone):
            verdict = Verdict(spec=problem)
            return DryTest(dry_test_entry(verdict, exporter.spec, run_id, clock.now(), clock.now()), verdict)
        spec = cast("Spec", exporter.spec)  # there is no problem with it
        prepared = await inputs.prepare(key, exporter, spec)
        count = _Count(inputs, self.memory, exporter, spec)
        connections = prepared.connections
        if not (await connections.texts.check(spec)).error:  # otherwise the query does not run: nobody is counted
            connections = replace(connections, nexthink_client=count.nexthink_client)
        test = await dry_test(
            spec,
            connections,
            clock,
            run_id,
            wanted=counting(spec, reserve=count.reserve, export_first=inputs.export_first(exporter, spec)),
            known=prepared.known,
            previous=previous_audience(exporter.status.history or ()),
        )
        return DryTest(test.entry, inputs.complete(key, prepared, test.verdict))


@dataclass(slots=True)
class _Count:
    """The time and the memory in which the people of a query are counted."""

    inputs: CheckInputs
    memory: RecipientMemory
    exporter: Exporter
    spec: Spec
    limit: TimeLimit = field(init=False)
    held: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self.limit = TimeLimit(self.inputs.clock, TEST_SECONDS)

    @asynccontextmanager
    async def nexthink_client(self) -> AsyncIterator[NexthinkClient]:
        """The client, for as long as counting may take. Then the memory is given back."""
        async with self.held:
            try:
                async with self.limit:
                    yield await self.inputs.credentials.nexthink(self.exporter, self.spec)
            except OutOfTime as out_of_time:
                what = f"Nexthink did not return the people of the query within {TEST_SECONDS / 60:g} minutes"
                raise too_slow(what, out_of_time) from None

    async def reserve(self, _again: bool) -> None:
        """Wait for the memory. That time does not count: other runs have the memory meanwhile."""
        self.limit.restart(None)
        size = counting_bytes(self.spec)
        await self.held.enter_async_context(self.memory.hold(tenant_of(self.exporter), size))
        self.limit.restart(TEST_SECONDS)
