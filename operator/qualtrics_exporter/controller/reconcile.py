"""Tend one exporter: read it fresh, write down what is due, do it, say what happened, tell when to look again.

In this order, because the order is what makes it safe: bookkeeping comes first and is one write, so whatever is then
done was claimed; a run comes before tests, checks and delivery figures, because it is the only thing that is late when
it waits.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import cast

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller import agenda, announce, conditions, delivery, settling
from qualtrics_exporter.controller.cluster import ClusterError, Forbidden, Refused
from qualtrics_exporter.controller.conditions import Verdict
from qualtrics_exporter.controller.events import Recorder
from qualtrics_exporter.controller.runs import Credentials, Runner
from qualtrics_exporter.controller.status import Key, StatusStore
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.export.checks import Checks, check_nexthink, check_qualtrics, test_entry
from qualtrics_exporter.export.guards import Remark, check_text
from qualtrics_exporter.export.identity import new_holder, test_run_id
from qualtrics_exporter.export.query import Answer
from qualtrics_exporter.export.steps import TEST_RECIPIENTS, find
from qualtrics_exporter.http.errors import ExportError, Transient
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import ActiveRun, Delivery, HistoryEntry, Status
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

RETRY_FIRST = timedelta(seconds=30)
RETRY_MOST = timedelta(minutes=15)
# A run in other hands that does not move for this long has lost them: longer than any step takes between two writes,
# and harmless if wrong, because its holder then loses the run at its next write.
ORPHAN_AFTER = timedelta(minutes=30)
DELIVERY_RETRY = timedelta(minutes=5)  # delivery figures, and runs that are looked for again
# Exporters at once for which the API server is asked; and those for which the remote sides are, outside of runs. Apart
# from each other: a remote side that hangs must not keep slots from being seen.
DESKS = 16
BENCHES = 16
PUT_OFF = timedelta(seconds=10)
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
Errand = Callable[[], Awaitable[Exporter]]


@dataclass(slots=True)
class _Memory:
    """What this process remembers of an exporter that is not at rest. Losing it costs a check, nothing else."""

    failures: int = 0
    secrets: tuple[str | None, str | None] | None = None
    stranger: tuple[str, str, int] | None = None  # a run in other hands
    stranger_since: datetime | None = None
    # When Qualtrics is asked again what it did not answer: a look or a figure, by the id of the run.
    asked_after: dict[str, datetime] = field(default_factory=dict)


class Reconciler:
    """Tends exporters; `tend` is what the scheduler calls."""

    def __init__(
        self,
        store: StatusStore,
        credentials: Credentials,
        runner: Runner,
        recorder: Recorder,
        metrics: Metrics,
        targets: Targets,
        clock: Clock,
        *,
        identity: str,
        default_zone: str,
        max_concurrent_runs: int,
    ) -> None:
        self._store = store
        self._credentials = credentials
        self._runner = runner
        self._recorder = recorder
        self._metrics = metrics
        self._targets = targets
        self._clock = clock
        self._identity = identity
        self._zone = default_zone
        self._places = asyncio.Semaphore(max_concurrent_runs)
        self._desks = asyncio.Semaphore(DESKS)
        self._benches = asyncio.Semaphore(BENCHES)
        self._memory: dict[Key, _Memory] = {}

    def forget(self, key: Key) -> None:
        """The exporter is gone."""
        self._memory.pop(key, None)

    async def tend(self, key: Key, first: bool) -> datetime:
        """Do what is due for one exporter; returns when to look at it again.

        Raises `Gone` when it does not exist any more, `Unreachable` when the API server does not answer, `Refused` when
        it does not take what is written, `Forbidden` when the operator may not write it.
        """
        try:
            return await self._tended(key, first)
        except (Refused, Forbidden) as error:
            await self._tell_refused(key, error)
            raise

    async def _tell_refused(self, key: Key, error: Refused | Forbidden) -> None:
        """Status cannot tell that it cannot be written; an Event is an object of its own."""
        with contextlib.suppress(ClusterError):
            # Who may not even read learns nothing of it: then it was not the write that was forbidden.
            exporter, reason = await self._store.read(key), Reason.STATUS_REFUSED
            note = f"{reason.meaning} {reason.next_step} What happened: {error}."
            dedup = f"{key.uid} {exporter.generation} {error.status}"
            await self._recorder.record(exporter, "Warning", reason, note, action="Write", dedup=dedup)

    async def _tended(self, key: Key, first: bool) -> datetime:
        async with self._desks:
            exporter = await self._store.read(key)
            if exporter.deleting:
                return agenda.NEVER
            orphan = self._orphan(key, exporter, first)
            noticed = self._clock.now()
            due = agenda.bookkeep(exporter, noticed, "", self._zone, orphaned=orphan is not None).claimed
            errand: Errand | None = None
            if not due:
                exporter, _ = await self._bookkeep(key, exporter, orphan, noticed, may_claim=False)
                errand = await self._errand(key, exporter)
        if due:
            async with self._places:
                exporter, claimed = await self._bookkeep(key, exporter, orphan, noticed, may_claim=True)
                if claimed:
                    exporter = await self._run(key, exporter, claimed)
            if claimed:
                errand = self._errand_after(key, exporter, claimed)
        if errand:
            if self._benches.locked():
                # Not to wait here: while a remote side hangs, slots of the exporters in this queue would wait as well.
                return self._clock.now() + PUT_OFF
            async with self._benches:
                exporter = await errand()
        return self._next(key, exporter)

    def _next(self, key: Key, exporter: Exporter) -> datetime:
        now = self._clock.now()
        memory = self._memory.get(key)
        if exporter.status.active_run and memory and memory.stranger:
            return now + ORPHAN_AFTER / 3
        wake = agenda.next_wake(exporter, now, self._zone)
        if memory and memory.asked_after:
            memory.asked_after = {run: after for run, after in memory.asked_after.items() if after > now}
            if wake <= now and memory.asked_after:
                return now + agenda.SECRET_WATCH  # what is due may be no more than a question that has to wait
        if memory and memory == _Memory():
            del self._memory[key]
        return wake

    # --- bookkeeping and runs

    def _orphan(self, key: Key, exporter: Exporter, first: bool) -> ActiveRun | None:
        """The active run, if nobody can be working on it: this process does not, or it would not be here."""
        memory = self._memory.setdefault(key, _Memory())
        run = exporter.status.active_run
        if run is None:
            memory.stranger = None
            return None
        now = self._clock.now()
        seen = (run.holder, run.step, run.attempt)
        if memory.stranger != seen:
            memory.stranger, memory.stranger_since = seen, now
        waited = now - (memory.stranger_since or now)
        if first or run.holder.startswith(f"{self._identity}/") or waited >= ORPHAN_AFTER:
            memory.stranger = None
            return run
        return None

    async def _bookkeep(
        self, key: Key, before: Exporter, orphan: ActiveRun | None, noticed: datetime, *, may_claim: bool
    ) -> tuple[Exporter, ActiveRun | None]:
        holder = f"{self._identity}/{new_holder()}"
        claimed: ActiveRun | None = None

        def change(exporter: Exporter) -> Status | None:
            nonlocal claimed
            run = exporter.status.active_run
            if claimed and run and run.holder == holder:
                return None  # the reply to our own write was lost
            orphaned = bool(
                orphan and run and (run.id, run.holder, run.attempt) == (orphan.id, orphan.holder, orphan.attempt)
            )
            plan = agenda.bookkeep(exporter, self._clock.now(), holder, self._zone, noticed=noticed, orphaned=orphaned)
            claimed = plan.claimed
            return None if claimed and not may_claim else plan.status

        after = await self._store.change(key, change)
        run = after.status.active_run
        await self._announce(before, after)
        return after, claimed if may_claim and run and run.holder == holder else None

    async def _run(self, key: Key, exporter: Exporter, run: ActiveRun) -> Exporter:
        log.info("run %s of %s: %s, attempt %d, from %s", run.id, key, run.trigger, run.attempt, run.step)
        with self._metrics.running():
            await self._runner.run(key, exporter, run)
        after = await self._store.read(key)
        await self._announce(exporter, after)
        return after

    async def _announce(self, before: Exporter, after: Exporter) -> None:
        for entry in announce.new_entries(before.status, after.status):
            self._metrics.run_ended(entry)
        for event in announce.events(before, after):
            await self._recorder.record(
                after, event.type, event.reason, event.note, action=event.action, dedup=event.dedup
            )

    # --- tests, checks, runs that are looked for again, delivery figures

    async def _errand(self, key: Key, exporter: Exporter) -> Errand | None:
        """The test, check, look or figure that is to be seen to now. A run that is active goes first."""
        if exporter.status.active_run:
            return None
        token = agenda.requested_test(exporter)
        if token and (not agenda.wants_delivery(exporter) or agenda.spec_problem(exporter, self._zone)):
            return partial(self._test, key, exporter, token)
        if await self._check_due(key, exporter):
            checked = conditions.query_was_checked(exporter.status, exporter.generation)
            return partial(self._check, key, exporter, query=not checked)
        if agenda.spec_problem(exporter, self._zone):
            return None  # Qualtrics cannot be asked: the spec says with which credentials
        if entry := self._question_due(key, settling.in_doubt(exporter.status), settling.next_look):
            return partial(self._look_again, key, exporter, entry)
        if entry := self._question_due(key, exporter.status.history or [], delivery.next_read):
            return partial(self._read_figures, key, exporter, entry)
        return None

    def _errand_after(self, key: Key, exporter: Exporter, run: ActiveRun) -> Errand | None:
        """A check after a run that failed: `Ready` is not for a run to touch, but worth a look now, not in hours."""
        failed = next((e for e in exporter.status.history or [] if e.id == run.id and e.result == "Failed"), None)
        if failed is None:
            return None
        checked = conditions.query_was_checked(exporter.status, exporter.generation)
        return partial(self._check, key, exporter, query=not checked or failed.reason in QUERY_REASONS)

    async def _check_due(self, key: Key, exporter: Exporter) -> bool:
        now = self._clock.now()
        return agenda.check_due(exporter, now) <= now or await self._secrets_moved(key, exporter)

    async def _test(self, key: Key, exporter: Exporter, token: str) -> Exporter:
        """A test that mails nobody: nothing to journal, its receipt is written with its outcome."""
        start = self._clock.now()
        verdict, checks = await self._looked(key, exporter, query=True, people=TEST_RECIPIENTS)
        if checks is None:  # the spec can't be used at all
            checks = Checks(nexthink=verdict.spec, qualtrics=None)
        survey_id = exporter.spec.qualtrics.survey_id if exporter.spec else None
        entry = test_entry(checks, survey_id, test_run_id(exporter.uid, token), start, self._clock.now())

        def change(fresh: Exporter) -> Status | None:
            if agenda.requested_test(fresh) != token:
                return None
            now = self._clock.now()
            status = agenda.with_test_receipt(fresh, fresh.status, token).model_copy(update={"last_test": entry})
            return self._judged(key, fresh, status, verdict, now) if fresh.generation == exporter.generation else status

        after = await self._store.change(key, change)
        await self._announce(exporter, after)
        return after

    async def _check(self, key: Key, exporter: Exporter, *, query: bool) -> Exporter:
        verdict, _ = await self._looked(key, exporter, query=query)
        memory = self._memory.setdefault(key, _Memory())
        memory.failures = memory.failures + 1 if verdict.error and not verdict.waits_for_its_user else 0
        if not verdict.error:
            memory.secrets = None  # nobody waits for them to be mended, and ten thousand pairs would be megabytes

        def change(fresh: Exporter) -> Status | None:
            if fresh.generation != exporter.generation:
                return None  # another spec: it will be checked by itself
            return self._judged(key, fresh, fresh.status, verdict, self._clock.now())

        after = await self._store.change(key, change)
        await self._announce(exporter, after)
        return after

    def _judged(self, key: Key, exporter: Exporter, status: Status, verdict: Verdict, now: datetime) -> Status:
        memory = self._memory.setdefault(key, _Memory())
        pause = min(RETRY_MOST, RETRY_FIRST * 2 ** min(max(memory.failures - 1, 0), 10))
        status = conditions.checked(status, verdict, exporter.generation, now, suspended=exporter.suspended)
        return status.model_copy(
            update={
                "observed_generation": exporter.generation,
                "last_check_time": now,
                "next_retry_time": now + pause if verdict.error and not verdict.waits_for_its_user else None,
            }
        )

    async def _looked(
        self, key: Key, exporter: Exporter, *, query: bool, people: int = 1
    ) -> tuple[Verdict, Checks | None]:
        """Look at the spec, the credentials and both sides, each by itself: two mistakes are told at once."""
        if problem := agenda.spec_problem(exporter, self._zone):
            return Verdict(spec=problem), None
        spec = cast("Spec", exporter.spec)
        text = check_text(spec)
        query = query and not text.error  # nobody is asked by a query that is certainly wrong
        # Before they are read: a Secret that moves in between is noticed at the next look.
        self._memory.setdefault(key, _Memory()).secrets = await self._credentials.versions(exporter, spec)

        async def nexthink() -> tuple[ExportError | None, Answer | None]:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    client = await self._credentials.nexthink(exporter, spec)
                    return await check_nexthink(spec, client, query=query, people=people)
            except ExportError as error:
                return error, None
            except TimeoutError:
                return _too_slow("Nexthink"), None

        async def qualtrics() -> ExportError | None:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    client = await self._credentials.qualtrics(exporter, spec)
                    return await check_qualtrics(spec, client)
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
        )
        verdict = Verdict(
            nexthink=checks.nexthink,
            qualtrics=checks.qualtrics,
            query=checks.query_sync,
            text=text.error,
            remarks=(*text.remarks, *self._duplicates(key)),
        )
        return verdict, checks

    def _duplicates(self, key: Key) -> list[Remark]:
        if not (others := ", ".join(self._targets.others(key)[:3])):
            return []
        return [Remark(Reason.DUPLICATE_TARGET, f"the same survey and message go to the same list by {others}")]

    async def _secrets_moved(self, key: Key, exporter: Exporter) -> bool:
        """Whether somebody may have mended a Secret of an exporter that is not Ready. `get` by name is all it needs."""
        if exporter.spec is None or conditions.is_ready(exporter.status, exporter.generation):
            return False
        if agenda.spec_problem(exporter, self._zone):
            return False
        memory = self._memory.setdefault(key, _Memory())
        return memory.secrets != await self._credentials.versions(exporter, exporter.spec)

    def _question_due(
        self, key: Key, entries: list[HistoryEntry], next_time: Callable[[HistoryEntry], datetime | None]
    ) -> HistoryEntry | None:
        """The first of these entries that Qualtrics is to be asked about now."""
        now = self._clock.now()
        memory = self._memory.get(key)
        later = memory.asked_after if memory else {}
        due = (e for e in entries if (at := next_time(e)) and at <= now)
        return next((entry for entry in due if later.get(entry.id, now) <= now), None)

    async def _look_again(self, key: Key, exporter: Exporter, entry: HistoryEntry) -> Exporter:
        """Look once more for the distribution of a run that nobody knows to have been sent: the list may lag.

        Nothing is ever sent.
        """
        memory = self._memory.setdefault(key, _Memory())
        found: str | None = None
        sent = entry.send_time or entry.completion_time
        try:
            qualtrics = await self._credentials.qualtrics(exporter, cast("Spec", exporter.spec))
            found = await find(qualtrics, entry.survey_id or "", entry.batch_id or "", sent)
        except ExportError as error:
            log.info("run %s of %s could not be looked for: %s", entry.id, key, error.reason)
            if self._clock.now() < sent + settling.GIVEN_UP:
                memory.asked_after[entry.id] = self._clock.now() + DELIVERY_RETRY
                return exporter
        memory.asked_after.pop(entry.id, None)

        def change(fresh: Exporter) -> Status | None:
            return settling.looked_for(fresh.status, entry, found, fresh.generation, self._clock.now())

        after = await self._store.change(key, change)
        kept = next((e for e in settling.in_doubt(after.status) if e.id == entry.id), None)
        now = self._clock.now()
        if kept and (at := settling.next_look(kept)) and at <= now:
            # The CRD in force is older and keeps no time of looking: else it would be looked for again and again.
            memory.asked_after[entry.id] = settling.next_mark(kept, now) or agenda.NEVER
        await self._announce(exporter, after)
        return after

    async def _read_figures(self, key: Key, exporter: Exporter, entry: HistoryEntry) -> Exporter:
        """Read one entry's figures from Qualtrics. Without an answer they are tried again soon, and nobody is told."""
        memory = self._memory.setdefault(key, _Memory())
        figures: Delivery | None = None
        try:
            qualtrics = await self._credentials.qualtrics(exporter, cast("Spec", exporter.spec))
            figures = await qualtrics.delivery(entry.survey_id or "", entry.distribution_id or "")
        except ExportError as error:
            log.info("delivery figures of run %s of %s could not be read: %s", entry.id, key, error.reason)
            if error.status != 404:
                memory.asked_after[entry.id] = self._clock.now() + DELIVERY_RETRY
                return exporter
        memory.asked_after.pop(entry.id, None)

        def updated(old: HistoryEntry, now: datetime) -> HistoryEntry:
            if figures is None:
                return delivery.given_up(old)
            return delivery.with_figures(old, figures.model_copy(update={"observed_time": now}))

        def change(fresh: Exporter) -> Status | None:
            now = self._clock.now()
            history = [
                updated(e, now) if (e.id, e.completion_time) == (entry.id, entry.completion_time) else e
                for e in fresh.status.history or []
            ]
            status = fresh.status.model_copy(update={"history": history})
            newest = next((e for e in history if e.result != "Skipped"), None)
            if newest and newest.id == entry.id:
                status = conditions.last_run(status, newest, fresh.generation, now)
            return status

        after = await self._store.change(key, change)
        await self._announce(exporter, after)
        return after


def _too_slow(side: str) -> Transient:
    what = f"{side} did not answer all checks within {CHECK_SECONDS:g} s"
    return Transient(Reason.REMOTE_UNAVAILABLE, what)
