"""What the operator says about an exporter besides its status: Events and metrics."""

import contextlib
import logging
import re

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, Refused
from qualtrics_exporter.controller.kube.event_recorder import EventRecorder
from qualtrics_exporter.controller.status import conditions, events
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

WRITE_SECONDS = 5.0
"""How long the condition about an unexpected error is written. The work queue comes back."""

_NUMBER = re.compile(r"[0-9]+")


class Announcer:
    """Announces what changed in a status, and what went wrong."""

    def __init__(self, store: StatusStore, recorder: EventRecorder, metrics: Metrics, clock: Clock) -> None:
        self._store = store
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock

    async def changed(self, before: Exporter, after: Exporter) -> None:
        """The status has changed."""
        if before.status is after.status:
            return
        for entry in events.new_entries(before.status, after.status):
            self._metrics.run_ended(entry)
        for event in events.events(before, after):
            await self._recorder.record(
                after, event.type, event.reason, event.note, action=event.action, dedup=event.dedup
            )

    async def write_refused(self, key: Key, error: Refused | Forbidden) -> None:
        """The API server refused the status. The status itself cannot say so; an Event is an object of its own."""
        with contextlib.suppress(ClusterError):
            # If even reading is forbidden, there is no Event: then it was not the write that was forbidden.
            exporter, reason = await self._store.read(key), Reason.STATUS_REFUSED
            note = f"{reason.meaning} {reason.next_step} What happened: {error}."
            # Another cause is another Event, but a quota with other numbers is not.
            dedup = f"{key.uid} {exporter.generation} {error.status} {_NUMBER.sub('#', str(error))}"
            await self._recorder.record(exporter, "Warning", reason, note, action="Write", dedup=dedup)

    async def unexpected_error(self, key: Key, error: Exception) -> None:
        """Report an error to the user of the exporter, in its conditions and by an Event."""
        kind, reason = type(error).__name__, Reason.INTERNAL_ERROR
        self._metrics.failed("reconcile")
        try:
            exporter = await self._store.read(key)
            note = f"{reason.meaning} It is tried again ({kind}). {reason.next_step}"
            dedup = f"{key.uid} {exporter.generation} {kind}"
            await self._recorder.record(exporter, "Warning", reason, note, action="Reconcile", dedup=dedup)
            await self._store.change(
                key,
                lambda fresh: conditions.internal_error(fresh.status, kind, fresh.generation, self._clock.now()),
                patience=WRITE_SECONDS,
            )
        except ClusterError:
            return
        except Exception:
            log.exception("an error about %s could not be reported", key)
