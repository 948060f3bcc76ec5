"""Probes and metrics, asked over a real socket."""

import asyncio
import errno
import socket

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge

from qualtrics_exporter.controller.probes import parse_address, serve


class State:
    """What the probes are told."""

    def __init__(self) -> None:
        self.wrong: str | None = None
        self.not_ready: str | None = None


async def asked(address: tuple[str, int], path: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address[0]}:{address[1]}{path}") as reply:
        return reply.status, await reply.text(), reply.headers["Content-Type"]


async def test_livez_says_why_the_process_should_be_restarted() -> None:
    state = State()
    async with serve("127.0.0.1:0", registry=CollectorRegistry(), health=lambda: state.wrong) as address:
        assert (await asked(address, "/livez"))[:2] == (200, "ok\n")
        state.wrong = "the scheduler has not looked for work for 300 s"
        assert (await asked(address, "/livez"))[:2] == (503, "the scheduler has not looked for work for 300 s\n")
        assert (await asked(address, "/readyz"))[0] == 200
        state.wrong = None
        assert (await asked(address, "/livez"))[0] == 200


async def test_readyz_has_a_reason_of_its_own() -> None:
    state = State()
    async with serve("127.0.0.1:0", registry=CollectorRegistry(), ready=lambda: state.not_ready) as address:
        assert (await asked(address, "/readyz"))[0] == 200
        state.not_ready = "exporters are still being listed"
        assert (await asked(address, "/readyz"))[:2] == (503, "exporters are still being listed\n")
        assert (await asked(address, "/livez"))[0] == 200


async def test_a_check_that_fails_is_a_failed_probe() -> None:
    def broken() -> str | None:
        raise KeyError("jane@example.com")

    async with serve("127.0.0.1:0", registry=CollectorRegistry(), health=broken) as address:
        status, text, _ = await asked(address, "/livez")
    assert status == 503
    assert "KeyError" in text
    assert "jane" not in text


async def test_metrics_come_in_the_format_of_prometheus() -> None:
    registry = CollectorRegistry()
    Gauge("bees", "Bees.", registry=registry).set(3)
    async with serve("127.0.0.1:0", registry=registry) as address:
        status, text, kind = await asked(address, "/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert "version=" in kind
    assert "bees 3.0\n" in text


async def test_nothing_else_is_there() -> None:
    async with serve("127.0.0.1:0", registry=CollectorRegistry()) as address:
        assert (await asked(address, "/"))[0] == 404
        assert (await asked(address, "/debug"))[0] == 404


async def test_an_address_in_use_is_an_error_at_once_and_the_end_frees_it() -> None:
    async with serve("127.0.0.1:0", registry=CollectorRegistry()) as (host, port):
        with pytest.raises(OSError, match="address already in use"):
            async with serve(f"{host}:{port}", registry=CollectorRegistry()):
                pytest.fail("two servers on one port")
    async with serve(f"{host}:{port}", registry=CollectorRegistry()) as again:
        assert again == (host, port)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_without_a_host_both_families_are_served(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "[::1]"
    async with serve(":0", registry=CollectorRegistry()) as (_, port):
        assert (await asked((host, port), "/livez"))[0] == 200
        with pytest.raises(OSError, match="address already in use"):
            async with serve(f":{port}", registry=CollectorRegistry()):
                pytest.fail("two servers on one port")


@pytest.mark.parametrize("code", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
async def test_a_machine_without_ipv6_serves_the_other_family(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    plain = web.TCPSite.start

    async def start(site: web.TCPSite) -> None:
        if site._host == "::":
            raise OSError(code, "there is no such family")
        await plain(site)

    monkeypatch.setattr(web.TCPSite, "start", start)
    async with serve(":0", registry=CollectorRegistry()) as (_, port):
        assert (await asked(("127.0.0.1", port), "/livez"))[0] == 200


async def test_it_ends_while_a_scrape_is_going_on() -> None:
    async with serve("127.0.0.1:0", registry=CollectorRegistry()) as (host, port):
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
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8080", "0.0.0.0", "host:", "host:http", "host:70000", "::1:8080", "host:-1"])
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"for example"):
        parse_address(text)
