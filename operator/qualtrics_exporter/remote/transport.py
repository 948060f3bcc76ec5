"""One try of one request, on real sockets: connections, time limits, bounded bodies, and nothing that leaks.

What is known after a try decides everything above, so that is what this module tells: `NotSent` (certainly no byte of
the request went out), `Lost` (it may have been heard), or a `Reply`. No redirect is followed and no cookie kept. httpx
takes nothing from the environment, no .netrc either: proxies are given. Replies are read raw and unpacked here, because
httpx unpacks whatever the other side likes, as far as it likes.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version

import httpx

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import NOBODY, FairSemaphore, Tenant
from qualtrics_exporter.remote import authorities
from qualtrics_exporter.remote.failures import ConnectFailed as ConnectFailed
from qualtrics_exporter.remote.failures import RequestProgress, refused_by_proxy, why
from qualtrics_exporter.remote.failures import ResponseLost as ResponseLost
from qualtrics_exporter.remote.gunzip import BadGzip, Gunzip, TooManyMembers
from qualtrics_exporter.remote.hosts import Url
from qualtrics_exporter.remote.loop_time import LoopTime
from qualtrics_exporter.remote.paced import PIECE, paced
from qualtrics_exporter.remote.proxies import Proxies, Proxy
from qualtrics_exporter.remote.response import SMALL_BODY, Response

USER_AGENT = f"qualtrics-exporter/{version('qualtrics-exporter')}"
"""Who asks: for the logs of the remote sides, and for those of the API server."""
LARGEST_BODY = 4 * 1024 * 1024
LARGEST_ERROR = 64 * 1024
LARGE_REPLIES = 3
"""Replies of more than `SMALL_BODY` that are in memory at once; tenants take turns."""
_TROUBLE = (httpx.HTTPError, httpx.InvalidURL, BadGzip, OSError)  # OSError: TLS may break in ways that httpx lets pass
_HEADERS = ("retry-after",)
LOUD = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of the machine's own time. `total` is for a whole try, `silence` for a pause within one."""

    connect: float = 10
    silence: float = 60
    total: float = 120


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A try that ended, for metrics: which side was asked to do what, and how that went."""

    side: str
    operation: str
    method: str
    status: int | None
    outcome: str
    """ok, refused (4xx), limited (429), failed (5xx), odd (a redirect, nonsense), unreachable, lost or cancelled."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What goes out."""

    side: str
    operation: str
    method: str
    url: Url
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    seconds: float | None = None
    """How long the try may take, if that is less than `Timeouts` allows."""
    alone: bool = False
    """On a connection of its own: one from the pool may just be closed by the other side, and nobody could tell then
    whether the request was heard."""
    tenant: Tenant = NOBODY
    large: AsyncExitStack | None = None
    """What holds the memory of a reply of more than `SMALL_BODY` bytes, which waits for it. Without this, nothing is
    waited for, and such a reply is `TooLarge`.
    """


class TooLarge(ResponseLost):
    """The reply is larger than anything that can be meant. The text is a clause that says which limit it exceeds."""


MOST_PIECES = 20_000
SMALLEST_PIECE = 64
"""Bytes, on the average, of a reply in more than `MOST_PIECES` pieces: each takes far longer than its bytes."""


class _Pieces:
    """Counts the pieces in which a body comes."""

    def __init__(self, status: int) -> None:
        self.bytes = self._count = 0
        self._status = status

    def add(self, piece: bytes) -> None:
        """Raises `TooLarge`."""
        self.bytes += len(piece)
        self._count += 1
        if self._count > MOST_PIECES and self.bytes < self._count * SMALLEST_PIECE:
            raise TooLarge("it comes in too many small pieces", self._status)


