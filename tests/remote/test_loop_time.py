"""Work that grows with remote input shares the event loop. Time is a counter here: each step takes what a test says."""

import asyncio

import pytest

from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.remote.loop_time import SLICE, LoopTime
from tests.environment.waiting import HANG_SECONDS

ANA, BEN = Tenant("ana", "nexthink"), Tenant("ben", "nexthink")
STEP = SLICE / 4


class Work:
    """Tasks that work in steps, and what each turn of the loop was spent on."""

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
        """The turns in which somebody worked, until these tasks have ended."""
        watch = asyncio.create_task(self.watch())
        await asyncio.gather(*tasks)
        watch.cancel()
        return [turn for turn in self.turns if turn]


@pytest.fixture
async def work() -> Work:
    return Work()


async def test_one_task_is_interrupted_when_its_slice_is_used_up(work: Work) -> None:
    turns = await work.done(asyncio.create_task(work.steps("a", ANA, 20)))
    assert sum(map(len, turns)) == 20
    assert max(map(len, turns)) <= 6


async def test_many_tasks_together_take_no_more_of_a_turn_than_one(work: Work) -> None:
    """Apart from the piece that each of them begins with."""
    tasks = [asyncio.create_task(work.steps("a", ANA, 20)) for _ in range(50)]
    turns = await work.done(*tasks)
    assert sum(map(len, turns)) == 1000
    assert max(map(len, turns[2:])) <= 6


async def test_tenants_take_turns_however_many_tasks_they_have(work: Work) -> None:
    many = [asyncio.create_task(work.steps("a", ANA, 100)) for _ in range(30)]
    await asyncio.sleep(0)
    one = asyncio.create_task(work.steps("b", BEN, 40))
    turns = await work.done(one)
    mine, theirs = (sum(turn.count(name) for turn in turns[1:]) for name in "ba")
    assert theirs <= 2 * mine
    for task in many:
        task.cancel()


async def test_a_task_that_is_cancelled_while_it_waits_stops_nobody(work: Work) -> None:
    tasks = [asyncio.create_task(work.steps("a", ANA, 50)) for _ in range(6)]
    for task in tasks[:5]:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait_for(tasks[5], HANG_SECONDS)


async def test_a_task_that_is_cancelled_in_the_moment_of_its_turn_stops_nobody(work: Work) -> None:
    first, second, third = (asyncio.create_task(work.steps("a", ANA, 9)) for _ in range(3))
    grant = work.loop_time._next_iteration

    def granted_and_cancelled() -> None:
        grant()
        second.cancel()

    work.loop_time._next_iteration = granted_and_cancelled  # type: ignore[method-assign]
    await asyncio.wait_for(asyncio.gather(first, third, return_exceptions=True), HANG_SECONDS)
    assert first.done()
    assert third.done()


async def test_where_time_does_not_pass_nobody_waits() -> None:
    """As in simulations: they must not depend on the speed of the machine."""
    still = LoopTime(lambda: 0.0)
    for _ in range(1000):
        pause = still.pause(ANA)
        with pytest.raises(StopIteration):
            pause.send(None)
