"""One exporter in the work queue: what the queue knows about it, and how its pauses are computed.

An item is a small object, because there are ten thousand of them (docs/facts/kubernetes.md section 1).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from qualtrics_exporter.controller.plan.wake import NEVER, Wake
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.fair_share import Tenant

# The queue slows down an exporter that fails, or that is due again and again without progress.
INITIAL_BACKOFF = timedelta(seconds=1)
MAX_BACKOFF = timedelta(minutes=2)
TURNS_WITHOUT_PAUSE = 5
"""How many times in a row an exporter may be due again at once."""
FORGIVEN_SECONDS = 900.0
"""How long after the pause for an unexpected error the next error counts as the first."""
BURST = 30
REFILL_SECONDS = 10.0
"""An exporter is reconciled at most `BURST` times in a row, then once in so many seconds, whoever changes it. So two
writers that revert each other's changes cannot flood the API server.
"""


SUCCESS_SECONDS = 8 * 3600.0
"""An exporter that was reconciled so recently shows that no permission is missing. Exporters are checked at least every
seven hours, unless they are suspended.
"""


class Turn(NamedTuple):
    """What the queue knows about the exporter whose turn it is."""

    first: bool
    """Whether this replica reconciles the exporter for the first time since it leads."""
    urgent: bool
    """Whether it is the turn for a slot, a request or a first plan. Checks have turns of their own."""
    waited: timedelta
    """How long the exporter waited for its turn."""
    waiting: int
    """How many exporters wait for their turn."""
    in_progress: int
    """How many exporters are reconciled now."""


@dataclass(slots=True, eq=False)
class WorkItem:
    """One exporter. All times without a date are of the monotonic clock."""

    key: Key
    tenant: Tenant
    version: str
    wake: Wake = NEVER
    enqueued: Wake = NEVER
    known: bool = True
    """Whether the watch knows the exporter."""
    queued: bool = False
    """Whether it waits for its turn."""
    due_since: float | None = None
    """Since when this process has seen that it is due."""
    working: bool = False
    first: bool = True
    failures: int = 0
    """How many times in a row it failed, or was due again at once."""
    failed: bool = False
    """Whether the last reconciliation failed."""
    refusal: str = ""
    """The permission that was missing in the last reconciliation."""
    succeeded: float | None = None
    """When it was last reconciled with success; None after a permission was missing."""
    errors: int = 0
    """Recent unexpected errors. Each one makes the pause longer, whatever succeeds in between."""
    not_before: float = 0.0
    """Until then it is not reconciled, whoever changes it: the operator itself may have made the change."""
    spaced: float = 0.0
    """When its reconciliations so far would have ended with one in `REFILL_SECONDS`."""

    @property
    def next_look(self) -> datetime:
        """When the queue looks at it next. While it waits for its turn, that is when its slot is due."""
        return self.wake.urgent_at if self.queued else self.wake.at

    def reconciled(self, monotonic: float) -> None:
        """Count a reconciliation at this time. After `BURST` times in a row, the exporter has to wait."""
        self.spaced = max(self.spaced, monotonic) + REFILL_SECONDS
        if (pause := self.spaced - (BURST - 1) * REFILL_SECONDS - monotonic) > 0:
            self.wait(monotonic, pause)

    def wait(self, monotonic: float, seconds: float) -> None:
        """Do not reconcile the exporter for this time. A longer pause from before stays."""
        self.not_before = max(self.not_before, monotonic + seconds)

    def met_unexpected_error(self, monotonic: float) -> None:
        """Wait longer after each unexpected error."""
        self.errors = 0 if monotonic > self.not_before + FORGIVEN_SECONDS else self.errors
        self.wait(monotonic, _pause(self.errors).total_seconds())
        self.errors += 1

    def next_wake(self, wake: Wake, now: datetime, monotonic: float, began: float, *, failed: bool) -> Wake:
        """The wake-up after a reconciliation that began at `began` and returned `wake`; later if a pause is due."""
        self.failed = failed
        if not failed and wake.at > now:
            self.failures = 0
            self.due_since = None
            return wake
        pause = _pause(self.failures)
        self.failures += 1
        if not failed:
            # It became due while this process worked on it, or it still waits for something else than its turn.
            due_for = min((now - wake.at).total_seconds(), monotonic - began)
            due_since = monotonic - max(0.0, due_for)
            self.due_since = due_since if self.due_since is None else min(self.due_since, due_since)
        slow = failed or self.failures > TURNS_WITHOUT_PAUSE
        return Wake(now + (pause if slow else timedelta(0)), wake.urgent, wake.urgent_at)


def _pause(failures: int) -> timedelta:
    return min(MAX_BACKOFF, INITIAL_BACKOFF * 2.0 ** min(failures, 10))


def missing_permission(items: list[WorkItem], monotonic: float) -> str | None:
    """The permission that seems to be missing for all these exporters.

    The API server may also refuse a single object with the message of a missing permission. So two exporters must have
    been refused, or the only exporter, and none may have been reconciled with success since then.
    """
    recently = monotonic - SUCCESS_SECONDS
    if any(item.succeeded is not None and item.succeeded > recently for item in items):
        return None
    refusals = [item.refusal for item in items if item.refusal]
    return refusals[0] if refusals and len(refusals) >= min(2, len(items)) else None
