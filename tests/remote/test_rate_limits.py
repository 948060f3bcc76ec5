"""Rate limits of calls, on a clock that the tests move."""

import asyncio
from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.rate_limits import Limiter, Rate
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.transport import Request
from tests.environment.clock import SteeredClock
from tests.environment.waiting import HANG_SECONDS
from tests.remote.clock import RecordingClock, StillClock
from tests.remote.servers import Server, answer, silence


async def wait_until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0)


@given(
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=60),
    narrow=st.integers(1, 5),
    wide=st.integers(1, 8),
)
def test_no_time_window_has_more_calls_than_its_rate_allows(pauses: list[float], narrow: int, wide: int) -> None:
    clock = StillClock()
    limiter = Limiter(clock)
    rates = Rate("narrow", narrow, 20), Rate("wide", wide, 60)

    async def acquire_all() -> list[float]:
        sent_at = []
        for pause in pauses:
            await clock.sleep(pause)
            await limiter.acquire("here", rates)
            sent_at.append(clock.monotonic())
        return sent_at

    sent_at = asyncio.run(acquire_all())
    for rate in rates:
        for first, last in zip(sent_at, sent_at[rate.calls :], strict=False):
            assert last - first >= rate.seconds - 1e-6


async def test_a_burst_within_the_rate_does_not_wait() -> None:
    clock = RecordingClock()
    limiter = Limiter(clock)
    for _ in range(3000):
        await limiter.acquire("here", (Rate("brand", 3000, 61),))
    assert not hasattr(clock, "slept")


async def test_waiting_calls_proceed_in_the_order_of_their_arrival() -> None:
    clock = SteeredClock()
    limiter = Limiter(clock)
    order: list[int] = []

    async def acquire(number: int) -> None:
        await limiter.acquire("here", (Rate("a second", 1, 1),))
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(acquire(number))
        for count in range(1, 6):
            await wait_until(lambda count=count: len(order) == count)  # type: ignore[misc]
            clock.advance(1)
    assert order == [0, 1, 2, 3, 4]


async def test_a_call_that_waits_for_a_narrow_rate_does_not_block_calls_without_that_rate() -> None:
    clock = SteeredClock()
    limiter = Limiter(clock)
    imports, brand = Rate("imports", 1, 60), Rate("brand", 100, 60)
    await limiter.acquire("here", (imports, brand))
    waiting = asyncio.create_task(limiter.acquire("here", (imports, brand)))
    await wait_until(lambda: clock.sleepers == 1)

    await limiter.acquire("here", (Rate("sends", 100, 60), brand))

    assert not waiting.done()
    clock.advance(60)
    await waiting


async def test_a_call_counts_against_its_rate_from_when_it_is_sent() -> None:
    clock = RecordingClock()
    limiter = Limiter(clock)
    rate = Rate("queries", 1, 60)
    for delay in (50, 70):  # sent within its window, and after it
        turn = await limiter.acquire("here", (rate,))
        clock.advance(delay)
        assert limiter.begin(turn)
        limiter.sent(turn)
        clock.slept = []
        await limiter.acquire("here", (rate,))
        assert clock.slept == [60]
        clock.advance(60)


async def test_calls_that_wait_for_something_else_do_not_begin_together() -> None:
    clock = RecordingClock()
    limiter = Limiter(clock)
    rate = Rate("queries", 2, 60)
    late = []
    for _ in range(5):
        late.append(await limiter.acquire("here", (rate,)))
        clock.advance(30)
    begun = [permit for permit in late if limiter.begin(permit)]
    assert len(begun) == rate.calls
    for permit in begun:
        limiter.sent(permit)
    clock.slept = []
    await limiter.acquire("here", (rate,))
    assert clock.slept == [60]


