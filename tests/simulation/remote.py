"""The network to Nexthink and Qualtrics: real requests of the real clients, answered by the sandbox's logic.

A request takes time, has its effect, and its reply takes time. Every part can fail: the connection does not open, the
request is lost, the reply is lost, the effect comes minutes after the client has given up, an error comes with or
without the effect, or a host accepts the request and never replies.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from qualtrics_exporter.remote.bodies import TooLarge
from qualtrics_exporter.remote.failures import ConnectFailed, ResponseLost
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.sandbox.middleware import Reply as SandboxReply

from .faults import Faults
from .loop import VirtualLoop
from .misleading import MisleadingHosts
from .tenants import Routes, body_of

TIMEOUT = 120.0
"""Seconds after which the client gives up, like `Timeouts.total`."""

Effect = Callable[[str, Request, SandboxReply, float], None]
"""Called for each effect with the process, the request, the reply, and the seconds that the request took."""


class Network:
    """All hosts, and the faults on the way to them."""

    def __init__(self, loop: VirtualLoop, faults: Faults, effect: Effect, trace: Callable[..., None]) -> None:
        self.loop = loop
        self.faults = faults
        self.hosts: dict[str, Routes] = {}
        self.misleading: MisleadingHosts | None = None
        self.calls = 0
        self._effect = effect
        self._trace = trace

    def transport(self, replica: str, calling: Callable[[str], None]) -> "SimulatedTransport":
        """The transport of one replica. `calling` is called before each request."""
        return SimulatedTransport(self, replica, calling)

    def begin(self, replica: str, request: Request) -> asyncio.Future[Any]:
        """Send a request. The future ends in a reply of the sandbox, `ConnectFailed` or `ResponseLost`."""
        self.calls += 1
        loop, faults, random = self.loop, self.faults, self.faults.remote
        future: asyncio.Future[Any] = loop.create_future()
        host = request.url.host
        there, back = 0.02 + random.random() * 0.08, random.random() * 0.05
        trace = self._trace
        left = loop.time()

        def answer(reply: SandboxReply | Exception) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                trace(replica, "reply to", request.operation, "lost:", reply)
                future.set_exception(reply)
            else:
                trace(replica, "reply to", request.operation, reply.status)
                future.set_result(reply)

        def serve() -> SandboxReply:
            return self._serve(replica, host, request, left)

        def effect_then_reply() -> None:
            reply = serve()
            loop.outside(back, answer, reply)

        if faults.hanging.get(host, 0.0) > loop.time():
            manner = faults.manner[host]
            if manner == "flood":
                loop.outside(5.0, answer, TooLarge("the answer is larger than anything that can be meant"))
            elif manner == "lie":
                loop.outside(there, lambda: loop.outside(back, answer, _with_wrong_types(serve(), random)))
            elif self.misleading and manner in MISLEADING:
                back += self.misleading.delay(manner, request)
                loop.outside(
                    there, lambda: loop.outside(back, answer, self._misled(replica, host, request, manner, left))
                )
            else:
                patience = min(TIMEOUT, request.seconds or TIMEOUT)
                loop.outside(
                    patience, answer, ResponseLost(f"there was no whole answer within {patience:g} s", timed_out=True)
                )
            return future
        send = request.operation == "create_distribution"
        importing = request.operation == "import_contacts"
        more = 12.0 if send else 4.0 if importing else 1.0
        if faults.strikes("remote-slow", random, more):
            there, back = random.choice(((30.0, 1.0), (1.0, 60.0), (100.0, 1.0), (5.0, 5.0)))
        if faults.strikes("remote-lost", random, more):
            self._lose(random, answer, serve, there, back)
        elif faults.strikes("remote-limited", random, more):
            status, limited = 429, self._error(host, request, 429)
            wait = random.choice((None, "1", "30", "200", "290", "86400"))
            if wait is not None:
                limited.headers["Retry-After"] = wait
            self._fail(limited, answer, serve, there, back, effect=random.random() < 0.4)
            trace(replica, request.operation, "is answered with", status)
        elif faults.strikes("remote-error", random, more):
            status = random.choice((500, 502, 503, 504, 408, 301, 401))
            effect = status != 401 and random.random() < 0.5
            self._fail(self._error(host, request, status), answer, serve, there, back, effect=effect)
        else:
            loop.outside(there, effect_then_reply)
        return future

    def _lose(
        self,
        random: Random,
        answer: Callable[[Any], None],
        serve: Callable[[], SandboxReply],
        there: float,
        back: float,
    ) -> None:
        loop, kind = self.loop, random.choice(("not sent", "request", "reply", "late"))
        if kind == "not sent":
            loop.outside(random.choice((0.01, 10.0)), answer, ConnectFailed("no connection could be opened"))
        elif kind == "request":
            loop.outside(random.choice((0.5, 60.0, TIMEOUT)), answer, ResponseLost("the connection broke"))
        elif kind == "reply":
            loop.outside(there, serve)
            loop.outside(there + random.choice((back, 60.0)), answer, ResponseLost("the connection broke"))
        else:
            loop.outside(random.choice((60.0, 119.0, 130.0, 200.0)), serve)
            loop.outside(
                random.choice((2.0, TIMEOUT)), answer, ResponseLost("there was no whole answer in time", timed_out=True)
            )

    def _fail(
        self,
        reply: SandboxReply,
        answer: Callable[[Any], None],
        serve: Callable[[], SandboxReply],
        there: float,
        back: float,
        *,
        effect: bool,
    ) -> None:
        if effect:
            self.loop.outside(there, serve)
        self.loop.outside(there + back, answer, reply)

    def _error(self, host: str, request: Request, status: int) -> SandboxReply:
        route, _ = self.hosts[host].find(request.method, request.url.rest.partition("?")[0])
        return route.status_reply(status)

    def _serve(self, replica: str, host: str, request: Request, left: float) -> SandboxReply:
        reply = self._handled(host, request)
        self._effect(replica, request, reply, self.loop.time() - left)
        return reply

    def _misled(self, replica: str, host: str, request: Request, manner: str, left: float) -> SandboxReply:
        assert self.misleading
        reply = self.misleading.reply(manner, request, lambda forwarded: self._handled(host, forwarded))
        self._effect(replica, request, reply, self.loop.time() - left)
        return reply

    def _handled(self, host: str, request: Request) -> SandboxReply:
        body = request.body or b""
        reply = self.hosts[host].serve(request.method, request.url.rest, dict(request.headers), body)
        reply.body = body_of(reply)
        return reply


MISLEADING = ("mixup", "endless")
"""What hosts with valid replies do: see `misleading`."""

WRONG_TYPES = (
    b"[]",
    b"{}",
    b"null",
    b"[" * 5000,
    b'{"result": [], "data": {}, "access_token": 7}',
    b'{"result": {"id": 7, "elements": {}, "status": []}, "data": [[1]], "exportId": [], "status": 1}',
    b'{"result": {"elements": [{"id": {}}], "nextPage": 7}, "data": [null], "access_token": "a\\n", "expires_in": "x"}',
)
"""Replies with values of wrong types."""


def _with_wrong_types(reply: SandboxReply, random: Random) -> SandboxReply:
    """The reply, with other content."""
    return SandboxReply(reply.status, random.choice(WRONG_TYPES), {"Content-Type": "application/json"})


class SimulatedTransport:
    """Takes the place of `remote.transport.Transport`."""

    def __init__(self, network: Network, replica: str, calling: Callable[[str], None]) -> None:
        self._network = network
        self._replica = replica
        self._calling = calling

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""

    async def exchange(self, request: Request) -> Response:
        """As `Transport.exchange`."""
        self._calling(request.operation)
        if request.on_sending:
            request.on_sending()
        reply = await self._network.begin(self._replica, request)
        return Response(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body)

    @asynccontextmanager
    async def download(self, request: Request) -> AsyncIterator["SimulatedDownload"]:
        """As `Transport.download`."""
        self._calling(request.operation)
        reply = await self._network.begin(self._replica, request)
        faults = self._network.faults
        cut = len(reply.body) // 2 if faults.strikes("remote-lost", faults.remote, 4.0) else None
        yield SimulatedDownload(reply.status, reply.body, cut)


class SimulatedDownload:
    """As `remote.bodies.Download`. With `cut`, the connection breaks before the end."""

    def __init__(self, status: int, body: bytes, cut: int | None) -> None:
        self.status = status
        self.end_is_known = True
        self._body = body
        self._cut = cut

    async def pieces(self, arrived: Callable[[], None]) -> AsyncGenerator[bytes, None]:
        """The bytes, in two pieces."""
        middle = len(self._body) // 2
        yield self._body[:middle]
        if self._cut is not None:
            raise ResponseLost("the connection broke", self.status)
        yield self._body[middle:]
