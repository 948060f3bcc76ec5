"""The work queue decides when an exporter is reconciled, never twice at the same time, and forgets none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta

import pytest

from qualtrics_exporter.controller.kube.errors import Forbidden, NotFound, Refused, Unreachable
from qualtrics_exporter.controller.plan.wake import NEVER, Wake
from qualtrics_exporter.controller.queue.work_item import BURST, REFILL_SECONDS, Turn
from qualtrics_exporter.controller.queue.work_queue import WorkQueue
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.fair_share import Tenant
from tests.controller.exporters import at
from tests.support.clock import SteeredClock

NOON = at("2026-11-23 12:00")
A, B = Tenant("a", "nexthink"), Tenant("b", "nexthink")


class QueueHarness:
    """A work queue whose reconciler records its calls, and takes as long as a test wants."""

    def __init__(self) -> None:
        self.clock = SteeredClock(start=NOON)
        self.started: list[str] = []
        self.turns: list[Turn] = []
        self.working: list[str] = []
        self.wakes: dict[str, Wake] = {}
        self.errors: dict[str, Exception] = {}
        self.hold: set[str] = set()
        self.limited: set[str] = set()
        """Of those in `hold`, the exporters that wait for a rate limit."""
        self.released = asyncio.Event()
        self.cleaned_up: list[str] = []
        self.queue = WorkQueue(
            self.reconcile, self.clock, on_gone=lambda key: self.cleaned_up.append(key.name), max_in_progress=10
        )

    async def reconcile(self, key: Key, turn: Turn) -> Wake:
        assert key.name not in self.working, "two tasks reconcile one exporter"
        self.started.append(key.name)
        self.turns.append(turn)
        self.working.append(key.name)
        try:
            while key.name in self.hold:
                with self.queue.waits.waiting("nexthink") if key.name in self.limited else nullcontext():
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
    async def leading(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.queue.lead())
        try:
            await let_tasks_run()
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def pass_time(self, seconds: float) -> None:
        await self.clock.asleep()
        self.clock.advance(seconds)
        await let_tasks_run()


async def let_tasks_run() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
async def harness() -> QueueHarness:
    return QueueHarness()


async def test_due_exporter_is_reconciled_and_others_wait_for_their_time(harness: QueueHarness) -> None:
    harness.enqueue("now")
    harness.enqueue("later", after=600)
    async with harness.leading():
        assert harness.started == ["now"]
        await harness.pass_time(601)
        assert harness.started == ["now", "later"]


async def test_exporter_that_leaves_and_rejoins_the_selector_has_one_task(harness: QueueHarness) -> None:
    harness.hold.add("teams")
    key = harness.enqueue("teams")
    async with harness.leading():
        harness.queue.forget(key)
        assert len(harness.queue) == 0
        harness.enqueue("teams")
        await let_tasks_run()
        assert harness.started == ["teams"]
        harness.release("teams")
        await let_tasks_run()
        assert harness.started == ["teams", "teams"], "a change during the task makes it due again"


async def test_exporter_that_is_recreated_under_its_name_stays_in_the_queue(harness: QueueHarness) -> None:
    old = harness.enqueue("teams", uid="old")
    harness.enqueue("teams", uid="new")
    harness.queue.forget(old)
    assert [key.uid for key, _ in harness.queue.known()] == ["new"]
    async with harness.leading():
        assert harness.started == ["teams"]


async def test_exporter_deleted_during_its_task_is_cleaned_up_again_after_the_task(harness: QueueHarness) -> None:
    harness.hold.add("teams")
    key = harness.enqueue("teams")
    async with harness.leading():
        harness.queue.forget(key)
        assert harness.cleaned_up == ["teams"], "its metrics are removed at once"
        harness.errors["teams"] = NotFound("it was deleted")
        harness.release("teams")
        await let_tasks_run()
        assert harness.cleaned_up == ["teams", "teams"], "the task may have stored something in between"


async def test_exporter_deleted_while_it_waits_is_not_reconciled(harness: QueueHarness) -> None:
    harness.hold |= {f"a{n}" for n in range(5)}
    for n in range(6):
        last = harness.enqueue(f"a{n}")
    async with harness.leading():
        harness.queue.forget(last)
        harness.release(*harness.hold)
        await let_tasks_run()
    assert "a5" not in harness.started
    assert harness.queue.waiting == 0


async def test_exporter_that_is_not_found_is_removed_from_the_queue(harness: QueueHarness) -> None:
    harness.errors["teams"] = NotFound("not found")
    harness.enqueue("teams")
    async with harness.leading():
        assert len(harness.queue) == 0


async def test_tenant_whose_runs_hang_does_not_delay_another_tenant(harness: QueueHarness) -> None:
    harness.hold |= {f"a{n}" for n in range(50)}
    for n in range(50):
        harness.enqueue(f"a{n}", A)
    async with harness.leading():
        assert len(harness.working) == 5
        for n in range(4):
            harness.enqueue(f"b{n}", B)
        await let_tasks_run()
        assert harness.started[5:] == ["b0", "b1", "b2", "b3"]


async def test_lag_covers_every_waiting_exporter(harness: QueueHarness) -> None:
    harness.hold |= {f"a{n}" for n in range(50)}
    for n in range(50):
        harness.enqueue(f"a{n}")
    async with harness.leading():
        await harness.pass_time(1234)
        assert 1234 <= harness.queue.lag < 1240
        assert (harness.queue.waiting, harness.queue.in_progress) == (45, 5)
        harness.enqueue("a49")  # the watch reports it again
        await let_tasks_run()
        assert harness.queue.lag >= 1234
        harness.release(*harness.hold)
        await let_tasks_run()
        assert harness.queue.lag == 0


async def test_lag_covers_an_exporter_that_waits_for_a_rate_limit_in_its_turn(harness: QueueHarness) -> None:
    harness.hold |= {"runs", "limited"}
    harness.limited.add("limited")
    for name in harness.hold:
        harness.enqueue(name)
    async with harness.leading():
        await harness.pass_time(1234)
        assert (harness.queue.waiting, harness.queue.in_progress) == (0, 2)
        assert harness.queue.waits.exporters == 1
        assert 1234 <= harness.queue.lag < 1240
        harness.release("limited")
        await let_tasks_run()
        assert (harness.queue.waits.exporters, harness.queue.lag) == (0, 0), "a run that does not wait is not late"
        assert harness.queue.waits.rate_limit_seconds()["nexthink"] >= 1234


async def test_waits_of_a_term_end_with_it(harness: QueueHarness) -> None:
    harness.hold.add("limited")
    harness.limited.add("limited")
    harness.enqueue("limited")
    async with harness.leading():
        assert harness.queue.waits.exporters == 1
    assert (harness.queue.waits.exporters, harness.queue.lag) == (0, 0)


async def test_waiting_exporter_keeps_its_place_when_it_changes(harness: QueueHarness) -> None:
    harness.hold |= {f"a{n}" for n in range(7)}
    for n in range(7):
        harness.enqueue(f"a{n}")
    async with harness.leading():
        for _ in range(3):
            harness.enqueue("a5")
            await let_tasks_run()
        harness.release("a0", "a5", "a6")
        await let_tasks_run()
    assert harness.started[5] == "a5"


async def test_request_makes_a_waiting_check_urgent(harness: QueueHarness) -> None:
    harness.hold |= {f"a{n}" for n in range(5)}
    for n in range(5):
        harness.enqueue(f"a{n}")
    harness.enqueue("check-1", urgent=False)
    harness.enqueue("check-2", urgent=False)
    async with harness.leading():
        harness.enqueue("check-2", urgent=True)
        await let_tasks_run()
        harness.release(*harness.hold)
        await let_tasks_run()
    assert harness.started[5:] == ["check-2", "check-1"]


async def test_failing_exporter_is_retried_less_and_less_often(harness: QueueHarness) -> None:
    harness.errors["teams"] = Unreachable("no answer")
    harness.enqueue("teams")
    async with harness.leading():
        for _ in range(600):
            await harness.pass_time(1)
    assert 8 <= len(harness.started) <= 14


async def test_exporter_that_stays_due_after_its_turn_counts_as_waiting(harness: QueueHarness) -> None:
    harness.wakes["teams"] = Wake(NOON)  # it stays due, for example while the clock is in doubt
    harness.enqueue("teams")
    async with harness.leading():
        for _ in range(30):
            await harness.pass_time(10)
        assert harness.turns[-1].waited >= timedelta(seconds=150)
        assert harness.queue.lag >= 290


async def test_slot_due_during_a_task_of_its_exporter_counts_as_waiting(harness: QueueHarness) -> None:
    harness.hold.add("teams")
    harness.enqueue("teams")
    async with harness.leading():
        harness.wakes["teams"] = Wake(NOON + timedelta(seconds=100))
        await harness.pass_time(340)
        harness.release("teams")
        await let_tasks_run()
        assert harness.turns[-1].waited >= timedelta(seconds=240)


async def test_exporter_is_reconciled_again_after_an_unexpected_cancellation(harness: QueueHarness) -> None:
    harness.errors["teams"] = asyncio.CancelledError()  # type: ignore[assignment]
    harness.enqueue("teams")
    async with harness.leading():
        del harness.errors["teams"]
        await harness.pass_time(121)
        assert harness.started == ["teams", "teams"]


async def test_end_of_a_term_cancels_all_tasks_and_the_next_term_starts_again(harness: QueueHarness) -> None:
    harness.hold.add("teams")
    harness.enqueue("teams")
    async with harness.leading():
        assert harness.working == ["teams"]
    assert harness.working == []
    assert harness.queue.lag == 0
    async with harness.leading():
        assert harness.started == ["teams", "teams"]
        assert all(turn.first for turn in harness.turns)


async def test_two_writers_that_undo_each_others_changes_do_not_flood_the_api_server(harness: QueueHarness) -> None:
    """Each reconciliation changes the object, and the watch at once reports the change of the other writer."""
    began = harness.clock.monotonic()
    async with harness.leading():
        for _ in range(3600):
            harness.enqueue("e")
            await let_tasks_run()
            await harness.pass_time(1)
    passed = harness.clock.monotonic() - began  # the time of the test itself counts, too
    assert len(harness.started) < 40 + passed / 10


async def test_exporter_with_a_burst_of_changes_is_reconciled_at_once_after_a_pause(harness: QueueHarness) -> None:
    async with harness.leading():
        for _ in range(2 * BURST):
            harness.enqueue("e")
            await let_tasks_run()
        assert len(harness.started) == BURST
        await harness.pass_time(BURST * REFILL_SECONDS)
        await harness.pass_time(BURST * REFILL_SECONDS)
        before = len(harness.started)
        harness.enqueue("e")
        await let_tasks_run()
        assert len(harness.started) == before + 1


async def test_missing_permission_is_a_problem_of_the_operator_only_if_every_exporter_lacks_it(
    harness: QueueHarness,
) -> None:
    one, two = harness.enqueue("one", A), harness.enqueue("two", B)
    harness.errors = {"one": Forbidden("no permission in a", 403), "two": Forbidden("no permission in b", 403)}
    async with harness.leading():
        assert harness.queue.problem in ("no permission in a", "no permission in b")
        assert harness.queue.failing == 2
        del harness.errors["one"]
        harness.enqueue("one", A)
        await let_tasks_run()
        assert harness.queue.problem is None
        assert harness.queue.failing == 1
        harness.errors["one"] = Refused("a policy refuses this exporter", 403)
        harness.enqueue("one", A)
        await let_tasks_run()
        assert harness.queue.problem is None
        harness.queue.forget(one)
        assert harness.queue.problem == "no permission in b", "every remaining exporter is forbidden"
        harness.queue.forget(two)
        assert harness.queue.problem is None


DENIED = Forbidden("its role lacks that rule", 403)
HOUR = 3600


@pytest.mark.parametrize("first", ["allowed", "denied"])
async def test_permission_denied_for_one_of_several_exporters_is_not_a_problem_of_the_operator(
    harness: QueueHarness, first: str
) -> None:
    """A webhook may refuse a single object with the message of a missing permission."""
    for name in (first, *{"allowed", "denied"} - {first}):
        harness.enqueue(name)
    harness.enqueue("suspended", after=1000 * HOUR)
    harness.wakes["allowed"] = Wake(NOON + timedelta(hours=6))
    harness.errors = {"denied": DENIED}
    async with harness.leading():
        for _ in range(20):
            await harness.pass_time(600)
            assert harness.queue.problem is None
        assert harness.started.count("denied") > 10


async def test_exporter_that_is_denied_first_is_not_a_problem_of_the_operator_if_others_wait(
    harness: QueueHarness,
) -> None:
    harness.enqueue("denied")
    harness.enqueue("later", after=6 * HOUR)
    harness.errors = {"denied": DENIED}
    async with harness.leading():
        assert harness.started == ["denied"]
        assert harness.queue.problem is None


async def test_revoked_permission_is_a_problem_of_the_operator_once_every_exporter_was_denied(
    harness: QueueHarness,
) -> None:
    """A suspended exporter is not reconciled. Its success of long ago does not count any more."""
    names = ("one", "two", "suspended")
    for name in names:
        harness.enqueue(name)
    harness.wakes = {name: Wake(NOON + timedelta(hours=hours)) for name, hours in (("one", 6), ("two", 7))}
    async with harness.leading():
        assert harness.started == [*names]
        harness.errors = dict.fromkeys(names, DENIED)
        await harness.pass_time(6 * HOUR + 1)
        assert harness.queue.problem is None, "only one was denied"
        await harness.pass_time(HOUR)
        assert harness.queue.failing == 2
        await harness.pass_time(2 * HOUR)
        assert harness.queue.problem == str(DENIED)
        del harness.errors["two"]
        harness.wakes = {}
        await harness.pass_time(121)
        assert harness.queue.problem is None
    assert harness.queue.problem is None


async def test_only_exporter_that_is_denied_is_a_problem_of_the_operator(harness: QueueHarness) -> None:
    """With one exporter, a missing permission is more likely than a refusal of this object."""
    harness.enqueue("denied")
    harness.errors = {"denied": DENIED}
    async with harness.leading():
        assert harness.queue.problem == str(DENIED)
        assert harness.queue.failing == 1
    assert harness.queue.problem is None, "a replica that does not lead needs no permission to write"
    assert harness.queue.failing == 0, "otherwise its former failures would be counted until it leads again"


async def test_change_does_not_end_the_pause_after_an_unexpected_error(harness: QueueHarness) -> None:
    """The change may be the report of that error by the operator."""
    harness.enqueue("one")
    harness.errors = {"one": ZeroDivisionError("unexpected")}
    async with harness.leading():
        for _ in range(20):
            harness.enqueue("one")
            await let_tasks_run()
        assert harness.started == ["one"]
        await harness.pass_time(1.5)
        assert harness.started == ["one"] * 2


async def test_unexpected_error_after_a_long_time_is_retried_like_the_first_one(harness: QueueHarness) -> None:
    harness.enqueue("one")
    harness.errors = {"one": ZeroDivisionError("unexpected")}
    async with harness.leading():
        for pause in (1, 2, 4):
            await harness.pass_time(pause)
        assert harness.started == ["one"] * 4
        del harness.errors["one"]
        await harness.pass_time(8)
        await harness.pass_time(2000)
        before = len(harness.started)
        harness.errors = {"one": ZeroDivisionError("unexpected again")}
        harness.enqueue("one")
        await let_tasks_run()
        assert len(harness.started) == before + 1
        await harness.pass_time(1)
        assert len(harness.started) == before + 2