class Download:
    """The open body of a reply. `pieces` are its raw bytes."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.end_is_known = "content-length" in response.headers or "transfer-encoding" in response.headers
        """Whether a body that was cut can be told from a whole one. If not, it ends where the connection does."""
        self._response = response

    async def pieces(self, arrived: Callable[[], None]) -> AsyncGenerator[bytes, None]:
        """The bytes, in pieces of a useful size. Raises `Lost` if they end too early.

        `arrived` is called whenever some bytes have come, however few: what it raises ends the download.
        """
        piece, pieces = bytearray(), _Pieces(self.status)
        try:
            async for raw in self._response.aiter_raw():
                arrived()
                pieces.add(raw)
                piece += raw
                if len(piece) >= PIECE:
                    yield bytes(piece)
                    piece.clear()
        except _TROUBLE as error:
            raise ResponseLost(why(error), self.status) from None
        if piece:
            yield bytes(piece)


class Transport:
    """The connections of one process."""

    def __init__(
        self,
        clock: Clock,
        timeouts: Timeouts,
        observe: Callable[[CallRecord], None] | None,
        loop_time: LoopTime | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._clock = clock
        self._timeouts = timeouts
        self._proxies = proxies or Proxies()
        self._observe = observe
        self._loop_time = loop_time or LoopTime()
        self._large_replies = FairSemaphore(LARGE_REPLIES)
        self._tls: ssl.SSLContext | None = None
        self._clients: dict[tuple[bool, Proxy | None], httpx.AsyncClient] = {}

    async def aclose(self) -> None:
        """Close all connections."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()

    async def exchange(self, request: Request) -> Response:
        """Send a request and read the whole reply. Raises `NotSent` or `Lost`."""
        large = request.large

        total = min(self._timeouts.total, request.seconds or self._timeouts.total)
        limit = asyncio.timeout(total)

        async def make_room() -> None:
            if large:
                # That is not the remote side's time. The deadline of the run still counts.
                now = asyncio.get_running_loop().time
                left = (limit.when() or now()) - now()
                limit.reschedule(None)
                await large.enter_async_context(self._large_replies.hold(request.tenant))
                limit.reschedule(now() + left)

        async with self._observed(request) as (course, client):
            try:
                async with (
                    limit,
                    client.stream(
                        request.method,
                        request.url.text,
                        headers=request.headers,
                        content=request.body,
                        extensions={"trace": course.trace},
                    ) as response,
                ):
                    self._heard(request, course, response)
                    most = LARGEST_BODY if large else SMALL_BODY
                    body = await _body(response, most, make_room, lambda: self._loop_time.pause(request.tenant))
                    headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
                    return Response(response.status_code, headers, body)
            except TimeoutError:
                raise course.out_of_time(total, "whole answer") from None
            except _TROUBLE as error:
                raise course.failed(error) from None

    @asynccontextmanager
    async def download(self, request: Request) -> AsyncIterator[Download]:
        """Send a request and have the body of its reply piece by piece, whatever its status."""
        async with self._observed(request) as (course, client):
            try:
                outgoing = client.build_request(
                    request.method, request.url.text, headers=request.headers, extensions={"trace": course.trace}
                )
                async with asyncio.timeout(self._timeouts.total):
                    response = await client.send(outgoing, stream=True)
            except TimeoutError:
                raise course.out_of_time(self._timeouts.total, "answer") from None
            except _TROUBLE as error:
                raise course.failed(error) from None
            try:
                self._heard(request, course, response)
                yield Download(response)
            finally:
                await response.aclose()

    @asynccontextmanager
    async def _observed(self, request: Request) -> AsyncIterator[tuple[RequestProgress, httpx.AsyncClient]]:
        began = self._clock.monotonic()
        proxy = self._proxies.of(request.url)
        course = RequestProgress(proxied=proxy is not None)
        try:
            yield course, self._client(request.alone, proxy)
            course.outcome = _outcome(course.status or 0)
        except ConnectFailed:
            course.outcome = "unreachable"
            raise
        except ResponseLost as lost:
            course.outcome = "odd" if isinstance(lost, TooLarge) else "lost"
            raise
        finally:
            if self._observe:
                seconds = self._clock.monotonic() - began
                self._observe(
                    CallRecord(request.side, request.operation, request.method, course.status, course.outcome, seconds)
                )

    def _heard(self, request: Request, course: RequestProgress, response: httpx.Response) -> None:
        """Note the status of a reply. Raises `NotSent` if the proxy wrote it instead of the remote side.

        A remote side never answers with 407. tinyproxy answers a wrong password with a page and 401. A send is not
        judged by that page, because something behind the proxy could have written it, too.
        """
        if course.proxied and request.url.scheme == "http":
            page = response.headers.get("Content-Type", "").startswith("text/html")
            if response.status_code == 407 or (response.status_code == 401 and page and not request.alone):
                raise refused_by_proxy(response.status_code)
        course.status = response.status_code

    def _client(self, alone: bool, proxy: Proxy | None) -> httpx.AsyncClient:
        """The client for such requests. Raises `NotSent`."""
        if (client := self._clients.get((alone, proxy))) is None:
            _hush()
            if self._tls is None:
                try:
                    self._tls = authorities.context()
                except authorities.UnusableAuthorities as error:
                    what = "Check SSL_CERT_FILE and SSL_CERT_DIR of the operator, and its limit of open files."
                    raise ConnectFailed(str(error), what) from None
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0 if alone else 20)
            transport = httpx.AsyncHTTPTransport(
                verify=self._tls, trust_env=False, limits=limits, proxy=_for_httpx(proxy, self._tls)
            )
            client = self._clients[alone, proxy] = httpx.AsyncClient(
                transport=paced(transport, self._loop_time),
                trust_env=False,
                follow_redirects=False,
                # Shared by all credentials: what a remote side sets for one must not go out with another.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers={
                    "User-Agent": USER_AGENT,
                    "Accept-Encoding": "identity",
                },
                timeout=httpx.Timeout(self._timeouts.silence, connect=self._timeouts.connect),
            )
        return client


