"""A DNS look-up that hangs delays only the tenant that started it."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from qualtrics_exporter.controller import app
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.fair_share import NOBODY, Tenant, acting_for
from qualtrics_exporter.remote.name_lookup import MAX_CONCURRENT_LOOK_UPS, Loop
from tests.support.waiting import HANG_SECONDS

A, B = Tenant("a", "nexthink"), Tenant("b", "nexthink")
HANGING_NAME = "hanging.example"


@pytest.fixture
def name_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Name servers that do not answer for one name until the test sets the event."""
    answers = threading.Event()

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        if host == HANGING_NAME:
            answers.wait()
        host.encode("idna")  # as the real function does
        if host == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield answers
    answers.set()


async def look_up(tenant: Tenant, host: str) -> Any:
    with acting_for(tenant):
        return await asyncio.get_running_loop().getaddrinfo(host, 443)


def run(scenario: Any) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(scenario())


def test_look_ups_of_one_tenant_that_hang_do_not_block_those_of_another(name_servers: threading.Event) -> None:
    async def scenario() -> None:
        hanging = [asyncio.create_task(look_up(A, HANGING_NAME)) for _ in range(2 * MAX_CONCURRENT_LOOK_UPS)]
        await asyncio.sleep(0)
        assert await look_up(B, "good.example")
        assert await look_up(NOBODY, "api-server.example")
        name_servers.set()
        assert all(await asyncio.gather(*hanging))

    run(scenario)


def test_a_cancelled_look_up_counts_against_the_limit_of_its_tenant_until_it_ends(
    name_servers: threading.Event,
) -> None:
    """Its thread cannot be cancelled, so a tenant that tries repeatedly must not start a thread each time."""

    async def scenario() -> None:
        for _ in range(3):
            attempts = [asyncio.create_task(look_up(A, HANGING_NAME)) for _ in range(MAX_CONCURRENT_LOOK_UPS)]
            for _ in range(5):
                await asyncio.sleep(0)
            for attempt in attempts:
                attempt.cancel()
            await asyncio.wait(attempts)
        threads = [thread for thread in threading.enumerate() if thread.name == "look-up"]
        assert len(threads) == MAX_CONCURRENT_LOOK_UPS / 2
        name_servers.set()

    run(scenario)


@pytest.mark.usefixtures("name_servers")
def test_a_look_up_of_an_unknown_or_invalid_name_raises_an_os_error() -> None:
    async def scenario() -> None:
        for name in ("unknown.example", "a" * 70 + ".example"):
            with pytest.raises(OSError):  # noqa: PT011
                await asyncio.wait_for(look_up(A, name), HANG_SECONDS)

    run(scenario)


def test_the_event_loop_ends_while_a_look_up_hangs(name_servers: threading.Event) -> None:
    async def scenario() -> None:
        asyncio.create_task(look_up(A, HANGING_NAME))  # noqa: RUF006
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(scenario)
    assert not name_servers.is_set()


def test_the_operator_uses_the_event_loop_with_limited_look_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve(*_: object) -> None:
        loops.append(asyncio.get_running_loop())

    monkeypatch.setattr(app, "serve", serve)
    monkeypatch.setattr("qualtrics_exporter.telemetry.logs.configure", lambda *_: None)
    assert app.run(Settings()) == 0
    assert isinstance(loops[0], Loop)
