"""One try of one request, on real sockets: connections, time limits and proxies.

A try ends with a `Response`, with `ConnectFailed` (certainly no byte of the request was sent) or with `ResponseLost`
(the service may have received it). It follows no redirect and keeps no cookie. httpx takes nothing from the
environment, and nothing from .netrc: proxies are passed as an argument.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version

import httpx

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import NOBODY, FairSemaphore, Tenant
from qualtrics_exporter.remote import authorities
from qualtrics_exporter.remote.bodies import CONNECTION_ERRORS, LARGEST_BODY, Download, RequestBody, TooLarge, read_body
from qualtrics_exporter.remote.failures import ConnectFailed, RequestProgress, ResponseLost, refused_by_proxy
from qualtrics_exporter.remote.hosts import Url
from qualtrics_exporter.remote.loop_time import LoopTime
from qualtrics_exporter.remote.paced import paced
from qualtrics_exporter.remote.proxies import Proxies, Proxy
from qualtrics_exporter.remote.response import SMALL_BODY, Response

USER_AGENT = f"qualtrics-exporter/{version('qualtrics-exporter')}"
"""For the logs of the services and of the API server."""
MAX_LARGE_RESPONSES = 3
"""Responses of more than `SMALL_BODY` that are in memory at the same time; tenants take turns."""
_HEADERS = ("retry-after",)
NOISY_LOGGERS = ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")))


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of real time. `total` is for a complete try, `silence` for a pause within it."""

    connect: float = 10
    silence: float = 60
    total: float = 120


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A try that ended, for metrics."""

    service: str
    operation: str
    method: str
    status: int | None
    outcome: str
    """ok, refused (4xx), limited (429), failed (5xx), odd (a redirect, an unknown status, too large), unreachable,
    lost or cancelled."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to a service."""

    service: str
    operation: str
    method: str
    url: Url
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    seconds: float | None = None
    """The time limit of the try, if it is less than `Timeouts` allows."""
    fresh_connection: bool = False
    """Use a new connection. The service may close a pooled one at any moment, and then it is unknown whether it
    received the request."""
    tenant: Tenant = NOBODY
    large: AsyncExitStack | None = None
    """Holds the memory for a response of more than `SMALL_BODY` bytes: the try waits for it. Without this, it waits for
    nothing, and such a response is `TooLarge`.
    """
    on_sending: Callable[[], None] | None = None
    """Called when the connection is open, and the request leaves."""


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
        self._large_responses = FairSemaphore(MAX_LARGE_RESPONSES)
        self._tls: ssl.SSLContext | None = None
        self._clients: dict[tuple[bool, Proxy | None], httpx.AsyncClient] = {}

    async def aclose(self) -> None:
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()

    async def exchange(self, request: Request) -> Response:
        """Send a request and read the complete response. Raises `ConnectFailed` or `ResponseLost`."""
        large = request.large
        total = min(self._timeouts.total, request.seconds or self._timeouts.total)
        limit = asyncio.timeout(total)

        async def reserve_memory() -> None:
            if large:
                # The wait does not count as time of the service. The deadline of the run still applies.
                now = asyncio.get_running_loop().time
                left = (limit.when() or now()) - now()
                limit.reschedule(None)
                await large.enter_async_context(self._large_responses.hold(request.tenant))
                limit.reschedule(now() + left)

        async with self._observed(request) as (progress, client):
            try:
                async with (
                    limit,
                    client.stream(
                        request.method,
                        request.url.text,
                        headers=_with_length(request),
                        content=None if request.body is None else RequestBody(request.body),
                        extensions={"trace": progress.trace},
                    ) as response,
                ):
                    self._note_status(request, progress, response)
                    largest = LARGEST_BODY if large else SMALL_BODY
                    body = await read_body(
                        response, largest, reserve_memory, lambda: self._loop_time.pause(request.tenant)
                    )
                    headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
                    return Response(response.status_code, headers, body)
            except TimeoutError:
                raise progress.timed_out(total, "complete response") from None
            except CONNECTION_ERRORS as error:
                raise progress.failed(error) from None

    @asynccontextmanager
    async def download(self, request: Request) -> AsyncIterator[Download]:
        """Send a request and open the body of the response. Raises `ConnectFailed` or `ResponseLost`."""
        async with self._observed(request) as (progress, client):
            try:
                outgoing = client.build_request(
                    request.method, request.url.text, headers=request.headers, extensions={"trace": progress.trace}
                )
                async with asyncio.timeout(self._timeouts.total):
                    response = await client.send(outgoing, stream=True)
            except TimeoutError:
                raise progress.timed_out(self._timeouts.total, "response") from None
            except CONNECTION_ERRORS as error:
                raise progress.failed(error) from None
            try:
                self._note_status(request, progress, response)
                yield Download(response)
            finally:
                await response.aclose()

    @asynccontextmanager
    async def _observed(self, request: Request) -> AsyncIterator[tuple[RequestProgress, httpx.AsyncClient]]:
        began = self._clock.monotonic()
        proxy = self._proxies.of(request.url)
        progress = RequestProgress(proxied=proxy is not None, on_sending=request.on_sending)
        try:
            yield progress, self._client(request.fresh_connection, proxy)
            progress.outcome = _outcome(progress.status or 0)
        except ConnectFailed:
            progress.outcome = "unreachable"
            raise
        except ResponseLost as lost:
            progress.outcome = "odd" if isinstance(lost, TooLarge) else "lost"
            raise
        finally:
            if self._observe:
                seconds = self._clock.monotonic() - began
                self._observe(
                    CallRecord(
                        request.service, request.operation, request.method, progress.status, progress.outcome, seconds
                    )
                )

    def _note_status(self, request: Request, progress: RequestProgress, response: httpx.Response) -> None:
        """Note the status of a response. Raises `ConnectFailed` if the proxy wrote it instead of the service.

        A service never answers with 407. tinyproxy answers a wrong password with a page and 401. For a send, that page
        proves nothing, because something behind the proxy may have written it.
        """
        if progress.proxied and request.url.scheme == "http":
            page = response.headers.get("Content-Type", "").startswith("text/html")
            if response.status_code == 407 or (response.status_code == 401 and page and not request.fresh_connection):
                raise refused_by_proxy(response.status_code)
        progress.status = response.status_code

    def _client(self, fresh: bool, proxy: Proxy | None) -> httpx.AsyncClient:
        """The HTTP client for pooled or fresh connections. Raises `ConnectFailed`."""
        if (client := self._clients.get((fresh, proxy))) is None:
            _silence_libraries()
            if self._tls is None:
                try:
                    self._tls = authorities.create_context()
                except authorities.UnusableAuthorities as error:
                    step = "Check SSL_CERT_FILE and SSL_CERT_DIR of the operator, and its limit of open files."
                    raise ConnectFailed(str(error), step) from None
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0 if fresh else 20)
            transport = httpx.AsyncHTTPTransport(
                verify=self._tls, trust_env=False, limits=limits, proxy=_for_httpx(proxy, self._tls)
            )
            client = self._clients[fresh, proxy] = httpx.AsyncClient(
                transport=paced(transport, self._loop_time),
                trust_env=False,
                follow_redirects=False,
                # All credentials share the client: a cookie for one of them must not be sent with another.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers={
                    "User-Agent": USER_AGENT,
                    "Accept-Encoding": "identity",
                },
                timeout=httpx.Timeout(self._timeouts.silence, connect=self._timeouts.connect),
            )
        return client


def _with_length(request: Request) -> Mapping[str, str]:
    """The headers, with the length of the body. Without it, httpx would send the body in chunks."""
    return request.headers if request.body is None else {**request.headers, "Content-Length": str(len(request.body))}


def _for_httpx(proxy: Proxy | None, tls: ssl.SSLContext) -> httpx.Proxy | None:
    if proxy is None:
        return None
    return httpx.Proxy(
        proxy.url,
        auth=proxy.auth,
        headers={"User-Agent": USER_AGENT},
        ssl_context=tls if proxy.scheme == "https" else None,
    )


def _outcome(status: int) -> str:
    if status == 429:
        return "limited"
    return {2: "ok", 4: "refused", 5: "failed"}.get(status // 100, "odd")


def _silence_libraries() -> None:
    """Keep the libraries from logging URLs and headers, at any log level."""
    for name in NOISY_LOGGERS:
        logger = logging.getLogger(name)
        if _quiet not in logger.filters:
            logger.addFilter(_quiet)


def _quiet(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
