"""The work queue: every exporter, when it needs attention next, and whose turn it is.

    watch ── enqueue(key, wake) ──▶ heap of wake-ups ──▶ waiting, per tenant ──▶ reconcile(key, turn) ──▶ wake

The watch fills the queue, and one task empties it. At most one task of this process reconciles an exporter at a time,
even if the exporter leaves the watch and comes back meanwhile: its runs, checks and plans never interleave. A change
that arrives during a reconciliation makes the exporter due again afterwards.

An exporter that is due stays in the queue until its turn. In its turn, it may wait for a limit of this process, such as
a rate limit (`Waits`). `lag` covers both. Tenants take turns (see `fair_share`); slots and requests come before checks
and figures. The queue decides no times: `plan/wake.py` does. It only slows down exporters that fail or change too often
(`work_item.py`). After a restart, the first listing fills the queue again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, NotFound
from qualtrics_exporter.controller.plan.wake import NEVER, Wake
from qualtrics_exporter.controller.queue.wake_heap import WakeHeap
from qualtrics_exporter.controller.queue.work_item import MAX_BACKOFF, Turn, WorkItem, missing_permission
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.fair_share import FairQueue, Grant, Tenant
from qualtrics_exporter.remote.waits import Waits

log = logging.getLogger(__name__)

NAP_SECONDS = 30.0
"""The longest time between two looks at the heap: if the wall clock is set forward, slots become due."""
MAX_IN_PROGRESS = 1000
"""How many exporters are reconciled at once. Nearly all of them wait: for a rate limit, a mailing list or an import.
This limits what they cost while they wait; requests and recipients have limits of their own.
"""
MAX_BACKGROUND = 200
MAX_BACKGROUND_OF_TENANT = 50
"""How many of these are checks, look-ups and figures: enough that a few that hang do not stop the others."""
Reconcile = Callable[[Key, Turn], Awaitable[Wake]]


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
        nap_seconds: float = NAP_SECONDS,
        waits: Waits | None = None,
    ) -> None:
        self.waits = waits or Waits(clock)
        self._reconcile = reconcile
        self._clock = clock
        self._on_lead = on_lead
        self._on_gone = on_gone
        self._nap_seconds = nap_seconds
        self._items: dict[str, WorkItem] = {}  # by uid
        self._wakes = WakeHeap(lambda: (item for item in self._items.values() if not item.working))
        self._turns: FairQueue[WorkItem] = FairQueue(
            max_in_progress, background=MAX_BACKGROUND, background_each=MAX_BACKGROUND_OF_TENANT
        )
        self._changed = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = 0.0
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
        """How many exporters failed in their last reconciliation. A standby reconciles none."""
        return sum(item.failed for item in self._items.copy().values()) if self.leading else 0

    @property
    def problem(self) -> str | None:
        """The permission that seems to be missing for all exporters, since this replica leads."""
        known = [item for item in self._items.values() if item.known] if self.leading else []
        return missing_permission(known, self._clock.monotonic())

    @property
    def lag(self) -> float:
        """How many seconds the exporter that waits longest has waited: since it was due, or for a limit in its turn."""
        if not self.leading:
            return 0.0
        # A metrics scrape may call this in another thread: `copy` is one step of the interpreter.
        items = [item for item in self._items.copy().values() if not item.working]
        oldest = min((item.wake.at for item in items), default=NEVER.at)
        since = min([self.waits.since, *(item.due_since for item in items if item.due_since is not None)])
        return max(0.0, (self._clock.now() - oldest).total_seconds(), self._clock.monotonic() - since)

    def known(self) -> Iterator[tuple[Key, str]]:
        """Every exporter that the watch knows, with its last known resourceVersion."""
        return ((item.key, item.version) for item in self._items.values() if item.known)

    def enqueue(self, key: Key, tenant: Tenant, wake: Wake, version: str) -> None:
        """The watch saw an exporter; it needs attention at `wake`."""
        item = self._items.get(key.uid)
        if item is None:
            item = self._items[key.uid] = WorkItem(key, tenant, version)
            self._known += 1
        elif not item.known:
            item.known = True
            self._known += 1
        item.version = version
        item.enqueued = wake
        if item.working:
            item.wake, item.tenant = wake, tenant  # `_work` reads them at its end
            return
        if item.queued:
            due = wake.at <= self._clock.now()
            if due and item.tenant == tenant and wake.urgent <= item.wake.urgent:
                if wake.urgent_at != item.wake.urgent_at:
                    self._promote_at(item, wake.urgent_at)
                return  # it keeps its place, however often it changes
            self._unqueue(item)
            if due:
                item.wake = Wake(item.wake.at, wake.urgent, wake.urgent_at)
                self._wait(item, tenant)
                return
        item.tenant = tenant
        self._push(item, wake)

    def forget(self, key: Key) -> None:
        """The exporter was deleted, or the selector does not match it any more. A task that works on it continues.

        Calls `on_gone` at once, and again when such a task has ended: the task may have remembered something meanwhile.
        """
        item = self._items.get(key.uid)
        if item is None or not item.known:
            return
        item.known = False
        self._known -= 1
        self._unqueue(item)
        if item.working:
            self._on_gone(key)
        else:
            self._drop(item)

    def _drop(self, item: WorkItem) -> None:
        self._items.pop(item.key.uid, None)
        self._on_gone(item.key)

    async def lead(self) -> None:
        """Reconcile exporters until cancelled. All tasks have ended when this returns."""
        for item in [item for item in self._items.values() if not item.known]:
            self._drop(item)
        for item in self._items.values():
            item.first = True
            item.refusal, item.succeeded = "", None
            self._push(item, item.wake.first(item.enqueued))
        self.leading = True
        self._on_lead(True)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self.ticked = self._clock.monotonic()
                    self._changed.clear()
                    self._queue_due()
                    self._start(group)
                    self._set_timer(group)
                    await self._changed.wait()
        finally:
            self.leading = False
            self._timer = None
            self._on_lead(False)
            for item in self._items.values():
                self._unqueue(item)

    def _push(self, item: WorkItem, wake: Wake) -> None:
        if (pause := item.not_before - self._clock.monotonic()) > 0:
            wake = max(wake, Wake(self._clock.now() + timedelta(seconds=pause), wake.urgent, wake.urgent_at))
        item.wake = wake
        self._wakes.push(wake.at, item)
        self._changed.set()

    def _queue_due(self) -> None:
        """Move what is due from the heap to the queue of its tenant."""
        for at, item in self._wakes.pop_due(self._clock.now()):
            if self._items.get(item.key.uid) is not item or item.working:
                continue
            if not item.queued and item.wake.at == at:
                if item.due_since is None:
                    item.due_since = self._clock.monotonic()
                self._wait(item, item.tenant)
            elif item.queued and not item.wake.urgent and item.wake.urgent_at == at:
                # Its slot is due while it waits for a check: it does not wait behind the checks of its tenant.
                self._unqueue(item)
                item.wake, item.due_since = Wake(at), self._clock.monotonic()
                self._wait(item, item.tenant)

    def _wait(self, item: WorkItem, tenant: Tenant) -> None:
        item.queued, item.tenant = True, tenant
        self._turns.push(tenant, item, urgent=item.wake.urgent)
        self._promote_at(item, item.wake.urgent_at)
        self._changed.set()

    def _promote_at(self, item: WorkItem, at: datetime) -> None:
        """Look at a queued item when its slot is due."""
        item.wake = item.wake._replace(urgent_at=at)
        if not item.wake.urgent and at != NEVER.at:
            self._wakes.push(at, item)
            self._changed.set()

    def _unqueue(self, item: WorkItem) -> None:
        if item.queued:
            self._turns.discard(item.tenant, item)
            item.queued = False

    def _start(self, group: asyncio.TaskGroup) -> None:
        while (turn := self._turns.pop()) is not None:
            item = turn.item
            item.queued, item.working = False, True
            group.create_task(self._work(item, turn), name=f"reconcile {item.key}")

    def _set_timer(self, group: asyncio.TaskGroup) -> None:
        """Look again when the next item is due, and at least every `NAP_SECONDS`: the wall clock may be set."""
        seconds = self._nap_seconds
        if (first := self._wakes.next) is not None:
            seconds = min(seconds, max(0.0, (first - self._clock.now()).total_seconds()))
        at = self._clock.monotonic() + seconds
        if self._timer is not None:
            if not self._timer.done() and self._timer_at <= at:
                return  # an early look is harmless
            self._timer.cancel()
        self._timer_at = at
        self._timer = group.create_task(self._notify_after(seconds), name="timer")

    async def _notify_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._changed.set()

    async def _work(self, item: WorkItem, grant: Grant[WorkItem]) -> None:
        """Reconcile one exporter, and store when it needs attention next."""
        before = item.wake
        began = self._clock.monotonic()
        item.reconciled(began)
        waited = timedelta(seconds=began - (began if item.due_since is None else item.due_since))
        wake = Wake(self._clock.now() + MAX_BACKOFF)
        failed, gone = True, False
        try:
            wake = await self._reconcile(
                item.key, Turn(item.first, grant.urgent, waited, self.waiting, self.in_progress)
            )
            item.first = False
            failed = False
            item.refusal, item.succeeded = "", self._clock.monotonic()
        except asyncio.CancelledError:
            # The term ends, and the next term starts anew. In any other case, the exporter must not be forgotten.
            self._push(item, wake)
            raise
        except NotFound:
            gone = True
        except ClusterError as error:
            log.warning("reconciling %s failed, retrying: %s", item.key, error)
            if isinstance(error, Forbidden):
                item.refusal, item.succeeded = str(error), None
        except Exception:
            # An error about one exporter never stops the others: it is retried after longer and longer pauses.
            log.exception("%s could not be reconciled", item.key)
            item.met_unexpected_error(self._clock.monotonic())
        finally:
            item.working = False
            self._turns.release(grant)
            self._changed.set()
        if gone:
            self.forget(item.key)
        if not item.known:
            self._drop(item)
            return
        if item.wake is not before:  # the watch has seen a change meanwhile
            wake = wake.first(item.wake)
        now, monotonic = self._clock.now(), self._clock.monotonic()
        self._push(item, item.next_wake(wake, now, monotonic, began, failed=failed))
