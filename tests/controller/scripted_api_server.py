"""An API server whose responses a test chooses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.controller.kubeconfig_file import write_kubeconfig


class ScriptedApiServer:
    """An API server that gives the responses of a test, and records the requests."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self.requests: list[web.Request] = []
        self.responses: list[web.Response | None] = []
        """The next responses. With None, the connection breaks."""
        self.hanging_path = "\0"
        """Requests with this text in their path get no response."""
        self.hanging_requests = asyncio.Semaphore(0)
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def use_token(self, token: str) -> None:
        """Write a kubeconfig with this token."""
        write_kubeconfig(self.kubeconfig, {"server": self.url}, {"token": token})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ScriptedApiServer"]:
        runner = web.ServerRunner(web.Server(self._respond), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]
        self.use_token("first")
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.hanging_path in request.path:
            self.hanging_requests.release()
            await asyncio.Event().wait()
        self.requests.append(request)  # type: ignore[arg-type]
        response = self.responses.pop(0)
        if response is None:
            assert request.transport
            request.transport.abort()
            return web.Response()
        return response
