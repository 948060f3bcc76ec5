"""What waits for a limit of the process is known while it waits, and the sum of the waits never decreases."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.controller.recipient_memory import MEBIBYTE, MEMORY_FOR_LARGE_RESULTS, RecipientMemory
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.nexthink.operations import NEXTHINK
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.waits import WAITING_FOR, Waits
from tests.remote.clock import StillClock
from tests.remote.servers import credentials_for

RATE = Rate("queries", 1, 60)


class ManualClock(StillClock):
    """A clock that only the test moves. A sleep ends when the test wakes it."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        until = self.passed + seconds
        while self.passed < until:
            await self.woken.wait()

    async def advance(self, seconds: float) -> None:
        self.passed += seconds
        woken, self.woken = self.woken, asyncio.Event()
        woken.set()
        await let_tasks_run()


async def let_tasks_run() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def context(clock: ManualClock) -> AsyncIterator[ApiContext]:
    hosts = {"allowed_hosts": ["127.0.0.1"], "allow_http": True, "max_concurrent_requests": 1}
    async with ApiContext(clock=clock, **hosts) as context:  # type: ignore[arg-type]
        yield context


async def start(exporter: str, work: Callable[[], Awaitable[object]]) -> "asyncio.Task[object]":
    """Start a task of an exporter."""

    async def task() -> object:
        WAITING_FOR.set(exporter)
        return await work()

    started = asyncio.create_task(task())
    await let_tasks_run()
    return started


async def test_call_that_waits_for_its_rate_limit_counts_until_it_may_be_sent(
    context: ApiContext, clock: ManualClock
) -> None:
    session = Session(context, credentials_for("http://127.0.0.1:1"), NEXTHINK)
    await session.reserve((RATE,))
    assert (context.waits.exporters, context.waits.longest) == (0, 0)
    tasks = [await start(name, lambda: session.reserve((RATE,))) for name in ("teams", "teams", "zoom")]
    await clock.advance(20)
    assert context.waits.exporters == 2
    assert context.waits.longest == 20
    assert context.waits.rate_limit_seconds() == {"nexthink": 60}, "three waits, which have not ended"
    await clock.advance(40)
    await clock.advance(60)
    await clock.advance(60)
    await asyncio.gather(*tasks)
    assert (context.waits.exporters, context.waits.longest) == (0, 0)
    assert context.waits.rate_limit_seconds() == {"nexthink": 60 + 120 + 180}


async def test_call_that_waits_for_a_concurrent_request_counts_but_not_as_rate_limited(
    context: ApiContext, clock: ManualClock
) -> None:
    session = Session(context, credentials_for("http://127.0.0.1:1"), NEXTHINK)

    async def request() -> None:
        async with session._in_flight():
            await asyncio.Event().wait()

    tasks = [await start(name, request) for name in ("teams", "zoom")]
    await clock.advance(30)
    assert (context.waits.exporters, context.waits.longest) == (1, 30)
    assert context.waits.rate_limit_seconds() == {}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert (context.waits.exporters, context.waits.longest) == (0, 0), "a cancelled wait is over"


async def test_run_that_waits_for_memory_counts(clock: ManualClock) -> None:
    waits = Waits(clock)
    memory = RecipientMemory(waits)
    async with AsyncExitStack() as held:
        await held.enter_async_context(memory.hold(Tenant("a", ""), MEMORY_FOR_LARGE_RESULTS * MEBIBYTE))
        assert waits.exporters == 0
        task = await start("zoom", lambda: AsyncExitStack().enter_async_context(memory.hold(Tenant("b", ""), 99 << 20)))
        await clock.advance(45)
        assert (waits.exporters, waits.longest) == (1, 45)
    await task
    assert (waits.exporters, waits.longest) == (0, 0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e5))))
def test_sum_of_waits_never_decreases(steps: list[tuple[bool, float]]) -> None:
    """Prometheus takes a smaller value of a counter for a restart of the process."""
    clock = StillClock()
    waits = Waits(clock)
    open_waits: list[AbstractContextManager[None]] = []
    shown = 0.0
    for begins, seconds in steps:
        clock.passed += seconds
        if begins or not open_waits:
            open_waits.append(waits.waiting("nexthink"))
            open_waits[-1].__enter__()
        else:
            open_waits.pop(0).__exit__(None, None, None)
        now = waits.rate_limit_seconds().get("nexthink", 0.0)
        assert now >= shown
        shown = now
