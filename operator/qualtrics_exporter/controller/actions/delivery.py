"""Delivery figures: ask Qualtrics what became of the mails of a run."""

import logging
from dataclasses import dataclass
from datetime import datetime

from qualtrics_exporter.controller.actions.questions import Questions
from qualtrics_exporter.controller.plan.wake import Question
from qualtrics_exporter.controller.status import conditions, delivery_figures
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.remote.errors import ExportError, Permanent
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, HistoryEntry, Status

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryFigures:
    """Reads the delivery figures of runs that were sent."""

    store: StatusStore
    questions: Questions

    def due(self, key: Key, status: Status) -> HistoryEntry | None:
        """The first entry whose figures are to be read now."""
        return self.questions.due(key, status, "figures")

    async def read(self, key: Key, exporter: Exporter, entry: HistoryEntry) -> Exporter:
        """Read the figures of that entry; without an answer, read them later. Returns the changed exporter."""
        question = Question("figures", entry.id)
        figures: Delivery | None = None
        why = Reason.REMOTE_UNAVAILABLE
        try:
            figures = await self.questions.ask(
                exporter, lambda qualtrics: qualtrics.delivery(entry.survey_id or "", entry.distribution_id or "")
            )
        except ExportError as error:
            log.info("delivery figures of run %s of %s could not be read: %s", entry.id, key, error.reason)
            unknown = isinstance(error, Permanent) and error.status == 404  # from Qualtrics, not from a filter
            why = Reason.DISTRIBUTION_NOT_FOUND if unknown else error.reason
            sent = entry.send_time or entry.completion_time
            if not unknown and self.questions.ask_later(key, question, sent, delivery_figures.GIVEN_UP):
                return exporter
        self.questions.answered(key, question)

        def updated(old: HistoryEntry, now: datetime) -> HistoryEntry:
            if figures is None:
                return delivery_figures.given_up(old, why)
            return delivery_figures.with_figures(old, figures.model_copy(update={"observed_time": now}))

        def change(fresh: Exporter) -> Status | None:
            now = self.questions.clock.now()
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
        now = self.questions.clock.now()
        if kept and (at := delivery_figures.next_read(kept, now)) and at <= now:
            # The API server did not keep the time of this reading: without a limit it would be repeated at once.
            seen = kept.model_copy(update={"delivery": Delivery(observed_time=now)})
            self.questions.not_before(key, question, delivery_figures.next_read(seen, now) if figures else None)
        return after
