"""Delivery figures of distributions whose entries left the history. They go to the log only."""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, cast

from qualtrics_exporter.controller.actions import Situation
from qualtrics_exporter.controller.actions.delivery import is_gone
from qualtrics_exporter.controller.actions.questions import ANSWER_SECONDS, Questions
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.plan.usable_spec import spec_problem
from qualtrics_exporter.controller.plan.wake import FOLLOWED
from qualtrics_exporter.controller.status import followed_deliveries
from qualtrics_exporter.controller.status.delivery_figures import GIVEN_UP
from qualtrics_exporter.controller.status.entry_log import log_delivery
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.resource.status import Delivery, FollowedDelivery

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Reads:
    """What became of the items of one turn, by their runs."""

    read: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    failed: tuple[FollowedDelivery, Reason] | None = None
    """The item at which the turn stopped. The others are read later."""


@dataclass(frozen=True, slots=True)
class FollowedFigures:
    """Reads the delivery figures of several distributions in one turn, and writes the status once."""

    store: StatusStore
    clients: ClientFactory
    questions: Questions
    default_zone: str
    ends_turn: ClassVar[bool] = True

    async def due(self, now: Situation) -> list[FollowedDelivery] | None:
        """The distributions to read now."""
        if not now.at_rest or spec_problem(now.exporter, self.default_zone):
            return None
        time, status = self.questions.clock.now(), now.exporter.status
        at = followed_deliveries.next_time(status, time)
        if at is None or max(at, self.questions.retries(now.key, status).get(FOLLOWED, at)) > time:
            return None
        return followed_deliveries.batch(status, time) or None

    async def do(self, now: Situation, items: list[FollowedDelivery]) -> Exporter:
        """Read them until one has no answer."""
        key, clock, reads = now.key, self.questions.clock, _Reads()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._read(now.exporter, items, reads)
        except TimeoutError:
            waiting = next(item for item in items if item.run_id not in reads.read | reads.ended)
            reads.failed = waiting, Reason.REMOTE_UNAVAILABLE
        if reads.failed is None:
            self.questions.answered(key, FOLLOWED)
        else:
            item, why = reads.failed
            log.info("delivery figures of run %s of %s could not be read: %s", item.run_id, key, why)
            if not self.questions.ask_later(key, FOLLOWED, item.send_time, GIVEN_UP):
                self.questions.answered(key, FOLLOWED)
                log_delivery(now.exporter, item, Delivery(stopped_reason=str(why)))
                reads.ended.add(item.run_id)
        if not (reads.read or reads.ended):
            return now.exporter
        return await self.store.change(
            key, lambda fresh: followed_deliveries.with_reads(fresh.status, reads.read, reads.ended, clock.now())
        )

    async def _read(self, exporter: Exporter, items: list[FollowedDelivery], reads: _Reads) -> None:
        item = items[0]
        try:
            qualtrics = await self.clients.qualtrics(exporter, cast("Spec", exporter.spec))
            for item in items:
                figures = await self._figures(qualtrics, item, self.questions.clock.now())
                (reads.ended if figures.stopped_reason else reads.read).add(item.run_id)
                log_delivery(exporter, item, figures)
        except ExportError as error:
            reads.failed = item, error.reason

    async def _figures(self, qualtrics: QualtricsClient, item: FollowedDelivery, now: datetime) -> Delivery:
        try:
            figures = await qualtrics.delivery(item.survey_id, item.distribution_id)
        except ExportError as error:
            if is_gone(error):
                return Delivery(stopped_reason=str(Reason.DISTRIBUTION_NOT_FOUND))
            raise
        return figures.model_copy(update={"observed_time": now})
