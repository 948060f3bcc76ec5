"""Tenants whose services hang do not block other tenants, with which they share connections, tokens and locks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from qualtrics_exporter.fair_share import FairSemaphore, Tenant
from qualtrics_exporter.nexthink.operations import NEXTHINK
from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.rate_limits import Rate
from qualtrics_exporter.remote.retry import RetryPolicy
from qualtrics_exporter.remote.service import Service
from qualtrics_exporter.remote.session import Session
from tests.remote.clock import RecordingClock
from tests.remote.servers import Server, answer
from tests.support.waiting import HANG_SECONDS

PERMITS = 10
BAD, GOOD = Tenant("bad", "nexthink"), Tenant("good", "nexthink")
READ = Operation(name="read", task="do the thing", path="/thing", retry=RetryPolicy.READ)


class HangingServer(Server):
    """Accepts all requests, and answers none of them before `released` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.hanging = 0
        self.released = asyncio.Event()
        self._more = asyncio.Event()

    async def hang(self, writer: asyncio.StreamWriter) -> None:
        """Wait before answering."""
        self.hanging += 1
        self._more.set()
        await self.released.wait()
        writer.write(answer(500))

    async def reached(self, number: int) -> None:
        """Wait until this number of requests hangs."""
        while self.hanging < number:
            self._more.clear()
            await self._more.wait()


@pytest.fixture
async def api_context(clock: RecordingClock) -> AsyncIterator[ApiContext]:
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
        running.released.set()


SessionFactory = Callable[..., Session]


@pytest.fixture
def create_session(api_context: ApiContext, credentials: ServiceCredentials) -> SessionFactory:
    """Creates a session of a tenant with a server."""

    def made(server: Server, tenant: Tenant, service: Service = NEXTHINK, source: str = "") -> Session:
        changes = {"source": source or f"Secret {tenant}", "url": server.url, "token_url": f"{server.url}/oauth2/token"}
        return Session(api_context, replace(credentials, **changes), service, tenant)

    return made


class Tasks:
    """Tasks that hang. The end of the block cancels them."""

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


def read(session: Session) -> Callable[[], Awaitable[object]]:
    return lambda: session.call(READ, lambda reply: reply.status)


async def test_hanging_requests_of_one_tenant_leave_permits_to_other_tenants(
    hanging: HangingServer, server: Server, create_session: SessionFactory
) -> None:
    async with Tasks() as tasks:
        tasks.start(3 * PERMITS, read(create_session(hanging, BAD)))
        await hanging.reached(PERMITS // 2)
        for _ in range(2 * PERMITS):
            assert await read(create_session(server, GOOD))() == 200
        assert hanging.hanging < PERMITS


async def test_a_hanging_service_leaves_permits_to_the_other_service_of_the_same_tenant(
    hanging: HangingServer, server: Server, create_session: SessionFactory
) -> None:
    async with Tasks() as tasks:
        tasks.start(3 * PERMITS, read(create_session(hanging, BAD)))
        await hanging.reached(PERMITS // 2)
        assert await read(create_session(server, BAD, QUALTRICS))() == 200


async def test_hanging_token_requests_are_limited_and_leave_permits_to_other_tenants(
    hanging: HangingServer, server: Server, create_session: SessionFactory
) -> None:
    hanging.tokens = [hanging.hang]
    async with Tasks() as tasks:
        for number in range(3 * PERMITS):  # each with another Secret, and so with another token
            tasks.start(1, read(create_session(hanging, BAD, source=f"Secret {number}")))
        await hanging.reached(PERMITS // 2)
        assert await read(create_session(server, GOOD))() == 200
        assert hanging.hanging < PERMITS


async def test_a_tenant_that_waits_for_a_shared_semaphore_gets_it_before_further_tasks_of_its_holder(
    server: Server, create_session: SessionFactory
) -> None:
    order: list[str] = []
    released = asyncio.Event()

    async def imports(session: Session, tenant: Tenant, name: str) -> None:
        async with session.shared("list", lambda: FairSemaphore(1)).hold(tenant):
            order.append(name)
            await released.wait()

    async with asyncio.TaskGroup() as group:
        for name, tenant in (*((f"bad-{number}", BAD) for number in range(9)), ("good", GOOD)):
            group.create_task(imports(create_session(server, tenant, QUALTRICS), tenant, name))
            await asyncio.sleep(0)
        released.set()
    assert order.index("good") <= 2


async def test_the_body_of_a_request_is_created_only_when_the_request_gets_a_permit(
    hanging: HangingServer, create_session: SessionFactory
) -> None:
    made = 0

    def body() -> bytes:
        nonlocal made
        made += 1
        return b"{}"

    post = replace(READ, method="POST", body=body)
    session = create_session(hanging, BAD)
    async with Tasks() as tasks:
        tasks.start(3 * PERMITS, lambda: session.call(post, lambda reply: reply.status))
        await hanging.reached(PERMITS // 2)
        assert made == hanging.hanging


async def test_a_request_counts_against_its_rate_limit_from_when_it_is_sent(
    hanging: HangingServer, create_session: SessionFactory, clock: RecordingClock
) -> None:
    limited = replace(READ, path="/limited", rates=(Rate("queries", 1, 60),))
    session = create_session(hanging, BAD)
    async with Tasks() as tasks:
        tasks.start(3 * PERMITS, read(session))
        await hanging.reached(PERMITS // 2)
        limited_call = asyncio.create_task(session.call(limited, lambda reply: reply.status))
        waiting = session._context.requests._queue
        async with asyncio.timeout(HANG_SECONDS):
            while len(waiting) < 3 * PERMITS - hanging.hanging + 1:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        clock.advance(50)
        hanging.script(answer(200))
    assert await limited_call == 200
    clock.slept = []
    await session.call(limited, lambda reply: reply.status)
    assert clock.slept == [60]
