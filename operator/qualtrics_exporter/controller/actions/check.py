"""Checks and dry tests: both ask whether the exporter could work, and write down what was found."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.credentials import NOT_READABLE, ClientFactory
from qualtrics_exporter.controller.memory import Memories, Well
from qualtrics_exporter.controller.plan import requests
from qualtrics_exporter.controller.plan.usable_spec import spec_problem
from qualtrics_exporter.controller.plan.wake import CHECK_INTERVAL, check_due
from qualtrics_exporter.controller.recipient_memory import RecipientMemory
from qualtrics_exporter.controller.status import conditions, resolution
from qualtrics_exporter.controller.status.conditions import Verdict
from qualtrics_exporter.controller.status.key import Key, tenant_of
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.export.checks import (
    LOOK,
    Checks,
    check_nexthink,
    check_qualtrics,
    counting,
    counting_bytes,
    remarks_of,
    test_entry,
)
from qualtrics_exporter.export.guards import Remark, contradictions, previous_audience
from qualtrics_exporter.export.heavy_query import begins_with_export, remembered, to_be_tried_again
from qualtrics_exporter.export.query import Answer
from qualtrics_exporter.export.run_ids import test_run_id
from qualtrics_exporter.remote.errors import ExportError, Permanent, Transient
from qualtrics_exporter.remote.time_limit import OutOfTime, TimeLimit
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import Status

RETRY_FIRST = timedelta(seconds=30)
RETRY_MOST = timedelta(minutes=15)
# A check with all its patience would keep its exporter's own slot waiting for many minutes.
CHECK_SECONDS = 120.0
# A test may have to export the whole result. Its exporter's own slot waits for it.
TEST_SECONDS = 1800.0

# After one of these a check has to execute the query again: nothing else shows whether it works.
QUERY_REASONS = frozenset(
    {
        Reason.QUERY_NOT_FOUND,
        Reason.QUERY_NOT_PERMITTED,
        Reason.QUERY_REFUSED,
        Reason.QUERY_RETURNS_SEVERAL_FIELDS,
        Reason.QUERY_RETURNS_NO_EMAIL,
    }
)

# These are about the rows of the result. A check that does not read rows cannot take them back.
RESULT_REASONS = frozenset({Reason.QUERY_RETURNS_SEVERAL_FIELDS, Reason.QUERY_RETURNS_NO_EMAIL})


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks exporters. Every method returns the exporter as it stands afterwards."""

    store: StatusStore
    credentials: ClientFactory
    targets: Targets
    memories: Memories
    clock: Clock
    default_zone: str
    memory: RecipientMemory

    async def due(self, key: Key, exporter: Exporter) -> bool:
        """Whether the exporter is to be checked now."""
        now = self.clock.now()
        return check_due(exporter, now) <= now or await self._secrets_moved(key, exporter)

    def tries_execution(self, exporter: Exporter) -> bool:
        """Whether a check tries again what Nexthink failed to execute."""
        heavy, spec = exporter.status.heavy_query, exporter.spec
        return bool(spec and to_be_tried_again(spec.nexthink, heavy, exporter.generation, self.clock.now()))

    async def check(self, key: Key, exporter: Exporter, *, query: bool) -> Exporter:
        """Check spec, credentials and both remote sides; `query` also executes the query."""
        verdict, checks = await self._look(key, exporter, query=query)
        memory = self.memories.of(key)
        if not verdict.error or verdict.qualtrics:
            memory.qualtrics_well, memory.remarks = None, ()
        memory.failures = memory.failures + 1 if verdict.error and not verdict.waits_for_its_user else 0
        if not verdict.error:
            memory.secrets = None  # nobody waits for a correction, and ten thousand pairs would be megabytes

        def change(fresh: Exporter) -> Status | None:
            if fresh.generation != exporter.generation:
                return None  # another spec: it is checked by itself
            status = fresh.status
            if status.heavy_query:  # otherwise no export has worked yet
                status = self._remembering(fresh, status, checks)
            return self._judged(key, fresh, status, verdict, self.clock.now())

        return await self.store.change(key, change)

    async def dry_test(self, key: Key, exporter: Exporter, token: requests.Token) -> Exporter:
        """A test that mails nobody: there is nothing to journal, its receipt is written with its outcome."""
        start = self.clock.now()
        self.memories.of(key).qualtrics_well = None  # who asks for a test wants everything to be looked at
        verdict, checks = await self._look(key, exporter, query=True, count=True)
        if checks is None:  # the spec cannot be used at all
            checks = Checks(nexthink=verdict.spec, qualtrics=None)
        run_id, previous = test_run_id(exporter.uid, token.identity), previous_audience(exporter.status.history or ())
        entry = test_entry(checks, exporter.spec, run_id, start, self.clock.now(), previous)

        def change(fresh: Exporter) -> Status | None:
            if requests.requested(requests.TEST, fresh) != token:
                return None
            now = self.clock.now()
            status = requests.with_receipt(requests.TEST, fresh, fresh.status, token)
            status = resolution.with_last_test(status, entry)
            if fresh.generation != exporter.generation:
                return status
            return self._judged(key, fresh, self._remembering(fresh, status, checks), verdict, now)

        return await self.store.change(key, change)

    def _remembering(self, exporter: Exporter, status: Status, checks: Checks | None) -> Status:
        """The status with what a look learnt about executing the query."""
        learnt = checks.answer.begin_with if checks and checks.answer else None
        drifted = conditions.has_drifted(status, exporter.generation)
        heavy = remembered(status.heavy_query, learnt, exporter.generation, self.clock.now(), drifted=drifted)
        return status.model_copy(update={"heavy_query": heavy})

    def _judged(self, key: Key, exporter: Exporter, status: Status, verdict: Verdict, now: datetime) -> Status:
        failures = self.memories.of(key).failures
        pause = min(RETRY_MOST, RETRY_FIRST * 2 ** min(max(failures - 1, 0), 10))
        status = conditions.checked(status, verdict, exporter.generation, now, suspended=exporter.suspended)
        return status.model_copy(
            update={
                "observed_generation": exporter.generation,
                "last_check_time": now,
                "next_retry_time": now + pause if verdict.error and not verdict.waits_for_its_user else None,
            }
        )

    async def _look(
        self, key: Key, exporter: Exporter, *, query: bool, count: bool = False
    ) -> tuple[Verdict, Checks | None]:
        """Check the spec, the credentials and both sides, each by itself: two mistakes are reported at once.

        `count` counts the people of the query, which takes more time than a check may take.
        """
        if problem := spec_problem(exporter, self.default_zone):
            return Verdict(spec=problem), None
        spec = cast("Spec", exporter.spec)
        texts = self.credentials.texts(exporter)
        text = await texts.check(spec)
        query = query and not text.error  # a query that is certainly wrong is not executed
        # Before they are read: a Secret that moves in between is noticed at the next look.
        memory = self.memories.of(key)
        memory.secrets = await self.credentials.versions(exporter, spec)
        looked_at = (exporter.generation, memory.secrets[1])
        trusted = memory.secrets[1] not in (None, NOT_READABLE)
        well = exporter.status.condition(conditions.QUALTRICS_READY)
        if not trusted or well is None or (well.status, well.observed_generation) != ("True", exporter.generation):
            memory.qualtrics_well = None  # another process may have found otherwise since

        async def nexthink() -> tuple[ExportError | None, Answer | None]:
            try:
                if query and count:
                    return await self._count(exporter, spec)
                async with asyncio.timeout(CHECK_SECONDS):
                    client = await self.credentials.nexthink(exporter, spec)
                    wanted = replace(LOOK, export_first=self._export_first(exporter, spec)) if query else None
                    return await check_nexthink(spec, client, texts.compare, wanted)
            except ExportError as error:
                return error, None
            except TimeoutError:
                return _too_slow("Nexthink"), None

        known = memory.qualtrics_well
        still_well = known is not None and known.what == looked_at and self.clock.monotonic() < known.until

        async def qualtrics() -> ExportError | None:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    client = await self.credentials.qualtrics(exporter, spec)
                    error = await check_qualtrics(spec, client)
                    memory.remarks = remarks_of(client)
                    if trusted and not error:
                        until = self.clock.monotonic() + CHECK_INTERVAL.total_seconds()
                        memory.qualtrics_well = Well(looked_at, until)
                    return error
            except ExportError as error:
                return error
            except TimeoutError:
                return _too_slow("Qualtrics")

        if still_well:
            nexthink_error, answer = await nexthink()
            # `Ready` is never True because of what is remembered.
            qualtrics_error = None if nexthink_error or text.error else await qualtrics()
        else:
            (nexthink_error, answer), qualtrics_error = await asyncio.gather(nexthink(), qualtrics())
        if not nexthink_error and not (answer and answer.read):
            nexthink_error = found_in_result(exporter.status, exporter.generation)
        checks = Checks(
            nexthink=nexthink_error,
            qualtrics=qualtrics_error,
            text=text.error,
            answer=answer,
            remarks=memory.remarks,
        )
        verdict = Verdict(
            nexthink=checks.nexthink,
            qualtrics=checks.qualtrics,
            query=checks.query_sync,
            text=text.error,
            remarks=(*text.remarks, *checks.remarks, *contradictions(spec), *self._duplicates(key)),
        )
        return verdict, checks

    async def _count(self, exporter: Exporter, spec: Spec) -> tuple[ExportError | None, Answer | None]:
        """Nexthink's side, and how many people the query returns. Raises `ExportError`."""
        limit = TimeLimit(self.clock, TEST_SECONDS)
        async with AsyncExitStack() as held:

            async def reserve_memory(_again: bool) -> None:
                limit.restart(None)  # other runs have the memory meanwhile
                await held.enter_async_context(self.memory.hold(tenant_of(exporter), counting_bytes(spec)))
                limit.restart(TEST_SECONDS)

            wanted = counting(spec, reserve=reserve_memory, export_first=self._export_first(exporter, spec))
            try:
                async with limit:
                    client = await self.credentials.nexthink(exporter, spec)
                    return await check_nexthink(spec, client, self.credentials.texts(exporter).compare, wanted)
            except OutOfTime:
                what = f"Nexthink did not return the people of the query within {TEST_SECONDS / 60:g} minutes"
                return Transient(Reason.REMOTE_UNAVAILABLE, what), None

    def _export_first(self, exporter: Exporter, spec: Spec) -> bool:
        heavy = exporter.status.heavy_query
        known = begins_with_export(spec.nexthink, heavy, exporter.generation, self.clock.now())
        return known and not self.tries_execution(exporter)

    def _duplicates(self, key: Key) -> list[Remark]:
        if not (others := ", ".join(self.targets.others(key)[:3])):
            return []
        return [Remark(Reason.DUPLICATE_TARGET, f"the same survey and message go to the same list by {others}")]

    async def _secrets_moved(self, key: Key, exporter: Exporter) -> bool:
        """Whether somebody may have corrected a Secret of an exporter that is not Ready: `get` by name shows it."""
        if exporter.spec is None or conditions.is_ready(exporter.status, exporter.generation):
            return False
        if spec_problem(exporter, self.default_zone):
            return False
        return self.memories.of(key).secrets != await self.credentials.versions(exporter, exporter.spec)


def found_in_result(status: Status, generation: int) -> ExportError | None:
    """What a test found wrong with the rows of this spec's query, unless a later run read them without an error."""
    condition = status.condition(conditions.NEXTHINK_READY)
    if not condition or (condition.status, condition.observed_generation) != ("False", generation):
        return None
    reason = next((reason for reason in RESULT_REASONS if reason == condition.reason), None)
    if reason is None:
        return None
    since, test = condition.last_transition_time, status.last_test
    if test and test.reason == reason and test.completion_time:
        since = max(since, test.completion_time)  # the condition may have been False before, for another reason
    if any(e.recipients and e.start_time and e.start_time >= since for e in status.history or []):
        return None
    what = condition.message.removesuffix(reason.next_step).rstrip().removesuffix(".")
    return Permanent(reason, what)


def _too_slow(side: str) -> Transient:
    what = f"{side} did not answer all checks within {CHECK_SECONDS:g} s"
    return Transient(Reason.REMOTE_UNAVAILABLE, what)
