"""What the operator says about an exporter besides its status: Events and metrics."""

import contextlib
import logging
import re
from dataclasses import dataclass
from datetime import timedelta

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, Refused
from qualtrics_exporter.controller.kube.event_recorder import EventRecorder, EventToRecord
from qualtrics_exporter.controller.status import conditions, events
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

WRITE_SECONDS = 5.0
"""How long the condition about an unexpected error is written. The work queue comes back."""

_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Announcer:
    """Announces what changed in a status, and what went wrong."""

    store: StatusStore
    recorder: EventRecorder
    metrics: Metrics
    clock: Clock

    async def changed(self, before: Exporter, after: Exporter) -> None:
        """The status has changed."""
        if before.status is after.status:
            return
        for entry in events.new_entries(before.status, after.status):
            self.metrics.run_ended(after, entry)
        for event in events.events(before, after):
            await self.recorder.record(after, event)

    def claimed(self, run: ActiveRun, waited: timedelta) -> None:
        """A run has begun. `waited` is how long its exporter waited for its turn."""
        if run.trigger != "Test":
            due_for = run.start_time - run.scheduled_time if run.scheduled_time else waited
            self.metrics.run_claimed(due_for.total_seconds())

    async def write_refused(self, key: Key, error: Refused | Forbidden) -> None:
        """The API server refused the status. The status itself cannot say so; an Event is an object of its own."""
        with contextlib.suppress(ClusterError):
            # If even reading is forbidden, there is no Event: then it was not the write that was forbidden.
            exporter, reason = await self.store.read(key), Reason.STATUS_REFUSED
            note = f"{reason.meaning} {reason.next_step} What happened: {error}."
            # Another cause is another Event, but a quota with other numbers is not.
            dedup = f"{key.uid} {exporter.generation} {error.status} {_NUMBER.sub('#', str(error))}"
            await self.recorder.record(exporter, EventToRecord("Warning", reason, note, "Write", dedup))

    async def unexpected_error(self, key: Key, error: Exception) -> None:
        """Report an error to the user of the exporter, in its conditions and by an Event."""
        kind, reason = type(error).__name__, Reason.INTERNAL_ERROR
        self.metrics.failed("reconcile")
        try:
            exporter = await self.store.read(key)
            note = f"{reason.meaning} It is tried again ({kind}). {reason.next_step}"
            dedup = f"{key.uid} {exporter.generation} {kind}"
            await self.recorder.record(exporter, EventToRecord("Warning", reason, note, "Reconcile", dedup))
            await self.store.change(
                key,
                lambda fresh: conditions.internal_error(fresh.status, kind, fresh.generation, self.clock.now()),
                patience=WRITE_SECONDS,
            )
        except ClusterError:
            return
        except Exception:
            log.exception("an error about %s could not be reported", key)
