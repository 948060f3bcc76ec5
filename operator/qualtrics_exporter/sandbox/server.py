"""The servers of the sandbox on sockets, and the object that tests and commands use: `Sandbox`."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Literal, Self

from aiohttp import web

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.account import Account
from qualtrics_exporter.sandbox.control import Control
from qualtrics_exporter.sandbox.distributions import Distributions
from qualtrics_exporter.sandbox.imports import Imports
from qualtrics_exporter.sandbox.services import Services

ServerName = Literal["nexthink", "qualtrics", "store"]

LARGEST_BODY = 64 * 1024 * 1024
"""The servers read no larger body. The limit of Qualtrics is far smaller."""


class Sandbox(Services):
    """Nexthink, its object store and Qualtrics, each on its own port.

    `advertise` is the host name in the URLs that the sandbox returns, if it differs from `host`: the name in a
    certificate, or of a Service. `store_host` is the address of the object store, if it differs from `host`.
    """

    def __init__(
        self,
        account: Account | None = None,
        *,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        nexthink_port: int = 0,
        qualtrics_port: int = 0,
        store_port: int = 0,
        store_host: str | None = None,
        advertise: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(account, clock)
        self._host = host
        self._store_host = store_host or host
        self._advertise = advertise
        self._ports = {"nexthink": nexthink_port, "qualtrics": qualtrics_port, "store": store_port}
        self._tls = tls
        self._running = AsyncExitStack()
        self._open: dict[str, web.TCPSite] = {}
        self._runners: dict[str, web.AppRunner] = {}

    async def start(self) -> None:
        """Start the servers. A port of 0 means any free port."""
        store, nexthink, qualtrics = (web.Application(client_max_size=LARGEST_BODY) for _ in range(3))
        control = Control(self)
        self._object_store.mount(store)
        self._nexthink_api.mount(nexthink)
        control.mount(nexthink)
        control.mount(qualtrics)
        self._qualtrics_api.mount(qualtrics)
        Imports(self._qualtrics_api).mount(qualtrics)
        Distributions(self._qualtrics_api).mount(qualtrics)
        self._qualtrics_api.close(qualtrics)
        async with AsyncExitStack() as starting:
            self.store_url = self._object_store.url = await self._listen(starting, store, "store", self._store_host)
            self.nexthink_url = await self._listen(starting, nexthink, "nexthink", self._host)
            self.qualtrics_url = self._qualtrics_api.url = await self._listen(
                starting, qualtrics, "qualtrics", self._host
            )
            self._running = starting.pop_all()

    async def stop(self) -> None:
        """Close the connections of held requests, and all ports."""
        self.faults.release(drop=True)
        self._open.clear()
        await self._running.aclose()

    async def close_port(self, name: ServerName) -> None:
        """Close the port of a server, as if its process had died: it refuses new connections and closes open ones."""
        await self._open.pop(name).stop()
        if (server := self._runners[name].server) is not None:
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            while server.connections:  # noqa: ASYNC110 - they close in the next steps of the loop, without a signal
                await asyncio.sleep(0)

    async def open_port(self, name: ServerName) -> None:
        """Open the port of a server again, if it is closed."""
        if name not in self._open:
            await self._site(name, self._host if name != "store" else self._store_host)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _listen(self, starting: AsyncExitStack, app: web.Application, name: str, host: str) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        starting.push_async_callback(runner.cleanup)
        self._runners[name] = runner
        await self._site(name, host)
        port = runner.addresses[0][1]
        self._ports[name] = port  # use the same port after a restart
        shown = self._advertise or ("127.0.0.1" if host in {"0.0.0.0", "::"} else host)  # noqa: S104
        return f"{'https' if self._tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"

    async def _site(self, name: str, host: str) -> None:
        site = web.TCPSite(self._runners[name], host, self._ports[name], ssl_context=self._tls)
        await site.start()
        self._open[name] = site
