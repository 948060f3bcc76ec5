"""Look-up of an unknown outcome: ask Qualtrics again whether it has the distribution. Nothing is ever sent."""

from datetime import datetime

from qualtrics_exporter.controller.actions.questions import Asker
from qualtrics_exporter.controller.status import resolution
from qualtrics_exporter.export.look_up import find
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry, Status


async def distribution_of(qualtrics: QualtricsClient, entry: HistoryEntry) -> str | None:
    """The id of the distribution; None if Qualtrics does not show it: its list may lag. Raises `ExportError`."""
    sent = entry.send_time or entry.completion_time
    return await find(qualtrics, entry.survey_id or "", entry.batch_id or "", sent)


class OutcomeLookUps(Asker[str | None]):
    """Looks for the distributions of runs that ended as Unknown, or were reported as not sent."""

    about = "outcome"
    give_up_after = resolution.GIVEN_UP
    failure = "run %s of %s could not be looked for: %s"

    async def _ask(self, qualtrics: QualtricsClient, entry: HistoryEntry) -> str | None:
        return await distribution_of(qualtrics, entry)

    def _changed(
        self, fresh: Exporter, entry: HistoryEntry, answer: str | ExportError | None, now: datetime
    ) -> Status | None:
        found = None if isinstance(answer, ExportError) else answer
        return resolution.looked_for(fresh.status, entry, found, fresh.generation, now)

    def _next_time(self, entry: HistoryEntry, answer: object, now: datetime) -> datetime | None:
        return resolution.look_after(entry, now, now)
