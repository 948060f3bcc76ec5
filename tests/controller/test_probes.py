"""The HTTP server for probes and metrics, over a real socket."""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from functools import partial

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from qualtrics_exporter.controller.probes import parse_address, serve


def page(registry: CollectorRegistry) -> Iterator[bytes]:
    yield generate_latest(registry)


NO_METRICS = partial(page, CollectorRegistry())


class Problems:
    """The problems that the checks return."""

    def __init__(self) -> None:
        self.health: str | None = None
        self.readiness: str | None = None


async def get(address: tuple[str, int], path: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address[0]}:{address[1]}{path}") as reply:
        return reply.status, await reply.text(), reply.headers["Content-Type"]


async def test_livez_fails_with_the_reason_why_the_process_should_restart() -> None:
    problems = Problems()
    async with serve("127.0.0.1:0", metrics=NO_METRICS, health=lambda: problems.health) as address:
        assert (await get(address, "/livez"))[:2] == (200, "ok\n")
        problems.health = "the work queue has not been looked at for minutes"
        assert (await get(address, "/livez"))[:2] == (503, "the work queue has not been looked at for minutes\n")
        assert (await get(address, "/readyz"))[0] == 200
        problems.health = None
        assert (await get(address, "/livez"))[0] == 200


async def test_readyz_fails_with_its_reason_while_livez_succeeds() -> None:
    problems = Problems()
    async with serve("127.0.0.1:0", metrics=NO_METRICS, ready=lambda: problems.readiness) as address:
        assert (await get(address, "/readyz"))[0] == 200
        problems.readiness = "exporters are still being listed"
        assert (await get(address, "/readyz"))[:2] == (503, "exporters are still being listed\n")
        assert (await get(address, "/livez"))[0] == 200


async def test_check_that_raises_fails_the_probe_without_showing_the_text_of_the_error() -> None:
    def broken() -> str | None:
        raise KeyError("jane@example.com")

    async with serve("127.0.0.1:0", metrics=NO_METRICS, health=broken) as address:
        status, text, _ = await get(address, "/livez")
    assert status == 503
    assert "KeyError" in text
    assert "jane" not in text


async def test_metrics_are_served_in_the_prometheus_text_format() -> None:
    registry = CollectorRegistry()
    Gauge("bees", "Bees.", registry=registry).set(3)
    async with serve("127.0.0.1:0", metrics=partial(page, registry)) as address:
        status, text, kind = await get(address, "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert "version=" in kind
    assert "bees 3.0\n" in text


async def test_head_request_for_metrics_gets_no_text() -> None:
    registry = CollectorRegistry()
    Gauge("bees", "Bees.", registry=registry).set(3)
    async with serve("127.0.0.1:0", metrics=partial(page, registry)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"HEAD /metrics HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")
        reply = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
    assert reply.endswith(b"\r\n\r\n")
    assert b"bees" not in reply


async def test_client_that_leaves_during_a_scrape_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    bees = Gauge("bees", "Bees.", ["hive"], registry=registry)
    for number in range(20_000):
        bees.labels("x" * 500 + str(number)).set(3)
    async with serve("127.0.0.1:0", metrics=partial(page, registry)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: pod\r\n\r\n")
        assert await reader.readexactly(12) == b"HTTP/1.1 200"
        writer.transport.abort()
        assert (await get(address, "/livez"))[0] == 200
    logged = [record for record in caplog.records if record.name.startswith(("aiohttp", "qualtrics_exporter"))]
    assert [record.getMessage() for record in logged if record.levelno >= logging.WARNING] == []


async def test_other_paths_return_404() -> None:
    async with serve("127.0.0.1:0", metrics=NO_METRICS) as address:
        assert (await get(address, "/"))[0] == 404
        assert (await get(address, "/debug"))[0] == 404


async def test_server_fails_on_an_address_in_use_and_frees_its_address_when_it_ends() -> None:
    async with serve("127.0.0.1:0", metrics=NO_METRICS) as (host, port):
        with pytest.raises(OSError, match="address already in use"):
            async with serve(f"{host}:{port}", metrics=NO_METRICS):
                pytest.fail("two servers on one port")
    async with serve(f"{host}:{port}", metrics=NO_METRICS) as again:
        assert again == (host, port)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_address_without_a_host_serves_ipv4_and_ipv6(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "[::1]"
    async with serve(":0", metrics=NO_METRICS) as (_, port):
        assert (await get((host, port), "/livez"))[0] == 200
        with pytest.raises(OSError, match="address already in use"):
            async with serve(f":{port}", metrics=NO_METRICS):
                pytest.fail("two servers on one port")


@pytest.mark.parametrize("code", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
async def test_machine_without_ipv6_serves_ipv4(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    original_start = web.TCPSite.start

    async def start(site: web.TCPSite) -> None:
        if site._host == "::":
            raise OSError(code, "no such address family")
        await original_start(site)

    monkeypatch.setattr(web.TCPSite, "start", start)
    async with serve(":0", metrics=NO_METRICS) as (_, port):
        assert (await get(("127.0.0.1", port), "/livez"))[0] == 200


async def test_server_stops_during_a_scrape() -> None:
    async with serve("127.0.0.1:0", metrics=NO_METRICS) as (host, port):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /metrics HTTP/1.1\r\n")
        await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        (":8080", ("", 8080)),
        ("[::]:8080", ("::", 8080)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_address_is_parsed_into_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8080", "0.0.0.0", "host:", "host:http", "host:70000", "::1:8080", "host:-1"])
def test_invalid_address_is_rejected_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"for example"):
        parse_address(text)
