"""Time limits cancel only work that takes longer than its limit."""

import asyncio
from datetime import UTC, datetime

import pytest

from qualtrics_exporter.remote.errors import RateLimited
from qualtrics_exporter.remote.retry import RetryPolicy, retry
from qualtrics_exporter.remote.time_limit import MAX_STOPPED, TASK_NAME, OutOfTime, TimeLimit, pending_failure
from qualtrics_exporter.resource.reasons import Reason
from tests.support.clock import SteeredClock


@pytest.fixture
def clock() -> SteeredClock:
    return SteeredClock(start=datetime(2026, 1, 5, 10, tzinfo=UTC))


async def run_pending_callbacks() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def endless_work(clock: SteeredClock, *limits: float | None) -> str:
    """Work that does not end, within these limits, the outermost first."""
    async with TimeLimit(clock, limits[0]):
        if len(limits) > 1:
            return await endless_work(clock, *limits[1:])
        await asyncio.Event().wait()
    return "over"


@pytest.mark.parametrize("limits", [(60,), (60, 90), (90, 60), (60, None), (60, 60)], ids=str)
async def test_work_ends_when_its_shortest_limit_passes(clock: SteeredClock, limits: tuple[float | None, ...]) -> None:
    work = asyncio.create_task(endless_work(clock, *limits))
    await run_pending_callbacks()
    clock.advance(59)
    await run_pending_callbacks()
    assert not work.done()
    clock.advance(2)
    with pytest.raises(OutOfTime):
        await work
    await run_pending_callbacks()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == TASK_NAME]


async def test_time_in_which_a_limit_is_stopped_does_not_count(clock: SteeredClock) -> None:
    waited = asyncio.Event()

    async def work() -> None:
        async with TimeLimit(clock, 60) as limit:
            for _ in range(3):
                with limit.stopped():
                    await waited.wait()
                    waited.clear()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await run_pending_callbacks()
    for _ in range(3):
        clock.advance(150)
        await run_pending_callbacks()
        assert not task.done()
        waited.set()
        await run_pending_callbacks()
    clock.advance(59)
    await run_pending_callbacks()
    assert not task.done()
    clock.advance(2)
    with pytest.raises(OutOfTime):
        await task


async def test_limit_that_is_stopped_for_too_long_expires(clock: SteeredClock) -> None:
    limit = TimeLimit(clock, 60)

    async def work() -> None:
        async with limit:
            with limit.stopped():
                await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await run_pending_callbacks()
    for _ in range(2):
        clock.advance(MAX_STOPPED / 2 - 1)
        await run_pending_callbacks()
        assert not task.done()
    clock.advance(3)
    with pytest.raises(OutOfTime):
        await task
    assert limit.is_used_up


async def test_work_that_ends_within_its_limit_is_not_cancelled(clock: SteeredClock) -> None:
    async with TimeLimit(clock, 60):
        clock.advance(59)
        await run_pending_callbacks()
    clock.advance(3600)
    await run_pending_callbacks()
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


@pytest.mark.parametrize("seconds", [0, -5])
async def test_work_with_a_limit_of_zero_or_less_does_not_start(clock: SteeredClock, seconds: float) -> None:
    with pytest.raises(OutOfTime):
        async with TimeLimit(clock, seconds):
            pytest.fail("the work started")


async def test_work_without_a_limit_is_not_cancelled(clock: SteeredClock) -> None:
    async with TimeLimit(clock, None):
        clock.advance(10**6)
        await run_pending_callbacks()


@pytest.mark.parametrize("after_the_limit", [False, True], ids=["before the limit", "after the limit"])
async def test_a_cancellation_by_the_caller_is_not_reported_as_out_of_time(
    clock: SteeredClock, after_the_limit: bool
) -> None:
    work = asyncio.create_task(endless_work(clock, 60))
    await run_pending_callbacks()
    if after_the_limit:  # the limit passes, and the caller cancels in the same iteration
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


async def test_an_error_that_the_work_raises_after_its_limit_is_raised(clock: SteeredClock) -> None:
    async def work() -> None:
        async with TimeLimit(clock, 60):
            try:
                await asyncio.Event().wait()
            finally:
                raise LookupError

    task = asyncio.create_task(work())
    await run_pending_callbacks()
    clock.advance(61)
    with pytest.raises(LookupError):
        await task


async def test_work_that_returns_after_its_limit_passed_keeps_its_result(clock: SteeredClock) -> None:
    async def work() -> str:
        async with TimeLimit(clock, 60):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "done"
        return "over"

    task = asyncio.create_task(work())
    await run_pending_callbacks()
    clock.advance(61)
    assert await task == "done"


async def test_work_that_defers_its_cancellation_is_not_cancelled_after_the_limit_block(clock: SteeredClock) -> None:
    async def work() -> int:
        task = asyncio.current_task()
        assert task
        async with TimeLimit(clock, 60):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task.uncancel()
            task.cancel()  # as `shield_until_done` does
        await asyncio.sleep(0)
        return task.cancelling()

    task = asyncio.create_task(work())
    await run_pending_callbacks()
    clock.advance(61)
    assert await task == 0


async def test_limit_that_ends_a_pause_before_a_repetition_knows_the_failure(clock: SteeredClock) -> None:
    """For example a token endpoint that answers every try with 429: this is the reason, and not the limit."""
    limited = RateLimited(Reason.RATE_LIMITED, "Nexthink refused the request", status=429)

    async def refuse() -> None:
        raise limited

    async def work() -> None:
        async with TimeLimit(clock, 1):
            await retry(RetryPolicy.READ, clock, refuse)

    task = asyncio.create_task(work())
    await run_pending_callbacks()
    clock.advance(2)
    with pytest.raises(OutOfTime) as caught:
        await task
    assert pending_failure(caught.value) is limited


async def test_limit_that_ends_other_work_knows_no_failure(clock: SteeredClock) -> None:
    task = asyncio.create_task(endless_work(clock, 60))
    await run_pending_callbacks()
    clock.advance(61)
    with pytest.raises(OutOfTime) as caught:
        await task
    assert pending_failure(caught.value) is None
