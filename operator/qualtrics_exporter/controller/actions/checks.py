"""Checks and dry tests: both ask whether the exporter could work, and write down what was found."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller import conditions
from qualtrics_exporter.controller.conditions import Verdict
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan import requests
from qualtrics_exporter.controller.plan.spec import spec_problem
from qualtrics_exporter.controller.plan.wake import CHECK_INTERVAL, check_due
from qualtrics_exporter.controller.runs import Credentials
from qualtrics_exporter.controller.status import Key, StatusStore
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.export.checks import Checks, advice, check_nexthink, check_qualtrics, test_entry
from qualtrics_exporter.export.guards import Remark
from qualtrics_exporter.export.identity import test_run_id
from qualtrics_exporter.export.query import Answer
from qualtrics_exporter.export.steps import TEST_RECIPIENTS
from qualtrics_exporter.http.errors import ExportError, Transient
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import Status

RETRY_FIRST = timedelta(seconds=30)
RETRY_MOST = timedelta(minutes=15)
# A check with all its patience would keep its exporter's own slot waiting for many minutes.
CHECK_SECONDS = 120.0

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


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks exporters. Every method returns the exporter as it stands afterwards."""

    store: StatusStore
    credentials: Credentials
    targets: Targets
    memories: Memories
    clock: Clock
    default_zone: str

    async def due(self, key: Key, exporter: Exporter) -> bool:
        """Whether the exporter is to be checked now."""
        now = self.clock.now()
        return check_due(exporter, now) <= now or await self._secrets_moved(key, exporter)

    async def check(self, key: Key, exporter: Exporter, *, query: bool) -> Exporter:
        """Check spec, credentials and both remote sides; `query` also executes the query."""
        verdict, _ = await self._look(key, exporter, query=query)
        memory = self.memories.of(key)
        if not verdict.error or verdict.qualtrics:
            memory.qualtrics_well, memory.advice = None, ()
        memory.failures = memory.failures + 1 if verdict.error and not verdict.waits_for_its_user else 0
        if not verdict.error:
            memory.secrets = None  # nobody waits for a correction, and ten thousand pairs would be megabytes

        def change(fresh: Exporter) -> Status | None:
            if fresh.generation != exporter.generation:
                return None  # another spec: it is checked by itself
            return self._judged(key, fresh, fresh.status, verdict, self.clock.now())

        return await self.store.change(key, change)

    async def dry_test(self, key: Key, exporter: Exporter, token: requests.Token) -> Exporter:
        """A test that mails nobody: there is nothing to journal, its receipt is written with its outcome."""
        start = self.clock.now()
        self.memories.of(key).qualtrics_well = None  # who asks for a test wants everything to be looked at
        verdict, checks = await self._look(key, exporter, query=True, people=TEST_RECIPIENTS)
        if checks is None:  # the spec cannot be used at all
            checks = Checks(nexthink=verdict.spec, qualtrics=None)
        survey_id = exporter.spec.qualtrics.survey_id if exporter.spec else None
        entry = test_entry(checks, survey_id, test_run_id(exporter.uid, token.identity), start, self.clock.now())

        def change(fresh: Exporter) -> Status | None:
            if requests.requested(requests.TEST, fresh) != token:
                return None
            now = self.clock.now()
            status = requests.with_receipt(requests.TEST, fresh, fresh.status, token)
            status = status.model_copy(update={"last_test": entry})
            return self._judged(key, fresh, status, verdict, now) if fresh.generation == exporter.generation else status

        return await self.store.change(key, change)

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
        self, key: Key, exporter: Exporter, *, query: bool, people: int = 1
    ) -> tuple[Verdict, Checks | None]:
        """Check the spec, the credentials and both sides, each by itself: two mistakes are reported at once."""
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

        async def nexthink() -> tuple[ExportError | None, Answer | None]:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    client = await self.credentials.nexthink(exporter, spec)
                    return await check_nexthink(spec, client, texts.compare, query=query, people=people)
            except ExportError as error:
                return error, None
            except TimeoutError:
                return _too_slow("Nexthink"), None

        async def qualtrics() -> ExportError | None:
            now = self.clock.monotonic()
            if memory.qualtrics_well == looked_at and now < memory.qualtrics_well_until:
                return None
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    client = await self.credentials.qualtrics(exporter, spec)
                    error = await check_qualtrics(spec, client)
                    memory.advice = advice(client)
                    if looked_at[1] and not error:
                        memory.qualtrics_well = looked_at
                        memory.qualtrics_well_until = now + CHECK_INTERVAL.total_seconds()
                    return error
            except ExportError as error:
                return error
            except TimeoutError:
                return _too_slow("Qualtrics")

        (nexthink_error, answer), qualtrics_error = await asyncio.gather(nexthink(), qualtrics())
        checks = Checks(
            nexthink=nexthink_error,
            qualtrics=qualtrics_error,
            text=text.error,
            query_sync=answer.sync if answer else None,
            counts=answer.recipients.counts if answer else None,
            advice=memory.advice,
        )
        verdict = Verdict(
            nexthink=checks.nexthink,
            qualtrics=checks.qualtrics,
            query=checks.query_sync,
            text=text.error,
            remarks=(*text.remarks, *checks.advice, *self._duplicates(key)),
        )
        return verdict, checks

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


def _too_slow(side: str) -> Transient:
    what = f"{side} did not answer all checks within {CHECK_SECONDS:g} s"
    return Transient(Reason.REMOTE_UNAVAILABLE, what)