def _for_httpx(proxy: Proxy | None, tls: ssl.SSLContext) -> httpx.Proxy | None:
    if proxy is None:
        return None
    return httpx.Proxy(
        proxy.url,
        auth=proxy.auth,
        headers={"User-Agent": USER_AGENT},
        ssl_context=tls if proxy.scheme == "https" else None,
    )


async def _body(
    response: httpx.Response,
    most: int,
    make_room: Callable[[], Awaitable[None]],
    pause: Callable[[], Awaitable[None]],
) -> bytes:
    """The whole body, unpacked and bounded. Of an error's body, what there is of it."""
    error = response.status_code >= 400
    most = LARGEST_ERROR if error else most
    body, unpack, pieces = bytearray(), Gunzip(), _Pieces(response.status_code)
    try:
        async for raw in response.aiter_raw():
            pieces.add(raw)
            for piece in unpack.feed(raw):
                small = len(body) <= SMALL_BODY
                body += piece
                if max(len(body), pieces.bytes) > most:
                    body.clear()  # an error keeps its frames, several tries keep several errors
                    if error:
                        return b""
                    raise TooLarge(f"it has more than {most // 1024:,} KiB", response.status_code)
                if small and len(body) > SMALL_BODY:
                    await make_room()
                await pause()
        for piece in unpack.close():
            body += piece
    except TooManyMembers:
        if error:
            return b""
        raise TooLarge("it consists of too many packed parts", response.status_code) from None
    except _TROUBLE:
        if error:
            return b""  # what it is about is told by its status
        raise
    return bytes(body)


def _outcome(status: int) -> str:
    if status == 429:
        return "limited"
    return {2: "ok", 4: "refused", 5: "failed"}.get(status // 100, "odd")


def _hush() -> None:
    """Keep the libraries from logging URLs and headers, at whatever level somebody sets."""
    for name in LOUD:
        logger = logging.getLogger(name)
        if _quiet not in logger.filters:
            logger.addFilter(_quiet)


def _quiet(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
