"""The servers of the sandbox on sockets, and the object that tests and commands use: `Sandbox`."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Literal, Self

from aiohttp import web

from qualtrics_exporter.clock import Clock, SystemClock
from qualtrics_exporter.sandbox.account import Account
from qualtrics_exporter.sandbox.control import Control
from qualtrics_exporter.sandbox.distributions import Distributions
from qualtrics_exporter.sandbox.faults import Faults
from qualtrics_exporter.sandbox.imports import Imports
from qualtrics_exporter.sandbox.middleware import Middleware
from qualtrics_exporter.sandbox.nexthink_api import NexthinkApi
from qualtrics_exporter.sandbox.object_store import ObjectStore
from qualtrics_exporter.sandbox.qualtrics_api import QualtricsApi
from qualtrics_exporter.sandbox.qualtrics_state import QualtricsState
from qualtrics_exporter.sandbox.recorder import Recorder

ServerName = Literal["nexthink", "qualtrics", "store"]

LARGEST_BODY = 64 * 1024 * 1024
"""The servers read no larger body. The limit of Qualtrics is far smaller."""


class Sandbox:
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
        self.account = account or Account.default()
        self.clock: Clock = clock or SystemClock()
        self.faults = Faults(self.clock)
        self._recorder = Recorder()
        self._host = host
        self._store_host = store_host or host
        self._advertise = advertise
        self._ports = {"nexthink": nexthink_port, "qualtrics": qualtrics_port, "store": store_port}
        self._tls = tls
        self._running = AsyncExitStack()
        self._open: dict[str, web.TCPSite] = {}
        self._runners: dict[str, web.AppRunner] = {}
        middleware = Middleware(self.clock, self._recorder, self.faults)
        self._qualtrics_state = QualtricsState(self.account, self.clock, self._recorder)
        self._object_store = ObjectStore(self.account, self.clock, middleware)
        self._nexthink_api = NexthinkApi(self.account, self.clock, middleware, self._object_store)
        self._qualtrics_api = QualtricsApi(self.account, self.clock, middleware, self._qualtrics_state)
        self.nexthink_url = self.qualtrics_url = self.store_url = ""

    @property
    def recorder(self) -> Recorder:
        """The record of what happened until now."""
        self._qualtrics_state.process_due()
        return self._recorder

    @property
    def nexthink_token_url(self) -> str:
        return f"{self.nexthink_url}/oauth2/default/v1/token"

    @property
    def qualtrics_token_url(self) -> str:
        return f"{self.qualtrics_url}/oauth2/token"

    @property
    def outbox_url(self) -> str:
        return f"{self.qualtrics_url}/_sandbox/outbox"

    def secrets(self) -> dict[str, dict[str, str]]:
        """The keys of the two credentials Secrets."""
        nexthink, qualtrics = self.account.nexthink_credentials[0], self.account.qualtrics_credentials[0]
        return {
            "nexthink": {
                "url": self.nexthink_url,
                "tokenUrl": self.nexthink_token_url,
                "clientId": nexthink.client_id,
                "clientSecret": nexthink.client_secret,
                "scope": " ".join(sorted(nexthink.scopes)),
            },
            "qualtrics": {
                "url": self.qualtrics_url,
                "tokenUrl": self.qualtrics_token_url,
                "clientId": qualtrics.client_id,
                "clientSecret": qualtrics.client_secret,
                "scope": " ".join(sorted(qualtrics.scopes)),
            },
        }

    def revoke_tokens(self) -> None:
        """Make every token of both services invalid that was issued until now."""
        self._nexthink_api.tokens.revoke()
        self._qualtrics_api.tokens.revoke()

    def issued_tokens(self) -> list[str]:
        """Every access token that was issued. Tests check that no log, status or Event contains one."""
        return self._nexthink_api.tokens.issued + self._qualtrics_api.tokens.issued

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
