"""The work queue: every exporter, when it needs attention next, and whose turn it is.

    the watch ── enqueue(key, wake) ──▶ heap of wake-ups ──▶ waiting, per tenant ──▶ reconcile(key)

The watch feeds the queue, one task empties it. An exporter is reconciled by at most one task of this process at a time,
also when it vanishes from the watch and comes back meanwhile: a run, its checks and its plan never interleave. A
change that arrives while the task works makes the exporter due again afterwards.

An exporter that is due stays in the queue until its turn comes, so `lag` covers everything that waits. Tenants take
turns (see `fair_share`), slots and requests come before checks and figures. Nothing about time is kept here that does
not follow from the objects: after a restart, the first listing fills the queue again. An item is a small object because
there are ten thousand of them (docs/facts/kubernetes.md section 1).
"""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, NotFound
from qualtrics_exporter.controller.plan.wake import NEVER, Wake
from qualtrics_exporter.controller.status.store import Key
from qualtrics_exporter.fair_share import FairQueue, Grant, Tenant

log = logging.getLogger(__name__)

# Longest pause between two looks at the heap: a wall clock that is set forward makes slots due.
NAP_SECONDS = 30.0
# An exporter that is due again and again without progress is slowed down, like one that fails.
PAUSE_FIRST = timedelta(seconds=1)
PAUSE_MOST = timedelta(minutes=2)
FORGIVEN_SECONDS = 900.0
"""So long after the pause for an unexpected error, the next one counts as the first."""
MAX_IN_PROGRESS = 1000
"""Exporters that are reconciled at once. Nearly all of them wait: for a rate limit, a mailing list or an import. What
they cost while they wait is bounded here; requests and recipients have limits of their own (`http.remote.Capacity`).
"""
MAX_BACKGROUND = 50
"""Of these, checks, look-ups and figures: so few that none of them times out because the others use up a rate limit."""

SUCCESS_SECONDS = 8 * 3600.0
"""An exporter that was reconciled so recently shows that no permission is missing. Exporters are checked at least every
seven hours, unless they are suspended.
"""
BURST = 30
REFILL_SECONDS = 10.0
"""An exporter is reconciled at most `BURST` times in a row, then once in so many seconds, whoever changes it. So two
writers that undo each other's changes cannot flood the API server."""


class Turn(NamedTuple):
    """What the queue knows about the exporter whose turn it is."""

    first: bool
    """Whether this replica reconciles the exporter for the first time since it leads."""
    waited: timedelta
    """How long the exporter waited for it."""
    waiting: int
    """How many exporters wait for their turn."""
    in_progress: int
    """How many exporters are reconciled now."""


Reconcile = Callable[[Key, Turn], Awaitable[Wake]]


class _Item:
    __slots__ = (
        "due_since",
        "enqueued",
        "errors",
        "failed",
        "failures",
        "first",
        "key",
        "known",
        "not_before",
        "queued",
        "refusal",
        "spaced",
        "succeeded",
        "tenant",
        "version",
        "wake",
        "working",
    )

    def __init__(self, key: Key, tenant: Tenant, version: str) -> None:
        self.key = key
        self.tenant = tenant
        self.version = version
        self.wake = self.enqueued = NEVER
        self.known = True  # to the watch
        self.queued = False  # it waits for its turn
        self.due_since: float | None = None
        """Since when this process has seen that it is due, on the monotonic clock."""
        self.working = False
        self.first = True
        self.failures = 0
        self.failed = False  # the last reconciliation
        self.refusal = ""
        """The permission that was missing when it was last reconciled."""
        self.succeeded: float | None = None
        """When it was last reconciled with success, on the monotonic clock; None after a permission was missing."""
        self.errors = 0
        """Unexpected errors of late. Each one makes the pause longer, whatever succeeds in between."""
        self.not_before = 0.0
        """Until then, on the monotonic clock, it is not reconciled, whoever changes it: the change may be our own."""
        self.spaced = 0.0
        """When its reconciliations so far would have ended with one in `REFILL_SECONDS`."""

    def reconciled(self, now: float) -> None:
        """It was reconciled once more, at this monotonic time. After `BURST` times in a row, it has to wait."""
        self.spaced = max(self.spaced, now) + REFILL_SECONDS
        if (pause := self.spaced - (BURST - 1) * REFILL_SECONDS - now) > 0:
            self.wait(now, pause)

    def wait(self, now: float, seconds: float) -> None:
        """Let it not be reconciled for so long, or for longer if that was said before."""
        self.not_before = max(self.not_before, now + seconds)


