"""Questions to Qualtrics about runs that have ended: was it sent after all, and what became of the mails."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller import conditions, delivery, settling
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan.wake import NEVER
from qualtrics_exporter.controller.runs import Credentials
from qualtrics_exporter.controller.status import Key, StatusStore
from qualtrics_exporter.export.look_up import find
from qualtrics_exporter.http.errors import ExportError
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
    credentials: Credentials
    memories: Memories
    clock: Clock

    def due(self, key: Key, entries: list[HistoryEntry], next_time: Next) -> HistoryEntry | None:
        """The first of these entries that Qualtrics is to be asked about now."""
        now, monotonic = self.clock.now(), self.clock.monotonic()
        later = self.memories.of(key).retry_after
        due = (e for e in entries if (at := next_time(e, now)) and at <= now)
        return next((entry for entry in due if later.get(entry.id, monotonic) <= monotonic), None)

    async def look_again(self, key: Key, exporter: Exporter, entry: HistoryEntry) -> Exporter:
        """Look once more for the distribution of a run that is not known to have been sent: the list may lag."""
        memory = self.memories.of(key)
        found: str | None = None
        sent = entry.send_time or entry.completion_time
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                qualtrics = await self.credentials.qualtrics(exporter, cast("Spec", exporter.spec))
                found = await find(qualtrics, entry.survey_id or "", entry.batch_id or "", sent)
        except (ExportError, TimeoutError) as error:
            log.info("run %s of %s could not be looked for: %s", entry.id, key, _why(error))
            if self.clock.now() < sent + settling.GIVEN_UP:
                self._later(key, entry)
                return exporter
        memory.retry_after.pop(entry.id, None)

        def change(fresh: Exporter) -> Status | None:
            return settling.looked_for(fresh.status, entry, found, fresh.generation, self.clock.now())

        after = await self.store.change(key, change)
        kept = next((e for e in settling.in_doubt(after.status) if e.id == entry.id), None)
        now = self.clock.now()
        if kept and (at := settling.next_look(kept, now)) and at <= now:
            # The CRD in force is older and keeps no time of looking: else it would be looked for again and again.
            following = settling.look_after(kept, now, now) or NEVER.at
            memory.retry_after[entry.id] = self.clock.monotonic() + (following - now).total_seconds()
        return after

    async def read_figures(self, key: Key, exporter: Exporter, entry: HistoryEntry) -> Exporter:
        """Read one entry's figures from Qualtrics. Without an answer they are tried again later, for some days."""
        figures: Delivery | None = None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                qualtrics = await self.credentials.qualtrics(exporter, cast("Spec", exporter.spec))
                figures = await qualtrics.delivery(entry.survey_id or "", entry.distribution_id or "")
        except (ExportError, TimeoutError) as error:
            log.info("delivery figures of run %s of %s could not be read: %s", entry.id, key, _why(error))
            unknown = isinstance(error, ExportError) and error.status == 404
            sent = entry.send_time or entry.completion_time
            if not unknown and self.clock.now() < sent + delivery.GIVEN_UP:
                self._later(key, entry)
                return exporter
        self.memories.of(key).retry_after.pop(entry.id, None)

        def updated(old: HistoryEntry, now: datetime) -> HistoryEntry:
            if figures is None:
                return delivery.given_up(old)
            return delivery.with_figures(old, figures.model_copy(update={"observed_time": now}))

        def change(fresh: Exporter) -> Status | None:
            now = self.clock.now()
            history = [
                updated(e, now) if (e.id, e.completion_time) == (entry.id, entry.completion_time) else e
                for e in fresh.status.history or []
            ]
            status = fresh.status.model_copy(update={"history": history})
            newest = next((e for e in history if e.result != "Skipped"), None)
            if newest and newest.id == entry.id:
                status = conditions.last_run(status, newest, fresh.generation, now)
            return status

        return await self.store.change(key, change)

    def _later(self, key: Key, entry: HistoryEntry) -> None:
        now = self.clock.now()
        since = max(timedelta(0), now - (entry.send_time or entry.completion_time))
        pause = max(RETRY, RETRY_SHARE * since).total_seconds()
        self.memories.of(key).retry_after[entry.id] = self.clock.monotonic() + pause


def _why(error: ExportError | TimeoutError) -> Reason:
    return error.reason if isinstance(error, ExportError) else Reason.REMOTE_UNAVAILABLE
