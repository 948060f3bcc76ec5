"""Mutants with the bugs of an earlier version. Each function patches the code as long as its block lasts.

A patch replaces as little as possible: it does not restore other differences of the earlier version.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from qualtrics_exporter import schedule as schedules
from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller import credentials
from qualtrics_exporter.controller.actions import check as check_action
from qualtrics_exporter.controller.actions import run as run_action
from qualtrics_exporter.controller.app import Operator
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import Conflict, Forbidden, NotFound, Unreachable
from qualtrics_exporter.controller.memory import ForeignRun
from qualtrics_exporter.controller.plan import requests, slots, wake
from qualtrics_exporter.controller.plan.wake import Wake
from qualtrics_exporter.controller.queue.work_item import Turn
from qualtrics_exporter.controller.queue.work_queue import WorkQueue
from qualtrics_exporter.controller.reconciler import Reconciler
from qualtrics_exporter.controller.run_holders import RunHolders
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import PATIENCE_SECONDS, StatusStore, _dump
from qualtrics_exporter.export import query, run, send
from qualtrics_exporter.export.run_context import RunContext
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import CERTAIN_REFUSALS, ActiveRun, Status, active_run
from qualtrics_exporter.schedule import Schedule, Slot

NEVER = timedelta(days=3650)


@contextmanager
def refusals_are_certain() -> Iterator[None]:
    """A refused send is repeated after its wait and one look-up, even if the look-up was incomplete."""
    every = CERTAIN_REFUSALS | {str(Reason.RATE_LIMITED)}
    with (
        mock.patch.object(send, "CERTAIN_REFUSALS", every),
        mock.patch.object(active_run, "CERTAIN_REFUSALS", every),
        mock.patch.object(send, "LONGEST_WAIT", timedelta(minutes=5)),
    ):
        yield


@contextmanager
def drift_is_compared_once() -> Iterator[None]:
    """Only the text of the query before an export is compared."""
    with mock.patch.object(query, "_over_time", lambda before, after, *, same_field: before):
        yield


@contextmanager
def runs_are_stolen() -> Iterator[None]:
    """A leader takes over every run at its first reconciliation, and an exporter that returns gets a second task."""
    first: ContextVar[bool] = ContextVar("first")
    plan = Reconciler._plan

    async def planned(self: Reconciler, key: Key, turn: Turn) -> tuple[Exporter, ActiveRun | None]:
        first.set(turn.first)
        return await plan(self, key, turn)

    def is_orphaned(self: RunHolders, key: Key, run: ActiveRun | None) -> bool:
        memory = self.memories.of(key)
        if run is None or first.get() or self.identity.is_own(run.holder):
            memory.foreign_run = None
            return run is not None
        state: Any = (run.holder, run.step, run.attempt)
        now = self.clock.monotonic()
        if memory.foreign_run is None or memory.foreign_run.state != state:
            memory.foreign_run = ForeignRun(state, now)
        return now - memory.foreign_run.since >= 1800

    def forget(queue: WorkQueue, key: Key) -> None:
        item = queue._items.pop(key.uid, None)
        if item is None:
            return
        item.known = False
        queue._known -= 1
        if item.queued:
            queue._turns.discard(item.tenant, item)
            item.queued = False
        item.key = Key(key.namespace, key.name, "")  # so that the end of its task does not remove the new item

    with (
        mock.patch.object(Reconciler, "_plan", planned),
        mock.patch.object(RunHolders, "is_orphaned", is_orphaned),
        mock.patch.object(WorkQueue, "forget", forget),
    ):
        yield


@contextmanager
def forgotten_by_name() -> Iterator[None]:
    """The deletion of an exporter removes every exporter of that name from the work queue."""
    forget = WorkQueue.forget

    def by_name(queue: WorkQueue, key: Key) -> None:
        for known, _ in list(queue.known()):
            if known[:2] == key[:2]:
                forget(queue, known)

    with mock.patch.object(WorkQueue, "forget", by_name):
        yield


@contextmanager
def remembered_after_deletion() -> Iterator[None]:
    """The memory of an exporter that is deleted during its task is never removed."""

    def drop(queue: WorkQueue, item: Any) -> None:
        queue._items.pop(item.key.uid, None)

    def forget(queue: WorkQueue, key: Key) -> None:
        item = queue._items.get(key.uid)
        at_rest = item is not None and item.known and not item.working
        original(queue, key)
        if at_rest:
            queue._on_gone(key)

    original = WorkQueue.forget
    with mock.patch.object(WorkQueue, "_drop", drop), mock.patch.object(WorkQueue, "forget", forget):
        yield


@contextmanager
def clock_steps_are_ignored() -> Iterator[None]:
    """The operator does not notice that a clock was set, and a slot in the future that counts as done stays so."""

    def counted_from(status: Status, now: datetime) -> datetime:
        return max(status.schedule_since or now, status.last_schedule_time or datetime.min.replace(tzinfo=UTC))

    def without_future(status: Status, now: datetime) -> Status:
        schedule = Schedule.from_description(status.schedule or "")
        if schedule is None or counted_from(status, now) <= now + schedule.interval():
            return status
        return status.model_copy(update={"last_schedule_time": None, "schedule_since": now})

    def announced(exporter: Exporter, status: Status, schedule: Schedule, now: datetime) -> datetime | None:
        if exporter.suspended:
            return None
        return schedules.next_slot(schedule, max(now, status.last_schedule_time or now)).due

    check_due = wake.check_due

    def check_due_then(exporter: Exporter, now: datetime) -> datetime:
        checked = exporter.status.last_check_time
        return check_due(exporter, max(now, checked) if checked else now)

    patches: list[AbstractContextManager[Any]] = [
        mock.patch.object(WatchedClock, "now", lambda clock: clock._clock.now()),
        mock.patch.object(slots, "counted_from", counted_from),
        mock.patch.object(slots, "without_future", without_future),
        mock.patch.object(slots, "announced", announced),
        *(mock.patch.object(module, "check_due", check_due_then) for module in (wake, check_action)),
    ]
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


@contextmanager
def slots_have_local_names() -> Iterator[None]:
    """The identity of an hourly slot is its local hour, and a slot whose identity had its run gets no entry."""
    identity, is_done = schedules._identity, slots._is_done

    def local(schedule: Schedule, number: int) -> str:
        if schedule.every_hours in (None, 1):
            return identity(schedule, number)
        return schedules._nominal(schedule, number).isoformat(timespec="hours")

    def lost(status: Status, slot: Slot) -> bool:
        return is_done(status, slot) or any(known.identity == slot.identity for known in status.claimed_slots or [])

    with mock.patch.object(schedules, "_identity", local), mock.patch.object(slots, "_is_done", lost):
        yield


@contextmanager
def one_pool_of_run_slots() -> Iterator[None]:
    """All tenants share a few run slots, and a run that waits for one becomes late."""
    made, reconcile = Operator.__init__, Reconciler._reconcile

    def operator(self: Operator, settings: Settings, *args: Any, **kwargs: Any) -> None:
        made(self, settings, *args, **kwargs)
        self.reconciler.__dict__["run_slots"] = asyncio.Semaphore(settings.max_concurrent_runs)

    async def in_a_run_slot(self: Reconciler, key: Key, turn: Turn) -> Wake:
        exporter = await self.store.read(key)
        status = exporter.status
        due = status.next_schedule_time and status.next_schedule_time <= self.clock.now()
        if not (due or status.active_run or requests.requested(requests.RUN, exporter)):
            return await reconcile(self, key, turn)
        async with self.__dict__["run_slots"]:
            return await reconcile(self, key, turn)

    with (
        mock.patch.object(Operator, "__init__", operator),
        mock.patch.object(Reconciler, "_reconcile", in_a_run_slot),
        mock.patch.object(slots.Context, "lateness", lambda context, due: max(timedelta(0), context.now - due)),
    ):
        yield


@contextmanager
def runs_never_end() -> Iterator[None]:
    """A run has no limit of attempts, and no deadline for its attempts."""
    with (
        mock.patch.object(run, "MAX_ATTEMPTS", 1_000_000),
        mock.patch.object(run_action, "run_deadline", return_value=NEVER),
    ):
        yield


@contextmanager
def runs_have_no_deadline() -> Iterator[None]:
    """A run that was paused for a day continues, and sends."""
    with mock.patch.object(RunContext, "_seconds_left", None):
        yield


@contextmanager
def unreadable_secrets_raise() -> Iterator[None]:
    """An error of the API server about a Secret is not handled by the run and the check."""
    read = credentials.read_secret

    async def raising(cluster: ClusterApi, namespace: str, name: str) -> tuple[Mapping[str, bytes], str]:
        with contextlib.suppress(NotFound, Forbidden):
            return (await cluster.get_secret(namespace, name)).data, f"Secret {namespace}/{name}"
        return await read(cluster, namespace, name)

    async def state(factory: ClientFactory, namespace: str, name: str) -> credentials.SecretState:
        try:
            metadata = await factory._cluster.secret_metadata(namespace, name)
        except Forbidden:
            return credentials.SecretState(name, "not readable")
        return credentials.SecretState(name, metadata.version if metadata else None)

    with mock.patch.object(credentials, "read_secret", raising), mock.patch.object(ClientFactory, "_state", state):
        yield


@contextmanager
def conflicts_have_no_patience() -> Iterator[None]:
    """A write that conflicts is repeated until it succeeds."""

    async def change(
        store: StatusStore,
        key: Key,
        change: Callable[[Exporter], Status | None],
        *,
        patience: float = PATIENCE_SECONDS,
        **_: Any,
    ) -> Exporter:
        give_up = store.clock.monotonic() + patience
        pause = 0.1
        while True:
            try:
                exporter = await store.read(key)
                status = change(exporter)
                if status is None or _dump(status) == _dump(exporter.status):
                    return exporter
                written = await store.cluster.replace_status(
                    key.namespace, key.name, key.uid, exporter.resource_version, _dump(status)
                )
                return Exporter.from_object(written)
            except Conflict:
                pass
            except Unreachable:
                if store.clock.monotonic() + pause > give_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    with mock.patch.object(StatusStore, "change", change):
        yield
