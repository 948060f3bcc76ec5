"""Both sides on sockets."""

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
"""What is read at all; what Qualtrics refuses is far smaller."""


class Sandbox:
    """Nexthink, its object store and Qualtrics, each on a port of its own.

    `advertise` is the host name in the addresses that are handed out, where it is not `host`: a certificate's name,
    or a Service in front. `store_host` serves the object store on another address.
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
    def ledger(self) -> Recorder:
        """What happened up to this moment of the clock."""
        self._qualtrics_state.settle()
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
        """The two credentials Secrets, key by key."""
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
        """No token given out so far is good any more, on either side."""
        self._nexthink_api.tokens.revoke()
        self._qualtrics_api.tokens.revoke()

    def issued_tokens(self) -> list[str]:
        """Every access token that either side ever gave out: what must be found in no log, status or Event."""
        return self._nexthink_api.tokens.given + self._qualtrics_api.tokens.given

    async def start(self) -> None:
        """Listen. A port 0 becomes a free one."""
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
        """Let go of what is held, and of the ports. A client that still waits sees its connection end."""
        self.faults.release(drop=True)
        self._open.clear()
        await self._running.aclose()

    async def close_port(self, name: ServerName) -> None:
        """Close that port, as when its process has died: new connections are refused, open ones end."""
        await self._open.pop(name).stop()
        if (server := self._runners[name].server) is not None:
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            while server.connections:  # noqa: ASYNC110 - they end in the next rounds of the loop, and tell nobody
                await asyncio.sleep(0)

    async def open_port(self, name: ServerName) -> None:
        """Listen there again, if it was closed."""
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
        self._ports[name] = port  # the same again after a restart
        shown = self._advertise or ("127.0.0.1" if host in {"0.0.0.0", "::"} else host)  # noqa: S104
        return f"{'https' if self._tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"

    async def _site(self, name: str, host: str) -> None:
        site = web.TCPSite(self._runners[name], host, self._ports[name], ssl_context=self._tls)
        await site.start()
        self._open[name] = site
