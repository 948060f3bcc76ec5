"""Servers beside a test end without leaving anything open: a warning of that would fail whatever test comes next."""

import asyncio
import gc
import socket

import pytest
from aiohttp import web

from tests.environment.loop_thread import LoopThread, closed


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
