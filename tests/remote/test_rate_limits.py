"""Rate limits of calls, on a clock that the tests move."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.rate_limits import OPENING_SECONDS, Limiter, Rate
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.session import Session
from tests.remote.clock import RecordingClock, StillClock
from tests.remote.servers import Server, answer, silence
from tests.support.clock import SteeredClock
from tests.support.waiting import HANG_SECONDS


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
    await wait_until(lambda: clock.sleepers == 1)
    clock.advance(OPENING_SECONDS - 0.1)
    limiter.sent(first)
    await asyncio.sleep(0.01)
    await wait_until(lambda: clock.sleepers == 1)
    clock.advance(59)
    await asyncio.sleep(0.01)
    assert not second.done()
    clock.advance(1)
    await second


async def test_a_connection_that_opens_slowly_keeps_the_next_call_for_two_seconds_more() -> None:
    clock = RecordingClock()
    limiter = Limiter(clock)
    rate = Rate("queries", 1, 60)
    assert limiter.begin(await limiter.acquire("here", (rate,)))
    clock.slept = []
    await limiter.acquire("here", (rate,))
    assert sum(clock.slept) == pytest.approx(OPENING_SECONDS + 60)


async def test_calls_do_not_wait_for_each_others_connections_if_none_opens() -> None:
    clock = RecordingClock()
    limiter = Limiter(clock)
    rate = Rate("queries", 1, 60)
    clock.slept = []
    for _ in range(5):
        permit = await limiter.acquire("here", (rate,))
        assert limiter.begin(permit)
        limiter.withdraw(permit)
    assert clock.slept == [], "no call left"

    assert limiter.begin(await limiter.acquire("here", (rate,)))
    await limiter.acquire("here", (rate,))
    assert sum(clock.slept) == pytest.approx(60)


async def test_a_call_that_waited_long_for_something_else_keeps_its_place_before_later_calls() -> None:
    clock = RecordingClock()
    limiter = Limiter(clock)
    rate = Rate("queries", 1, 60)
    first = await limiter.acquire("here", (rate,))
    clock.advance(100)
    second = await limiter.acquire("here", (rate,))
    assert limiter.begin(first)
    limiter.sent(first)
    assert not limiter.begin(second)


async def test_an_urgent_call_comes_before_others_that_wait() -> None:
    clock = SteeredClock()
    limiter = Limiter(clock)
    rates = (Rate("queries", 1, 60),)
    await limiter.acquire("here", rates)
    order: list[str] = []

    async def acquire(name: str, urgent: bool) -> None:
        await limiter.acquire("here", rates, urgent=urgent)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name in ("first check", "second check"):
            group.create_task(acquire(name, urgent=False))
        await wait_until(lambda: clock.sleepers == 1)
        group.create_task(acquire("slot", urgent=True))
        await asyncio.sleep(0.01)
        for count in range(1, 4):
            await wait_until(lambda: clock.sleepers == 1)
            clock.advance(60)
            await wait_until(lambda count=count: len(order) == count)  # type: ignore[misc]
    assert order == ["first check", "slot", "second check"]


async def test_the_limiter_keeps_the_windows_of_a_call_that_waits_and_opens_its_connection() -> None:
    clock = StillClock()
    limiter = Limiter(clock)
    rates = Rate("queries", 1, 10), Rate("brand", 1, 61)
    permit = await limiter.acquire("here", rates)
    await clock.sleep(1000)
    await limiter.acquire("elsewhere", rates)
    assert limiter.begin(permit)
    await limiter.acquire("another", rates)
    limiter.sent(permit)
    sent_at = clock.passed
    await limiter.acquire("here", rates)
    assert clock.passed - sent_at >= 61


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


LIMITED = Operation(name="read", task="read", path="/limited", retry=RetryPolicy.NEVER, rates=(Rate("queries", 1, 60),))


async def test_a_request_whose_connection_is_refused_does_not_block_the_next_one(
    session: Session, server: Server, clock: RecordingClock
) -> None:
    await session.token()
    async with server.closed():
        with pytest.raises(ExportError):
            await session.call(LIMITED, lambda reply: reply.status)
    clock.slept = []
    assert await session.call(LIMITED, lambda reply: reply.status) == 200
    assert clock.slept == []


async def test_a_request_whose_reply_is_lost_counts(session: Session, server: Server, clock: RecordingClock) -> None:
    await session.token()
    server.script(silence)
    with pytest.raises(ExportError):
        await session.call(LIMITED, lambda reply: reply.status)
    server.script(answer(200))
    clock.slept = []
    assert await session.call(LIMITED, lambda reply: reply.status) == 200
    assert clock.slept == [60]


async def test_a_request_that_cannot_be_made_does_not_block_the_next_one(session: Session, server: Server) -> None:
    def broken() -> bytes:
        raise MemoryError

    with pytest.raises(MemoryError):
        await session.call(replace(LIMITED, method="POST", body=broken), lambda reply: reply.status)
    assert await session.call(LIMITED, lambda reply: reply.status) == 200


async def test_the_window_of_a_request_begins_before_its_reply(
    session: Session, server: Server, clock: RecordingClock
) -> None:
    await session.token()

    async def slow(writer: asyncio.StreamWriter) -> None:
        clock.advance(100)
        writer.write(answer(200))

    server.script(slow)
    await session.call(LIMITED, lambda reply: reply.status)
    clock.slept = []
    await session.call(LIMITED, lambda reply: reply.status)
    assert clock.slept == [], "it left 100 seconds ago"
