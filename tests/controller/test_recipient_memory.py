"""Runs that hang with large results leave memory to the runs of others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from qualtrics_exporter.controller.recipient_memory import (
    MEBIBYTE,
    MEMORY_FOR_LARGE_RESULTS,
    MEMORY_FOR_SMALL_RESULTS,
    RecipientMemory,
)
from qualtrics_exporter.export.result_memory import CHUNK_BYTES, LARGE_RESULT, RECIPIENT_BYTES
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.qualtrics.chunks import MOST_CONTACTS

A_MILLION = LARGE_RESULT * RECIPIENT_BYTES + MOST_CONTACTS * (CHUNK_BYTES + RECIPIENT_BYTES)
KEPT = 25 * MEBIBYTE
"""What a run keeps of it once its people are read."""
SMALL = 5 * MEBIBYTE


class Holder:
    """Runs that hold memory until the block ends."""

    def __init__(self, memory: RecipientMemory, stack: AsyncExitStack) -> None:
        self._memory, self._stack = memory, stack

    async def held(self, namespace: str, size: int, secret: str = "nexthink", keep: int | None = None) -> bool:
        """Whether a run gets the memory at once; it keeps it, or so much of it."""
        async with AsyncExitStack() as mine:
            tenant = Tenant(namespace, secret)
            getting = asyncio.create_task(mine.enter_async_context(self._memory.hold(tenant, size)))
            for _ in range(5):
                await asyncio.sleep(0)
            if not getting.done():
                getting.cancel()
                await asyncio.wait([getting])
                return False
            if keep:
                getting.result()(keep)
            self._stack.push_async_exit(mine.pop_all())
            return True


@pytest.fixture
async def runs() -> AsyncIterator[Holder]:
    async with AsyncExitStack() as stack:
        yield Holder(RecipientMemory(), stack)


async def test_small_results_do_not_wait_for_large_ones_that_hang(runs: Holder) -> None:
    assert await runs.held("a", A_MILLION)
    assert await runs.held("b", A_MILLION)
    assert not await runs.held("c", A_MILLION)
    assert await runs.held("d", SMALL)


async def test_a_namespace_whose_runs_hang_leaves_room_for_a_million_people_of_another(runs: Holder) -> None:
    for number in range(10):
        await runs.held("hanging", A_MILLION, f"secret-{number}", keep=KEPT)
        await runs.held("hanging", 40 * MEBIBYTE, f"secret-{number}")
    assert await runs.held("healthy", A_MILLION)


async def test_small_results_of_one_tenant_leave_room_for_another(runs: Holder) -> None:
    for _ in range(100):
        await runs.held("hanging", SMALL)
    assert await runs.held("healthy", SMALL)


async def test_several_runs_of_a_million_people_import_at_once(runs: Holder) -> None:
    for number in range(4):
        assert await runs.held(f"tenant-{number}", A_MILLION, keep=KEPT)


def test_all_of_it_is_less_than_half_of_the_memory_of_the_chart() -> None:
    assert MEMORY_FOR_SMALL_RESULTS + MEMORY_FOR_LARGE_RESULTS < 512 / 2
