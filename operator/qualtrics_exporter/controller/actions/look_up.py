"""Questions to Qualtrics about runs that have ended: was it sent after all, and what became of the mails."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.actions.run import ClientFactory
from qualtrics_exporter.controller.memory import Memories, Retry
from qualtrics_exporter.controller.plan.wake import NEVER, About, Question
from qualtrics_exporter.controller.status import conditions, delivery_figures, resolution
from qualtrics_exporter.controller.status.store import Key, StatusStore
from qualtrics_exporter.export.look_up import find
from qualtrics_exporter.remote.errors import ExportError, Permanent
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import Delivery, HistoryEntry, Status

log = logging.getLogger(__name__)

RETRY = timedelta(minutes=5)
RETRY_SHARE = 0.1
"""A question that failed is asked again after this part of the time since the send, and after `RETRY` at the least."""
LOOK_SECONDS = 300.0

Next = Callable[[HistoryEntry, datetime], datetime | None]


@dataclass(frozen=True, slots=True)
class LookUps:
    """Looks up what is not known yet. Nothing is ever sent. Every method returns the exporter as it stands then."""

    store: StatusStore
    credentials: ClientFactory
    memories: Memories
    clock: Clock

    def outcome_due(self, key: Key, status: Status) -> HistoryEntry | None:
        """The first entry whose distribution is to be looked for now."""
        return self._due(key, "outcome", resolution.in_doubt(status), resolution.next_look)

    def figures_due(self, key: Key, status: Status) -> HistoryEntry | None:
        """The first entry whose delivery figures are to be read now."""
        return self._due(key, "figures", status.history or [], delivery_figures.next_read)

    def _due(self, key: Key, about: About, entries: list[HistoryEntry], next_time: Next) -> HistoryEntry | None:
        now, monotonic = self.clock.now(), self.clock.monotonic()
        retries = self.memories.of(key).retries
        due = (e for e in entries if (at := next_time(e, now)) and at <= now)
        ready = Retry(monotonic, monotonic)
        return next((e for e in due if retries.get(Question(about, e.id), ready).after <= monotonic), None)

    async def look_again(self, key: Key, exporter: Exporter, entry: HistoryEntry) -> Exporter:
        """Look once more for the distribution of a run that is not known to have been sent: the list may lag."""
        question = Question("outcome", entry.id)
        found: str | None = None
        sent = entry.send_time or entry.completion_time
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                qualtrics = await self.credentials.qualtrics(exporter, cast("Spec", exporter.spec))
                found = await find(qualtrics, entry.survey_id or "", entry.batch_id or "", sent)
        except (ExportError, TimeoutError) as error:
            log.info("run %s of %s could not be looked for: %s", entry.id, key, _why(error))
            if self._asked_later(key, question, sent, resolution.GIVEN_UP):
                return exporter
        self.memories.of(key).retries.pop(question, None)

        def change(fresh: Exporter) -> Status | None:
            return resolution.looked_for(fresh.status, entry, found, fresh.generation, self.clock.now())

        after = await self.store.change(key, change)
        kept = next((e for e in resolution.in_doubt(after.status) if e.id == entry.id), None)
        now = self.clock.now()
        if kept and (at := resolution.next_look(kept, now)) and at <= now:
            # The CRD in force is older and keeps no time of looking: else it would be looked for again and again.
            self._not_before(key, question, resolution.look_after(kept, now, now) or NEVER.at)
        return after

    async def read_figures(self, key: Key, exporter: Exporter, entry: HistoryEntry) -> Exporter:
        """Read one entry's figures from Qualtrics. Without an answer they are tried again later, for some days."""
        question = Question("figures", entry.id)
        figures: Delivery | None = None
        why = Reason.REMOTE_UNAVAILABLE
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                qualtrics = await self.credentials.qualtrics(exporter, cast("Spec", exporter.spec))
                figures = await qualtrics.delivery(entry.survey_id or "", entry.distribution_id or "")
        except (ExportError, TimeoutError) as error:
            why = _why(error)
            log.info("delivery figures of run %s of %s could not be read: %s", entry.id, key, why)
            unknown = isinstance(error, Permanent) and error.status == 404  # Qualtrics' own, not that of a filter
            why = Reason.DISTRIBUTION_NOT_FOUND if unknown else why
            sent = entry.send_time or entry.completion_time
            if not unknown and self._asked_later(key, question, sent, delivery_figures.GIVEN_UP):
                return exporter
        self.memories.of(key).retries.pop(question, None)

        def updated(old: HistoryEntry, now: datetime) -> HistoryEntry:
            if figures is None:
                return delivery_figures.given_up(old, why)
            return delivery_figures.with_figures(old, figures.model_copy(update={"observed_time": now}))

        def change(fresh: Exporter) -> Status | None:
            now = self.clock.now()
            history = [
                updated(e, now) if (e.id, e.completion_time) == (entry.id, entry.completion_time) else e
                for e in fresh.status.history or []
            ]
            status = fresh.status.model_copy(update={"history": history})
            newest = conditions.newest_run(status)
            if newest and newest.id == entry.id:
                status = conditions.last_run(status, newest, fresh.generation, now)
            return status

        after = await self.store.change(key, change)
        kept = next((e for e in after.status.history or [] if e.id == entry.id), None)
        now = self.clock.now()
        if kept and (at := delivery_figures.next_read(kept, now)) and at <= now:
            # The API server does not keep when they were read: else they would be read again and again.
            seen = kept.model_copy(update={"delivery": Delivery(observed_time=now)})
            following = None if figures is None else delivery_figures.next_read(seen, now)
            self._not_before(key, question, following or NEVER.at)
        return after

    def _asked_later(self, key: Key, question: Question, sent: datetime, given_up: timedelta) -> bool:
        """Whether a question without an answer is asked again, later and later; False once it is given up.

        After a clock was ahead, `sent` may be years away. So the time since the first failure counts as well.
        """
        retries, now = self.memories.of(key).retries, self.clock.monotonic()
        since = retries[question].since if question in retries else now
        age = max(self.clock.now() - sent, timedelta(seconds=now - since))
        if age >= given_up:
            return False
        pause = max(RETRY, RETRY_SHARE * age)
        retries[question] = Retry(now + pause.total_seconds(), since)
        return True

    def _not_before(self, key: Key, question: Question, at: datetime) -> None:
        now = self.clock.monotonic()
        seconds = (at - self.clock.now()).total_seconds()
        self.memories.of(key).retries[question] = Retry(now + seconds, now)


def _why(error: ExportError | TimeoutError) -> Reason:
    return error.reason if isinstance(error, ExportError) else Reason.REMOTE_UNAVAILABLE
