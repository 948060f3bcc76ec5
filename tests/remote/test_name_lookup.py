"""Names whose look-up hangs cost the tenant that asks for them, and nobody else."""

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
from tests.environment.waiting import HANG_SECONDS

A, B = Tenant("a", "nexthink"), Tenant("b", "nexthink")
HANGING = "hanging.example"


@pytest.fixture
def name_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Name servers that do not answer for one name until the event is set."""
    answer = threading.Event()

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        if host == HANGING:
            answer.wait()
        host.encode("idna")  # as the real one does
        if host == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield answer
    answer.set()


async def look_up(tenant: Tenant, host: str) -> Any:
    with acting_for(tenant):
        return await asyncio.get_running_loop().getaddrinfo(host, 443)


def run(story: Any) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(story())


def test_names_of_one_tenant_that_hang_do_not_stop_the_look_ups_of_another(name_servers: threading.Event) -> None:
    async def story() -> None:
        hanging = [asyncio.create_task(look_up(A, HANGING)) for _ in range(2 * MAX_CONCURRENT_LOOK_UPS)]
        await asyncio.sleep(0)
        assert await look_up(B, "good.example")
        assert await look_up(NOBODY, "api-server.example")
        name_servers.set()
        assert all(await asyncio.gather(*hanging))

    run(story)


def test_a_look_up_that_nobody_waits_for_any_more_still_counts(name_servers: threading.Event) -> None:
    """Its thread cannot be cancelled: a tenant that tries again and again must not start one each time."""

    async def story() -> None:
        for _ in range(3):
            tries = [asyncio.create_task(look_up(A, HANGING)) for _ in range(MAX_CONCURRENT_LOOK_UPS)]
            for _ in range(5):
                await asyncio.sleep(0)
            for one in tries:
                one.cancel()
            await asyncio.wait(tries)
        threads = [thread for thread in threading.enumerate() if thread.name == "look-up"]
        assert len(threads) == MAX_CONCURRENT_LOOK_UPS / 2
        name_servers.set()

    run(story)


@pytest.mark.usefixtures("name_servers")
def test_a_name_that_is_not_known_or_cannot_be_one_is_an_error_of_the_look_up() -> None:
    async def story() -> None:
        for name in ("unknown.example", "a" * 70 + ".example"):
            with pytest.raises(OSError):  # noqa: PT011
                await asyncio.wait_for(look_up(A, name), HANG_SECONDS)

    run(story)


def test_the_process_ends_although_a_look_up_hangs(name_servers: threading.Event) -> None:
    async def story() -> None:
        asyncio.create_task(look_up(A, HANGING))  # noqa: RUF006
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(story)
    assert not name_servers.is_set()


def test_the_operator_looks_names_up_in_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve(*_: object) -> None:
        loops.append(asyncio.get_running_loop())

    monkeypatch.setattr(app, "serve", serve)
    monkeypatch.setattr("qualtrics_exporter.telemetry.logs.configure", lambda *_: None)
    assert app.run(Settings()) == 0
    assert isinstance(loops[0], Loop)
