"""What takes too long is cancelled, and nothing else is."""

import asyncio
from datetime import UTC, datetime

import pytest

from qualtrics_exporter.remote.time_limit import TASK_NAME, OutOfTime, TimeLimit
from tests.environment.clock import SteeredClock


@pytest.fixture
def clock() -> SteeredClock:
    return SteeredClock(start=datetime(2026, 1, 5, 10, tzinfo=UTC))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def limited(clock: SteeredClock, *limits: float | None) -> str:
    """Work without an end, within these limits, the outermost first."""
    async with TimeLimit(clock, limits[0]):
        if len(limits) > 1:
            return await limited(clock, *limits[1:])
        await asyncio.Event().wait()
    return "over"


@pytest.mark.parametrize("limits", [(60,), (60, 90), (90, 60), (60, None), (60, 60)])
async def test_work_ends_with_the_limit_that_passes_first(
    clock: SteeredClock, limits: tuple[float | None, ...]
) -> None:
    work = asyncio.create_task(limited(clock, *limits))
    await settled()
    clock.advance(59)
    await settled()
    assert not work.done()
    clock.advance(2)
    with pytest.raises(OutOfTime):
        await work
    await settled()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == TASK_NAME]


async def test_work_that_is_in_time_is_left_alone(clock: SteeredClock) -> None:
    async with TimeLimit(clock, 60):
        clock.advance(59)
        await settled()
    clock.advance(3600)
    await settled()
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


@pytest.mark.parametrize("seconds", [0, -5])
async def test_work_without_any_time_is_not_begun(clock: SteeredClock, seconds: float) -> None:
    with pytest.raises(OutOfTime):
        async with TimeLimit(clock, seconds):
            pytest.fail("it was begun")


async def test_without_a_limit_time_does_not_matter(clock: SteeredClock) -> None:
    async with TimeLimit(clock, None):
        clock.advance(10**6)
        await settled()


@pytest.mark.parametrize("late", [False, True])
async def test_a_cancellation_from_outside_stays_one(clock: SteeredClock, late: bool) -> None:
    work = asyncio.create_task(limited(clock, 60))
    await settled()
    if late:  # both at once
        clock.advance(61)
        for _ in range(20):
            if not work.cancelling():
                await asyncio.sleep(0)
        assert work.cancelling()
        assert not work.done()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert work.cancelled()


async def test_an_error_of_the_work_itself_is_not_hidden(clock: SteeredClock) -> None:
    async def work() -> None:
        async with TimeLimit(clock, 60):
            try:
                await asyncio.Event().wait()
            finally:
                raise LookupError

    task = asyncio.create_task(work())
    await settled()
    clock.advance(61)
    with pytest.raises(LookupError):
        await task


async def test_work_that_ends_although_it_was_cancelled_keeps_its_result(clock: SteeredClock) -> None:
    async def work() -> str:
        async with TimeLimit(clock, 60):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "done"
        return "over"

    task = asyncio.create_task(work())
    await settled()
    clock.advance(61)
    assert await task == "done"


async def test_work_that_holds_a_cancellation_back_until_its_end_meets_it_nowhere_else(clock: SteeredClock) -> None:
    async def work() -> int:
        here = asyncio.current_task()
        assert here
        async with TimeLimit(clock, 60):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                here.uncancel()
            here.cancel()  # as `held_back` puts it back
        await asyncio.sleep(0)
        return here.cancelling()

    task = asyncio.create_task(work())
    await settled()
    clock.advance(61)
    assert await task == 0
