"""The work queue: who is reconciled when, and that nobody is reconciled twice at once or forgotten."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from qualtrics_exporter.controller.kube.errors import Forbidden, NotFound, Refused, Unreachable
from qualtrics_exporter.controller.plan.wake import NEVER, Wake
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.work_item import BURST, REFILL_SECONDS, Turn
from qualtrics_exporter.controller.work_queue import WorkQueue
from qualtrics_exporter.fair_share import Tenant
from tests.controller.exporters import at
from tests.environment.clock import SteeredClock

NOON = at("2026-11-23 12:00")
A, B = Tenant("a", "nexthink"), Tenant("b", "nexthink")


class Desk:
    """Reconciles by noting it, and takes as long as it is told."""

    def __init__(self) -> None:
        self.clock = SteeredClock(start=NOON)
        self.started: list[str] = []
        self.turns: list[Turn] = []
        self.working: list[str] = []
        self.wakes: dict[str, Wake] = {}
        self.errors: dict[str, Exception] = {}
        self.hold: set[str] = set()
        self.released = asyncio.Event()
        self.gone: list[str] = []
        self.queue = WorkQueue(
            self.reconcile, self.clock, on_gone=lambda key: self.gone.append(key.name), max_in_progress=10
        )

    async def reconcile(self, key: Key, turn: Turn) -> Wake:
        assert key.name not in self.working, "two tasks work on one exporter"
        self.started.append(key.name)
        self.turns.append(turn)
        self.working.append(key.name)
        try:
            while key.name in self.hold:
                await self.released.wait()
            if error := self.errors.get(key.name):
                raise error
            return self.wakes.get(key.name, NEVER)
        finally:
            self.working.remove(key.name)

    def enqueue(self, name: str, tenant: Tenant = A, *, uid: str = "", urgent: bool = True, after: float = 0) -> Key:
        key = Key(tenant.namespace, name, uid or name)
        self.queue.enqueue(key, tenant, Wake(self.clock.now() + timedelta(seconds=after), urgent), "1")
        return key

    def release(self, *names: str) -> None:
        self.hold -= set(names)
        self.released.set()
        self.released = asyncio.Event()

    @asynccontextmanager
    async def leads(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.queue.lead())
        try:
            await settled()
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def passes(self, seconds: float) -> None:
        await self.clock.asleep()
        self.clock.advance(seconds)
        await settled()


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_what_is_due_is_reconciled_and_what_is_not_waits(desk: Desk) -> None:
    desk.enqueue("now")
    desk.enqueue("later", after=600)
    async with desk.leads():
        assert desk.started == ["now"]
        await desk.passes(601)
        assert desk.started == ["now", "later"]


async def test_an_exporter_that_leaves_the_selector_and_returns_is_worked_on_by_one_task(desk: Desk) -> None:
    desk.hold.add("teams")
    key = desk.enqueue("teams")
    async with desk.leads():
        desk.queue.forget(key)
        assert len(desk.queue) == 0
        desk.enqueue("teams")
        await settled()
        assert desk.started == ["teams"]
        desk.release("teams")
        await settled()
        assert desk.started == ["teams", "teams"], "what happened meanwhile makes it due again"


async def test_one_that_is_deleted_and_recreated_in_one_burst_is_kept(desk: Desk) -> None:
    old = desk.enqueue("teams", uid="old")
    desk.enqueue("teams", uid="new")
    desk.queue.forget(old)
    assert [key.uid for key, _ in desk.queue.known()] == ["new"]
    async with desk.leads():
        assert desk.started == ["teams"]


async def test_what_a_task_remembers_about_an_exporter_deleted_meanwhile_is_let_go_of(desk: Desk) -> None:
    desk.hold.add("teams")
    key = desk.enqueue("teams")
    async with desk.leads():
        desk.queue.forget(key)
        assert desk.gone == ["teams"], "alerts about it end at once"
        desk.errors["teams"] = NotFound("it is deleted")
        desk.release("teams")
        await settled()
        assert desk.gone == ["teams", "teams"], "the task may have remembered something meanwhile"


async def test_one_that_vanishes_while_it_waits_is_not_reconciled(desk: Desk) -> None:
    desk.hold |= {f"a{n}" for n in range(5)}
    for n in range(6):
        last = desk.enqueue(f"a{n}")
    async with desk.leads():
        desk.queue.forget(last)
        desk.release(*desk.hold)
        await settled()
    assert "a5" not in desk.started
    assert desk.queue.waiting == 0


async def test_an_exporter_that_does_not_exist_any_more_is_forgotten(desk: Desk) -> None:
    desk.errors["teams"] = NotFound("not found")
    desk.enqueue("teams")
    async with desk.leads():
        assert len(desk.queue) == 0


async def test_a_tenant_that_hangs_does_not_keep_another_waiting(desk: Desk) -> None:
    desk.hold |= {f"a{n}" for n in range(50)}
    for n in range(50):
        desk.enqueue(f"a{n}", A)
    async with desk.leads():
        assert len(desk.working) == 5
        for n in range(4):
            desk.enqueue(f"b{n}", B)
        await settled()
        assert desk.started[5:] == ["b0", "b1", "b2", "b3"]


async def test_the_lag_covers_everything_that_waits(desk: Desk) -> None:
    desk.hold |= {f"a{n}" for n in range(50)}
    for n in range(50):
        desk.enqueue(f"a{n}")
    async with desk.leads():
        await desk.passes(1234)
        assert 1234 <= desk.queue.lag < 1240
        assert (desk.queue.waiting, desk.queue.in_progress) == (45, 5)
        desk.enqueue("a49")  # the watch sees it again
        await settled()
        assert desk.queue.lag >= 1234
        desk.release(*desk.hold)
        await settled()
        assert desk.queue.lag == 0


async def test_one_that_waits_keeps_its_place_however_often_it_is_changed(desk: Desk) -> None:
    desk.hold |= {f"a{n}" for n in range(7)}
    for n in range(7):
        desk.enqueue(f"a{n}")
    async with desk.leads():
        for _ in range(3):
            desk.enqueue("a5")
            await settled()
        desk.release("a0", "a5", "a6")
        await settled()
    assert desk.started[5] == "a5"


async def test_a_request_makes_a_waiting_check_urgent(desk: Desk) -> None:
    desk.hold |= {f"a{n}" for n in range(5)}
    for n in range(5):
        desk.enqueue(f"a{n}")
    desk.enqueue("check-1", urgent=False)
    desk.enqueue("check-2", urgent=False)
    async with desk.leads():
        desk.enqueue("check-2", urgent=True)
        await settled()
        desk.release(*desk.hold)
        await settled()
    assert desk.started[5:] == ["check-2", "check-1"]


async def test_one_that_fails_is_tried_again_less_and_less_often(desk: Desk) -> None:
    desk.errors["teams"] = Unreachable("no answer")
    desk.enqueue("teams")
    async with desk.leads():
        for _ in range(600):
            await desk.passes(1)
    assert 8 <= len(desk.started) <= 14


async def test_one_that_waits_for_something_else_than_its_turn_is_not_late_and_counts_as_waiting(desk: Desk) -> None:
    desk.wakes["teams"] = Wake(NOON)  # due, and it stays so: for example while the clock is in doubt
    desk.enqueue("teams")
    async with desk.leads():
        for _ in range(30):
            await desk.passes(10)
        assert desk.turns[-1].waited >= timedelta(seconds=150)
        assert desk.queue.lag >= 290


async def test_a_slot_that_falls_due_while_its_exporter_is_busy_is_not_late(desk: Desk) -> None:
    desk.hold.add("teams")
    desk.enqueue("teams")
    async with desk.leads():
        desk.wakes["teams"] = Wake(NOON + timedelta(seconds=100))
        await desk.passes(340)
        desk.release("teams")
        await settled()
        assert desk.turns[-1].waited >= timedelta(seconds=240)


async def test_a_cancellation_from_nowhere_does_not_lose_an_exporter(desk: Desk) -> None:
    desk.errors["teams"] = asyncio.CancelledError()  # type: ignore[assignment]
    desk.enqueue("teams")
    async with desk.leads():
        del desk.errors["teams"]
        await desk.passes(121)
        assert desk.started == ["teams", "teams"]


async def test_a_term_that_ends_leaves_nothing_behind_and_the_next_one_starts_anew(desk: Desk) -> None:
    desk.hold.add("teams")
    desk.enqueue("teams")
    async with desk.leads():
        assert desk.working == ["teams"]
    assert desk.working == []
    assert desk.queue.lag == 0
    async with desk.leads():
        assert desk.started == ["teams", "teams"]
        assert all(turn.first for turn in desk.turns)


async def test_two_writers_that_undo_each_others_changes_do_not_flood_the_api_server() -> None:
    """Each reconciliation changes the object, and the watch reports the change of the other writer at once."""
    desk = Desk()
    async with desk.leads():
        for _ in range(3600):
            desk.enqueue("e")
            await settled()
            await desk.passes(1)
    assert len(desk.started) < 400


async def test_an_exporter_that_changed_often_is_reconciled_at_once_after_a_rest() -> None:
    desk = Desk()
    async with desk.leads():
        for _ in range(2 * BURST):
            desk.enqueue("e")
            await settled()
        assert len(desk.started) == BURST
        await desk.passes(BURST * REFILL_SECONDS)
        await desk.passes(BURST * REFILL_SECONDS)
        before = len(desk.started)
        desk.enqueue("e")
        await settled()
        assert len(desk.started) == before + 1


async def test_a_missing_permission_is_the_problem_of_the_operator_only_if_it_is_missing_everywhere(desk: Desk) -> None:
    one, two = desk.enqueue("one", A), desk.enqueue("two", B)
    desk.errors = {"one": Forbidden("no right in a", 403), "two": Forbidden("no right in b", 403)}
    async with desk.leads():
        assert desk.queue.problem in ("no right in a", "no right in b")
        assert desk.queue.failing == 2
        del desk.errors["one"]
        desk.enqueue("one", A)
        await settled()
        assert desk.queue.problem is None
        assert desk.queue.failing == 1
        desk.errors["one"] = Refused("a policy refuses this one exporter", 403)
        desk.enqueue("one", A)
        await settled()
        assert desk.queue.problem is None
        desk.queue.forget(one)
        assert desk.queue.problem == "no right in b", "all that is left is forbidden"
        desk.queue.forget(two)
        assert desk.queue.problem is None


DENIED = Forbidden("its role lacks that rule", 403)
HOUR = 3600


@pytest.mark.parametrize("first", ["fine", "denied"])
async def test_a_permission_that_is_refused_for_one_exporter_is_not_the_problem_of_the_operator(
    desk: Desk, first: str
) -> None:
    """A webhook of the API server may refuse a single object, in the words of a missing permission."""
    for name in (first, *{"fine", "denied"} - {first}):
        desk.enqueue(name)
    desk.enqueue("suspended", after=1000 * HOUR)
    desk.wakes["fine"] = Wake(NOON + timedelta(hours=6))
    desk.errors = {"denied": DENIED}
    async with desk.leads():
        for _ in range(20):
            await desk.passes(600)
            assert desk.queue.problem is None
        assert desk.started.count("denied") > 10


async def test_a_single_exporter_that_is_refused_at_first_is_no_problem_of_the_operator_if_there_are_others(
    desk: Desk,
) -> None:
    desk.enqueue("denied")
    desk.enqueue("later", after=6 * HOUR)
    desk.errors = {"denied": DENIED}
    async with desk.leads():
        assert desk.started == ["denied"]
        assert desk.queue.problem is None


async def test_a_permission_that_is_withdrawn_is_the_problem_of_the_operator_once_every_exporter_was_refused(
    desk: Desk,
) -> None:
    """One that is suspended has nothing to do. That it was reconciled long ago says nothing any more."""
    names = ("one", "two", "suspended")
    for name in names:
        desk.enqueue(name)
    desk.wakes = {name: Wake(NOON + timedelta(hours=hours)) for name, hours in (("one", 6), ("two", 7))}
    async with desk.leads():
        assert desk.started == [*names]
        desk.errors = dict.fromkeys(names, DENIED)
        await desk.passes(6 * HOUR + 1)
        assert desk.queue.problem is None, "only one was refused"
        await desk.passes(HOUR)
        assert desk.queue.failing == 2
        await desk.passes(2 * HOUR)
        assert desk.queue.problem == str(DENIED)
        del desk.errors["two"]
        desk.wakes = {}
        await desk.passes(121)
        assert desk.queue.problem is None
    assert desk.queue.problem is None


async def test_the_only_exporter_there_is_stands_for_the_permission(desk: Desk) -> None:
    """Nothing shows whether it alone is refused. A missing permission is more likely."""
    desk.enqueue("denied")
    desk.errors = {"denied": DENIED}
    async with desk.leads():
        assert desk.queue.problem == str(DENIED)
    assert desk.queue.problem is None, "a replica that does not lead needs no permission to write"


async def test_a_change_does_not_end_the_pause_after_an_unexpected_error(desk: Desk) -> None:
    """The change may be the operator's own report of that error."""
    desk.enqueue("one")
    desk.errors = {"one": ZeroDivisionError("nobody expected this")}
    async with desk.leads():
        for _ in range(20):
            desk.enqueue("one")
            await settled()
        assert desk.started == ["one"]
        await desk.passes(1.5)
        assert desk.started == ["one"] * 2


async def test_an_unexpected_error_after_a_long_time_counts_as_the_first(desk: Desk) -> None:
    desk.enqueue("one")
    desk.errors = {"one": ZeroDivisionError("nobody expected this")}
    async with desk.leads():
        for pause in (1, 2, 4):
            await desk.passes(pause)
        assert desk.started == ["one"] * 4
        del desk.errors["one"]
        await desk.passes(8)
        await desk.passes(2000)
        before = len(desk.started)
        desk.errors = {"one": ZeroDivisionError("nobody expected this either")}
        desk.enqueue("one")
        await settled()
        assert len(desk.started) == before + 1
        await desk.passes(1)
        assert len(desk.started) == before + 2
