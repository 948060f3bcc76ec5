"""Faults between the operator's HTTP clients and the sandbox: closed ports, and responses that come too late."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar, get_args

from qualtrics_exporter.remote.bodies import Download
from qualtrics_exporter.remote.failures import ConnectFailed, ResponseLost
from qualtrics_exporter.remote.transport import Request, Transport
from qualtrics_exporter.sandbox import Sandbox
from qualtrics_exporter.sandbox.server import ServerName
from tests.support.waiting import HANG_SECONDS

T = TypeVar("T")


class TransportFaults:
    """Wraps a transport. It closes a port just before a request, and gives up on requests that the sandbox holds."""

    def __init__(self, transport: Transport, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._exchange, self._download = transport.exchange, transport.download
        transport.exchange, transport.download = self.exchange, self.download  # type: ignore[method-assign]
        self._closed: dict[str, bool] = {}
        self._late: dict[str, bool] = {}
        self.requests: list[Request] = []
        """All requests, including those that could not leave."""
        self.refused: list[str] = []
        """The operations that met a closed port."""

    def close_port(self, operation: str, *, once: bool) -> None:
        """Close the port of this operation before its next request. With `once`, open it for the next try."""
        self._closed[operation] = once

    def give_up(self, operation: str, *, drop: bool) -> None:
        """Lose the response of a request that the sandbox holds. The sandbox then drops the request or serves it."""
        self._late[operation] = drop

    async def clear(self) -> None:
        """Remove all faults, and open all ports."""
        self._closed.clear()
        self._late.clear()
        self.refused.clear()
        for server in get_args(ServerName):
            await self._sandbox.open_port(server)

    async def exchange(self, request: Request) -> Any:
        self.requests.append(request)
        operation = f"{request.service}.{request.operation}"
        async with self._leaving(operation):
            return await self._unless_late(operation, self._exchange(request))

    @asynccontextmanager
    async def download(self, request: Request) -> AsyncIterator[Download]:
        self.requests.append(request)
        operation = f"{request.service}.{request.operation}"
        async with self._leaving(operation), AsyncExitStack() as stack:
            yield await self._unless_late(operation, stack.enter_async_context(self._download(request)))

    async def _unless_late(self, operation: str, call: Coroutine[Any, Any, T]) -> T:
        """The response, or `ResponseLost` if the request is held and the test gives up on it. No real time decides."""
        if operation not in self._late:
            return await call
        response = asyncio.create_task(call)
        held = asyncio.create_task(self._sandbox.faults.reached(operation, timeout=HANG_SECONDS))
        try:
            await asyncio.wait({response, held}, return_when=asyncio.FIRST_COMPLETED)
            if response.done():
                return response.result()
            held.result()
            raise ResponseLost("the test gave up on it")
        finally:
            for task in (response, held):
                task.cancel()
            await asyncio.wait({response, held})

    @asynccontextmanager
    async def _leaving(self, operation: str) -> AsyncIterator[None]:
        once = self._closed.get(operation)
        server = "store" if operation.endswith(".download") else operation.partition(".")[0]
        if once is not None:
            with suppress(KeyError):  # it is closed already
                await self._sandbox.close_port(server)
        try:
            yield
        except ConnectFailed:
            self.refused.append(operation)
            raise
        finally:
            if once:
                del self._closed[operation]
                await self._sandbox.open_port(server)
            if (drop := self._late.get(operation)) is not None:
                self._sandbox.faults.release(operation, drop=drop)
                await _run_other_tasks()


async def _run_other_tasks() -> None:
    for _ in range(4):
        await asyncio.sleep(0)
