"""Servers beside a test end without leaving anything open: a warning of that would fail whatever test comes next."""

import asyncio
import gc
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from qualtrics_exporter.clock import SystemClock
from tests.environment.loop_thread import LoopThread, closed
from tests.environment.sandbox import Certificates, SandboxThread
from tests.environment.waiting import HANG_SECONDS


@pytest.mark.parametrize("turns", range(4))
def test_a_connection_that_has_just_arrived_is_closed_with_its_server(turns: int) -> None:
    thread = LoopThread("server")
    thread.start()

    async def visited_and_closed() -> None:
        runner = web.ServerRunner(web.Server(lambda _: asyncio.sleep(0)), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        with socket.create_connection(runner.addresses[0]):
            for _ in range(turns):  # of the loop: the server accepts in one of them
                await asyncio.sleep(0)
        await closed(runner.cleanup)

    thread.run(visited_and_closed)
    thread.stop()
    gc.collect()


@pytest.mark.parametrize("end", ["", "\r\n\r\n"], ids=["in a request", "idle"])
def test_a_client_that_does_not_answer_is_no_reason_to_leave_its_connection_open(tmp_path: Path, end: str) -> None:
    """TLS waits for the other side before it closes a connection. A process that is paused does not answer."""
    certificates = Certificates(tmp_path)
    tls = ssl.create_default_context(cafile=str(certificates.authority))
    with SandboxThread(SystemClock(), certificates.server) as sandbox:
        port = int(sandbox.url.rpartition(":")[2].partition("/")[0])
        client = tls.wrap_socket(
            socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS), server_hostname="localhost"
        )
        client.sendall(f"GET / HTTP/1.1\r\nHost: localhost{end}".encode())
        if end:
            assert client.recv(65536)
    with client:
        gc.collect()
