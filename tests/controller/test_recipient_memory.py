"""The memory for recipients: runs that hang with large results leave memory for the runs of other tenants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from qualtrics_exporter.clock import SystemClock
from qualtrics_exporter.controller.recipient_memory import (
    MEBIBYTE,
    MEMORY_FOR_LARGE_RESULTS,
    MEMORY_FOR_SMALL_RESULTS,
    RecipientMemory,
)
from qualtrics_exporter.export.result_memory import bytes_to_reserve
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.remote.waits import Waits

A_MILLION = sum(bytes_to_reserve(None, longest=False))
KEPT = 25 * MEBIBYTE
"""The memory that such a run keeps after it has read its people."""
SMALL = 5 * MEBIBYTE


class Runs:
    """Runs that hold memory until the block ends."""

    def __init__(self, memory: RecipientMemory, stack: AsyncExitStack) -> None:
        self._memory, self._stack = memory, stack

    async def acquires(self, namespace: str, size: int, secret: str = "nexthink", keep: int | None = None) -> bool:
        """Whether a run gets `size` bytes at once. It then holds them, or only `keep` of them."""
        async with AsyncExitStack() as of_run:
            tenant = Tenant(namespace, secret)
            acquiring = asyncio.create_task(of_run.enter_async_context(self._memory.hold(tenant, size)))
            for _ in range(5):
                await asyncio.sleep(0)
            if not acquiring.done():
                acquiring.cancel()
                await asyncio.wait([acquiring])
                return False
            if keep:
                acquiring.result()(keep)
            self._stack.push_async_exit(of_run.pop_all())
            return True


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    async with AsyncExitStack() as stack:
        yield Runs(RecipientMemory(Waits(SystemClock())), stack)


async def test_small_results_do_not_wait_for_large_results_that_hang(runs: Runs) -> None:
    assert await runs.acquires("a", A_MILLION)
    assert await runs.acquires("b", A_MILLION)
    assert not await runs.acquires("c", A_MILLION)
    assert await runs.acquires("d", SMALL)


async def test_hanging_runs_of_a_namespace_leave_memory_for_a_million_people_of_another_one(runs: Runs) -> None:
    for number in range(10):
        await runs.acquires("hanging", A_MILLION, f"secret-{number}", keep=KEPT)
        await runs.acquires("hanging", 40 * MEBIBYTE, f"secret-{number}")
    assert await runs.acquires("healthy", A_MILLION)


async def test_small_results_of_one_tenant_leave_memory_for_another_tenant(runs: Runs) -> None:
    for _ in range(100):
        await runs.acquires("hanging", SMALL)
    assert await runs.acquires("healthy", SMALL)


async def test_four_runs_with_a_million_people_each_import_at_the_same_time(runs: Runs) -> None:
    for number in range(4):
        assert await runs.acquires(f"tenant-{number}", A_MILLION, keep=KEPT)


def test_memory_for_recipients_is_less_than_half_of_the_memory_limit_of_the_chart() -> None:
    assert MEMORY_FOR_SMALL_RESULTS + MEMORY_FOR_LARGE_RESULTS < 512 / 2
