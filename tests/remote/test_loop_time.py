"""Work that grows with remote input shares the event loop. Here, only the steps of the work move the time."""

import asyncio

import pytest

from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.remote.loop_time import SLICE, LoopTime
from tests.support.waiting import HANG_SECONDS

ANA, BEN = Tenant("ana", "nexthink"), Tenant("ben", "nexthink")
STEP = SLICE / 4


class SteppedWork:
    """Tasks that work in steps, with a record of the steps in each iteration of the event loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loop_time = LoopTime(lambda: self.now)
        self.turns: list[list[str]] = [[]]

    async def steps(self, name: str, tenant: Tenant, count: int) -> None:
        for _ in range(count):
            self.now += STEP
            self.turns[-1].append(name)
            await self.loop_time.pause(tenant)

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.turns.append([])

    async def done(self, *tasks: asyncio.Task[None]) -> list[list[str]]:
        """Wait for these tasks. Returns the loop iterations in which a task worked."""
        watch = asyncio.create_task(self.watch())
        await asyncio.gather(*tasks)
        watch.cancel()
        return [turn for turn in self.turns if turn]


@pytest.fixture
async def work() -> SteppedWork:
    return SteppedWork()


async def test_a_task_yields_when_its_time_slice_is_used_up(work: SteppedWork) -> None:
    turns = await work.done(asyncio.create_task(work.steps("a", ANA, 20)))
    assert sum(map(len, turns)) == 20
    assert max(map(len, turns)) <= 6


async def test_many_tasks_of_a_tenant_share_one_time_slice_of_each_loop_iteration(work: SteppedWork) -> None:
    """This does not count the first step of each task."""
    tasks = [asyncio.create_task(work.steps("a", ANA, 20)) for _ in range(50)]
    turns = await work.done(*tasks)
    assert sum(map(len, turns)) == 1000
    assert max(map(len, turns[2:])) <= 6


async def test_a_tenant_with_many_tasks_gets_at_most_twice_the_time_of_a_tenant_with_one(work: SteppedWork) -> None:
    tasks_of_ana = [asyncio.create_task(work.steps("a", ANA, 100)) for _ in range(30)]
    await asyncio.sleep(0)
    task_of_ben = asyncio.create_task(work.steps("b", BEN, 40))
    turns = await work.done(task_of_ben)
    steps_of_ben, steps_of_ana = (sum(turn.count(name) for turn in turns[1:]) for name in "ba")
    assert steps_of_ana <= 2 * steps_of_ben
    for task in tasks_of_ana:
        task.cancel()


async def test_a_task_that_is_cancelled_while_it_waits_does_not_block_others(work: SteppedWork) -> None:
    tasks = [asyncio.create_task(work.steps("a", ANA, 50)) for _ in range(6)]
    for task in tasks[:5]:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait_for(tasks[5], HANG_SECONDS)


async def test_a_task_that_is_cancelled_when_its_turn_begins_does_not_block_others(work: SteppedWork) -> None:
    first, second, third = (asyncio.create_task(work.steps("a", ANA, 9)) for _ in range(3))
    grant = work.loop_time._next_iteration

    def granted_and_cancelled() -> None:
        grant()
        second.cancel()

    work.loop_time._next_iteration = granted_and_cancelled  # type: ignore[method-assign]
    await asyncio.wait_for(asyncio.gather(first, third, return_exceptions=True), HANG_SECONDS)
    assert first.done()
    assert third.done()


async def test_work_never_pauses_on_a_clock_that_does_not_move() -> None:
    """Simulations use such a clock, so that they do not depend on the speed of the machine."""
    loop_time = LoopTime(lambda: 0.0)
    for _ in range(1000):
        pause = loop_time.pause(ANA)
        with pytest.raises(StopIteration):
            pause.send(None)
