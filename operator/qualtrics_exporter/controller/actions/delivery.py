"""Delivery figures: ask Qualtrics whether the mails of a run arrived."""

from datetime import datetime

from qualtrics_exporter.controller.actions.questions import Asker, is_same
from qualtrics_exporter.controller.status import conditions, delivery_figures
from qualtrics_exporter.controller.status.entry_log import log_delivery
from qualtrics_exporter.controller.status.followed_deliveries import item_of
from qualtrics_exporter.controller.status.resolution import is_reported
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.remote.errors import ExportError, Permanent
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, HistoryEntry, Status


def is_gone(error: ExportError) -> bool:
    """Whether Qualtrics does not have the distribution, or has another one with this id."""
    # A 404 counts only if it is from Qualtrics, not from a filter.
    return isinstance(error, Permanent) and (error.status == 404 or error.reason is Reason.DISTRIBUTION_NOT_FOUND)


def given_up_because(error: ExportError) -> Reason:
    """Why figures are not asked for again after this error."""
    return Reason.DISTRIBUTION_NOT_FOUND if is_gone(error) else error.reason


async def figures_of(qualtrics: QualtricsClient, entry: HistoryEntry) -> Delivery:
    """The figures of a run that was sent. Raises `ExportError`, also if a person reported the id of another run."""
    batch_id = entry.batch_id if is_reported(entry) else None
    return await qualtrics.delivery(entry.survey_id or "", entry.distribution_id or "", batch_id)


class DeliveryFigures(Asker[Delivery]):
    """Reads the delivery figures of runs that were sent."""

    about = "figures"
    give_up_after = delivery_figures.GIVEN_UP
    failure = "delivery figures of run %s of %s could not be read: %s"

    async def _ask(self, qualtrics: QualtricsClient, entry: HistoryEntry) -> Delivery:
        return await figures_of(qualtrics, entry)

    def _is_final(self, error: ExportError) -> bool:
        return is_gone(error)

    def _answered(self, exporter: Exporter, entry: HistoryEntry, answer: Delivery | ExportError, now: datetime) -> None:
        if isinstance(answer, ExportError):
            figures = Delivery(stopped_reason=str(given_up_because(answer)))
        else:
            figures = answer.model_copy(update={"observed_time": now})
        log_delivery(exporter, item_of(entry), figures)

    def _changed(
        self, fresh: Exporter, entry: HistoryEntry, answer: Delivery | ExportError, now: datetime
    ) -> Status | None:
        def updated(old: HistoryEntry) -> HistoryEntry:
            if not is_same(old, entry):  # such as another distribution, which a person reported meanwhile
                return old
            if isinstance(answer, ExportError):
                return delivery_figures.given_up(old, given_up_because(answer))
            return delivery_figures.with_figures(old, answer.model_copy(update={"observed_time": now}))

        history = [updated(old) for old in fresh.status.history or []]
        status = fresh.status.model_copy(update={"history": history})
        newest = conditions.newest_run(status)
        if newest and newest.id == entry.id:
            status = conditions.last_run(status, newest, fresh.generation, now)
        return status

    def _next_time(self, entry: HistoryEntry, answer: object, now: datetime) -> datetime | None:
        read = entry.model_copy(update={"delivery": Delivery(observed_time=now)})
        return None if isinstance(answer, ExportError) else delivery_figures.next_read(read, now)
