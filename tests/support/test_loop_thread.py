"""Servers in threads leave no connection open when they stop. Otherwise, a ResourceWarning fails the next test."""

import asyncio
import gc
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from qualtrics_exporter.clock import SystemClock
from tests.support.loop_thread import LoopThread, closed
from tests.support.sandbox import Certificates, SandboxThread
from tests.support.waiting import HANG_SECONDS


@pytest.mark.parametrize("iterations", range(4))
def test_a_server_that_stops_closes_a_connection_that_has_just_arrived(iterations: int) -> None:
    thread = LoopThread("server")
    thread.start()

    async def connect_and_close() -> None:
        runner = web.ServerRunner(web.Server(lambda _: asyncio.sleep(0)), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        with socket.create_connection(runner.addresses[0]):
            for _ in range(iterations):  # the server accepts the connection in one of these iterations
                await asyncio.sleep(0)
        await closed(runner.cleanup)

    thread.run(connect_and_close)
    thread.stop()
    gc.collect()


@pytest.mark.parametrize("rest_of_request", ["", "\r\n\r\n"], ids=["in a request", "idle"])
def test_a_sandbox_that_stops_closes_the_connection_of_a_client_that_does_not_respond(
    tmp_path: Path, rest_of_request: str
) -> None:
    """Before TLS closes a connection, it waits for the other side. A paused process does not respond."""
    certificates = Certificates(tmp_path)
    tls = ssl.create_default_context(cafile=str(certificates.authority))
    with SandboxThread(SystemClock(), certificates.server) as sandbox:
        port = int(sandbox.url.rpartition(":")[2].partition("/")[0])
        client = tls.wrap_socket(
            socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS), server_hostname="localhost"
        )
        client.sendall(f"GET / HTTP/1.1\r\nHost: localhost{rest_of_request}".encode())
        if rest_of_request:
            assert client.recv(65536)
    with client:
        gc.collect()
