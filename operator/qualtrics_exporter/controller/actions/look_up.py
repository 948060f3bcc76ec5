"""Look-up of an unknown outcome: ask Qualtrics again whether it has the distribution. Nothing is ever sent."""

import logging
from dataclasses import dataclass

from qualtrics_exporter.controller.actions.questions import Questions
from qualtrics_exporter.controller.plan.wake import Question
from qualtrics_exporter.controller.status import resolution
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.export.look_up import find
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry, Status

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OutcomeLookUps:
    """Looks for the distributions of runs that ended as Unknown, or were reported as not sent."""

    store: StatusStore
    questions: Questions

    def due(self, key: Key, status: Status) -> HistoryEntry | None:
        """The first entry whose distribution is to be looked for now."""
        return self.questions.due(key, status, "outcome")

    async def look_up(self, key: Key, exporter: Exporter, entry: HistoryEntry) -> Exporter:
        """Look for the distribution of that entry; the list of Qualtrics may lag. Returns the changed exporter."""
        question = Question("outcome", entry.id)
        sent = entry.send_time or entry.completion_time
        found: str | None = None
        try:
            found = await self.questions.ask(
                exporter, lambda qualtrics: find(qualtrics, entry.survey_id or "", entry.batch_id or "", sent)
            )
        except ExportError as error:
            log.info("run %s of %s could not be looked for: %s", entry.id, key, error.reason)
            if self.questions.ask_later(key, question, sent, resolution.GIVEN_UP):
                return exporter
        self.questions.answered(key, question)

        def change(fresh: Exporter) -> Status | None:
            return resolution.looked_for(fresh.status, entry, found, fresh.generation, self.questions.clock.now())

        after = await self.store.change(key, change)
        kept = next((e for e in resolution.in_doubt(after.status) if e.id == entry.id), None)
        now = self.questions.clock.now()
        if kept and (at := resolution.next_look(kept, now)) and at <= now:
            # The API server did not keep the time of this look: without a limit it would be repeated at once.
            self.questions.not_before(key, question, resolution.look_after(kept, now, now))
        return after