class WorkQueue:
    """Calls `reconcile(key, turn)` for exporters that are due, while this replica leads."""

    def __init__(
        self,
        reconcile: Reconcile,
        clock: Clock,
        *,
        on_lead: Callable[[bool], None] = lambda leading: None,
        on_gone: Callable[[Key], None] = lambda key: None,
        max_in_progress: int = MAX_IN_PROGRESS,
    ) -> None:
        self._reconcile = reconcile
        self._clock = clock
        self._on_lead = on_lead
        self._on_gone = on_gone
        self._items: dict[str, _Item] = {}  # by uid
        self._heap: list[tuple[datetime, int, _Item]] = []
        self._order = itertools.count()
        self._turns: FairQueue[_Item] = FairQueue(max_in_progress, background=MAX_BACKGROUND)
        self._changed = asyncio.Event()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0
        self._known = 0
        self.ticked = clock.monotonic()
        self.leading = False

    def __len__(self) -> int:
        return self._known

    @property
    def waiting(self) -> int:
        """How many exporters are due and wait for their turn."""
        return len(self._turns)

    @property
    def in_progress(self) -> int:
        """How many exporters are reconciled now."""
        return self._turns.used

    @property
    def failing(self) -> int:
        """How many exporters failed when they were last reconciled."""
        return sum(item.failed for item in self._items.copy().values())

    @property
    def problem(self) -> str | None:
        """The permission that is missing everywhere, as far as this replica saw while it leads.

        The API server may also refuse a single object in the words of a missing permission. So this takes two exporters
        that are refused, or the only one there is, and none that was reconciled with success since it was last refused.
        """
        if not self.leading:
            return None
        items = [item for item in self._items.values() if item.known]
        recently = self._clock.monotonic() - SUCCESS_SECONDS
        if any(item.succeeded is not None and item.succeeded > recently for item in items):
            return None
        refusals = [item.refusal for item in items if item.refusal]
        return refusals[0] if refusals and len(refusals) >= min(2, len(items)) else None

    @property
    def lag(self) -> float:
        """For how many seconds the exporter that waits longest has been due."""
        if not self.leading:
            return 0.0
        # A metrics scrape may ask in another thread: `copy` takes the items in one step of the interpreter.
        items = [item for item in self._items.copy().values() if not item.working]
        oldest = min((item.wake.at for item in items), default=NEVER.at)
        # One that is tried again after a pause has been due for longer.
        since = min((item.due_since for item in items if item.due_since is not None), default=float("inf"))
        return max(0.0, (self._clock.now() - oldest).total_seconds(), self._clock.monotonic() - since)

    def known(self) -> Iterator[tuple[Key, str]]:
        """Every exporter that the watch knows, with the resourceVersion in which it was last seen."""
        return ((item.key, item.version) for item in self._items.values() if item.known)

    def enqueue(self, key: Key, tenant: Tenant, wake: Wake, version: str) -> None:
        """The watch saw an exporter; it needs attention at `wake`."""
        item = self._items.get(key.uid)
        if item is None:
            item = self._items[key.uid] = _Item(key, tenant, version)
            self._known += 1
        elif not item.known:
            item.known = True
            self._known += 1
        item.version = version
        item.enqueued = wake
        if item.working:
            item.wake, item.tenant = wake, tenant  # `_work` looks at it when it has finished
            return
        if item.queued:
            due = wake.at <= self._clock.now()
            if due and item.tenant == tenant and wake.urgent <= item.wake.urgent:
                return  # it keeps its place, however often it is changed
            self._turns.discard(item.tenant, item)
            item.queued = False
            if due:
                item.wake = Wake(item.wake.at, wake.urgent)
                self._wait(item, tenant)
                return
        item.tenant = tenant
        self._push(item, wake)

    def forget(self, key: Key) -> None:
        """The exporter is gone, or has left the selector. A task that works on it finishes what it began.

        Calls `on_gone` at once, and again when such a task has ended: the task may have remembered something meanwhile.
        """
        item = self._items.get(key.uid)
        if item is None or not item.known:
            return
        item.known = False
        self._known -= 1
        if item.queued:
            self._turns.discard(item.tenant, item)
            item.queued = False
        if item.working:
            self._on_gone(key)
        else:
            self._drop(item)

    def _drop(self, item: _Item) -> None:
        self._items.pop(item.key.uid, None)
        self._on_gone(item.key)

    async def lead(self) -> None:
        """Reconcile exporters until cancelled. Leaves no task behind."""
        for item in [item for item in self._items.values() if not item.known]:
            self._drop(item)
        for item in self._items.values():
            item.first = True
            item.refusal, item.succeeded = "", None
            self._push(item, min(item.wake, item.enqueued))
        self.leading = True
        self._on_lead(True)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self.ticked = self._clock.monotonic()
                    self._changed.clear()
                    self._queue_due()
                    self._start(group)
                    self._set_alarm(group)
                    await self._changed.wait()
        finally:
            self.leading = False
            self._alarm = None
            self._on_lead(False)
            for item in self._items.values():
                if item.queued:
                    self._turns.discard(item.tenant, item)
                    item.queued = False

    def _push(self, item: _Item, wake: Wake) -> None:
        if (pause := item.not_before - self._clock.monotonic()) > 0:
            wake = max(wake, Wake(self._clock.now() + timedelta(seconds=pause), wake.urgent))
        item.wake = wake
        heapq.heappush(self._heap, (wake.at, next(self._order), item))
        self._changed.set()
        if len(self._heap) > 2 * len(self._items) + 100:  # mostly wake-ups that were superseded
            idle = (i for i in self._items.values() if not i.working and not i.queued)
            self._heap = [(i.wake.at, next(self._order), i) for i in idle]
            heapq.heapify(self._heap)

    def _queue_due(self) -> None:
        """Move what is due from the heap to the queue of its tenant."""
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            at, _, item = heapq.heappop(self._heap)
            current = self._items.get(item.key.uid) is item and item.wake.at == at
            if current and not item.working and not item.queued:
                if item.due_since is None:
                    item.due_since = self._clock.monotonic()
                self._wait(item, item.tenant)

    def _wait(self, item: _Item, tenant: Tenant) -> None:
        """Let an exporter wait for its turn."""
        item.queued, item.tenant = True, tenant
        self._turns.push(tenant, item, urgent=item.wake.urgent)
        self._changed.set()

    def _start(self, group: asyncio.TaskGroup) -> None:
        """Start a task for each exporter whose turn it is."""
        while (turn := self._turns.pop()) is not None:
            item = turn.item
            item.queued, item.working = False, True
            group.create_task(self._work(item, turn), name=f"reconcile {item.key}")

    def _set_alarm(self, group: asyncio.TaskGroup) -> None:
        """Look again when the next item is due, and at least every `NAP_SECONDS`: the wall clock may be set."""
        seconds = NAP_SECONDS
        if self._heap:
            seconds = min(seconds, max(0.0, (self._heap[0][0] - self._clock.now()).total_seconds()))
        at = self._clock.monotonic() + seconds
        if self._alarm is not None:
            if not self._alarm.done() and self._alarm_at <= at:
                return  # an early look does no harm
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = group.create_task(self._ring(seconds), name="alarm")

    async def _ring(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._changed.set()

    async def _work(self, item: _Item, grant: Grant[_Item]) -> None:
        """Reconcile one exporter, and decide when it needs attention next."""
        before = item.wake
        began = self._clock.monotonic()
        item.reconciled(began)
        waited = timedelta(seconds=began - (began if item.due_since is None else item.due_since))
        wake = Wake(self._clock.now() + PAUSE_MOST)
        failed, gone = True, False
        try:
            wake = await self._reconcile(item.key, Turn(item.first, waited, self.waiting, self.in_progress))
            item.first = False
            failed = False
            item.refusal, item.succeeded = "", self._clock.monotonic()
        except asyncio.CancelledError:
            # The term ends: then the next one starts anew. Whatever else it may be, the exporter is not forgotten.
            self._push(item, wake)
            raise
        except NotFound:
            gone = True
        except ClusterError as error:
            log.warning("%s could not be reconciled, it is tried again: %s", item.key, error)
            if isinstance(error, Forbidden):
                item.refusal, item.succeeded = str(error), None
        except Exception:
            # One exporter's failure never stops the others: it is tried again, at longer and longer intervals.
            log.exception("%s could not be reconciled", item.key)
            monotonic = self._clock.monotonic()
            item.errors = 0 if monotonic > item.not_before + FORGIVEN_SECONDS else item.errors
            item.wait(monotonic, _pause(item.errors).total_seconds())
            item.errors += 1
        finally:
            item.working = False
            self._turns.release(grant)
            self._changed.set()
        if gone:
            self.forget(item.key)
        if not item.known:
            self._drop(item)
            return
        item.failed = failed
        now = self._clock.now()
        if item.wake is not before:  # the watch saw it meanwhile
            wake = min(wake, item.wake)
        if failed or wake.at <= now:
            pause = _pause(item.failures)
            item.failures += 1
            if not failed:
                # It fell due while this process worked on it, or still waits for something else than its turn.
                for_long = min((now - wake.at).total_seconds(), self._clock.monotonic() - began)
                due_since = self._clock.monotonic() - max(0.0, for_long)
                item.due_since = due_since if item.due_since is None else min(item.due_since, due_since)
            wake = Wake(now + (pause if failed or item.failures > 5 else timedelta(0)), wake.urgent)
        else:
            item.failures = 0
            item.due_since = None
        self._push(item, wake)


def _pause(failures: int) -> timedelta:
    return min(PAUSE_MOST, PAUSE_FIRST * 2.0 ** min(failures, 10))
