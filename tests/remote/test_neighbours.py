"""Tenants whose remote sides hang share connections, tokens and locks with others, and hold up nobody."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.nexthink.operations import NEXTHINK
from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.service import Service
from qualtrics_exporter.remote.session import Session
from tests.environment.waiting import HANG_SECONDS
from tests.remote.clock import HastyClock
from tests.remote.servers import Server, answer

PERMITS = 10
BAD, GOOD = Tenant("bad", "nexthink"), Tenant("good", "nexthink")
READ = Operation(name="read", task="do the thing", path="/thing", retry=RetryPolicy.READ)


class HangingServer(Server):
    """Accepts every request and answers none until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging = 0
        self.go_on = asyncio.Event()
        self._more = asyncio.Event()

    async def hang(self, writer: asyncio.StreamWriter) -> None:
        """An answer that does not come."""
        self.hanging += 1
        self._more.set()
        await self.go_on.wait()
        writer.write(answer(500))

    async def reached(self, number: int) -> None:
        """Wait until so many requests hang."""
        while self.hanging < number:
            self._more.clear()
            await self._more.wait()


@pytest.fixture
async def remotes(clock: HastyClock) -> AsyncIterator[ApiContext]:
    async with ApiContext(
        clock=clock,
        allowed_hosts=["127.0.0.1"],
        allow_http=True,
        max_concurrent_requests=PERMITS,
    ) as running:
        yield running


@pytest.fixture
async def hanging() -> AsyncIterator[HangingServer]:
    async with HangingServer() as running:
        running.script(running.hang)
        yield running
        running.go_on.set()


Make = Callable[..., Session]


@pytest.fixture
def make(remotes: ApiContext, credentials: ServiceCredentials) -> Make:
    """A side of a tenant, at a server."""

    def made(server: Server, tenant: Tenant, side: Service = NEXTHINK, source: str = "") -> Session:
        where = {"source": source or f"Secret {tenant}", "url": server.url, "token_url": f"{server.url}/oauth2/token"}
        return Session(remotes, replace(credentials, **where), side, tenant)

    return made


class Tasks:
    """Tasks that hang; they end with the block."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[object]] = []

    def start(self, number: int, work: Callable[[], Awaitable[object]]) -> None:
        async def one() -> object:
            return await work()

        self._tasks += [asyncio.create_task(one()) for _ in range(number)]

    async def __aenter__(self) -> "Tasks":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def read(remote: Session) -> Callable[[], Awaitable[object]]:
    return lambda: remote.call(READ, lambda reply: reply.status)


async def test_requests_that_hang_leave_some_to_other_tenants(
    hanging: HangingServer, server: Server, make: Make
) -> None:
    async with Tasks() as tasks:
        tasks.start(3 * PERMITS, read(make(hanging, BAD)))
        await hanging.reached(PERMITS // 2)
        for _ in range(2 * PERMITS):
            assert await read(make(server, GOOD))() == 200
        assert hanging.hanging < PERMITS


async def test_a_side_that_hangs_leaves_requests_to_the_other_side_of_the_same_tenant(
    hanging: HangingServer, server: Server, make: Make
) -> None:
    async with Tasks() as tasks:
        tasks.start(3 * PERMITS, read(make(hanging, BAD)))
        await hanging.reached(PERMITS // 2)
        assert await read(make(server, BAD, QUALTRICS))() == 200


async def test_requests_for_tokens_that_hang_are_limited_and_leave_some_to_other_tenants(
    hanging: HangingServer, server: Server, make: Make
) -> None:
    hanging.tokens = [hanging.hang]
    async with Tasks() as tasks:
        for number in range(3 * PERMITS):  # each with a Secret of its own, and so with a token of its own
            tasks.start(1, read(make(hanging, BAD, source=f"Secret {number}")))
        await hanging.reached(PERMITS // 2)
        assert await read(make(server, GOOD))() == 200
        assert hanging.hanging < PERMITS


async def test_a_tenant_that_waits_for_a_list_comes_before_further_imports_of_the_one_that_has_it(
    server: Server, make: Make
) -> None:
    order: list[str] = []
    go_on = asyncio.Event()

    async def imports(remote: Session, name: str) -> None:
        async with remote.exclusive("/list"):
            order.append(name)
            await go_on.wait()

    async with asyncio.TaskGroup() as group:
        for name, tenant in (*((f"bad-{number}", BAD) for number in range(9)), ("good", GOOD)):
            group.create_task(imports(make(server, tenant, QUALTRICS), name))
            await asyncio.sleep(0)
        go_on.set()
    assert order.index("good") <= 2


async def test_a_large_body_is_made_only_when_its_request_goes_out(hanging: HangingServer, make: Make) -> None:
    made = 0

    def body() -> bytes:
        nonlocal made
        made += 1
        return b"{}"

    ask = replace(READ, method="POST", body=body)
    remote = make(hanging, BAD)
    async with Tasks() as tasks:
        tasks.start(3 * PERMITS, lambda: remote.call(ask, lambda reply: reply.status))
        await hanging.reached(PERMITS // 2)
        assert made == hanging.hanging


async def test_a_request_that_waited_for_its_share_counts_when_it_goes_out(
    hanging: HangingServer, make: Make, clock: HastyClock
) -> None:
    limited = replace(READ, path="/limited", rates=(Rate("queries", 1, 60),))
    remote = make(hanging, BAD)
    async with Tasks() as tasks:
        tasks.start(3 * PERMITS, read(remote))
        await hanging.reached(PERMITS // 2)
        late = asyncio.create_task(remote.call(limited, lambda reply: reply.status))
        waiting = remote._context.requests._queue
        async with asyncio.timeout(HANG_SECONDS):
            while len(waiting) < 3 * PERMITS - hanging.hanging + 1:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        clock.advance(50)
        hanging.script(answer(200))
    assert await late == 200
    clock.slept = []
    await remote.call(limited, lambda reply: reply.status)
    assert clock.slept == [60]