async def test_the_window_of_a_call_begins_when_its_connection_is_open() -> None:
    """Two calls whose connections take different times would otherwise arrive together."""
    clock = SteeredClock()
    limiter = Limiter(clock)
    rate = Rate("queries", 1, 60)
    first = await limiter.acquire("here", (rate,))
    assert limiter.begin(first)
    second = asyncio.create_task(limiter.acquire("here", (rate,)))
    for _ in range(10):
        clock.advance(100)
        await asyncio.sleep(0)
    assert not second.done()
    limiter.sent(first)
    await wait_until(lambda: clock.sleepers == 1)
    clock.advance(59)
    await asyncio.sleep(0)
    assert not second.done()
    clock.advance(1)
    await second


async def test_the_limiter_keeps_a_window_in_which_a_call_opens_its_connection() -> None:
    clock = StillClock()
    limiter = Limiter(clock)
    permit = await limiter.acquire("here", (Rate("brand", 1, 61),))
    assert limiter.begin(permit)
    await clock.sleep(1000)
    await limiter.acquire("elsewhere", (Rate("brand", 1, 61),))
    limiter.sent(permit)
    await limiter.acquire("here", (Rate("brand", 1, 61),))
    assert clock.passed == 1061


async def test_each_origin_has_separate_rates() -> None:
    clock = RecordingClock()
    limiter = Limiter(clock)
    for origin in ("https://a.example.com:443", "https://b.example.com:443"):
        await limiter.acquire(origin, (Rate("queries", 1, 60),))
    assert not hasattr(clock, "slept")


async def test_a_cancelled_call_gives_its_place_to_the_next_one() -> None:
    clock = SteeredClock()
    limiter = Limiter(clock)
    rate = Rate("queries", 1, 60)
    await limiter.acquire("here", (rate,))
    impatient = asyncio.create_task(limiter.acquire("here", (rate,)))
    patient = asyncio.create_task(limiter.acquire("here", (rate,)))
    await wait_until(lambda: clock.sleepers == 1)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    await wait_until(lambda: clock.sleepers == 1)
    clock.advance(60)
    await patient


async def test_the_limiter_forgets_origins_that_are_no_longer_used() -> None:
    """A user who changes a Secret can name another origin each minute."""
    clock = StillClock()
    limiter = Limiter(clock)
    for number in range(1000):
        await limiter.acquire(f"https://{number}.example", (Rate("brand", 3000, 61),))
        await clock.sleep(10)
    assert len(limiter._windows) < 10


async def test_a_request_counts_from_when_it_leaves_over_its_connection(
    server: Server, session: Session, api_context: ApiContext
) -> None:
    """The connection of the first request opens late. The second one must not arrive right after it."""
    limited = Operation(
        name="read", task="read", path="/limited", retry=RetryPolicy.READ, rates=(Rate("queries", 1, 60),)
    )
    await session.token()
    exchange, opened = api_context.transport.exchange, asyncio.Event()

    async def slow(request: Request) -> Response:
        if not opened.is_set():
            await opened.wait()
        return await exchange(request)

    with mock.patch.object(api_context.transport, "exchange", slow):
        calls = [asyncio.create_task(session.call(limited, lambda reply: reply.status)) for _ in range(2)]
        clock = session.clock
        assert isinstance(clock, RecordingClock)
        await wait_until(lambda: any(w.opening for w in api_context.limiter._windows.values()))
        clock.advance(1000)
        assert server.request_count == 0
        opened.set()
        clock.slept = []
        assert await asyncio.gather(*calls) == [200, 200]
    assert clock.slept == [60]


async def test_a_request_that_cannot_leave_does_not_block_the_next_one(session: Session, server: Server) -> None:
    limited = Operation(
        name="read", task="read", path="/limited", retry=RetryPolicy.NEVER, rates=(Rate("queries", 1, 60),)
    )
    await session.token()
    server.script(silence)
    with pytest.raises(ExportError):
        await session.call(limited, lambda reply: reply.status)
    server.script(answer(200))
    assert await session.call(limited, lambda reply: reply.status) == 200
