"""What Nexthink and Qualtrics have in common, seen by the clients of both.

`Remotes` is one for a process and holds what runs share: connections, tokens, limits, the allow-list. `Remote` is one
side as one credential sees it. A call is described where it is made, by an `Ask`: what it is for, in the words of a
message to the user, whether it may be repeated, and which reason each refusal has. Everything else about a call
happens here, in this order: the URL is checked, the limiter is waited for, a token is fetched, and only then the
request goes out. So a call that ends before that was certainly not made. A call that something must be written down for
has all its waiting behind it before that: its maker asks for its turn and its token itself.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote, urlencode
from weakref import WeakValueDictionary

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import NOBODY, FairSemaphore, Tenant, acting_for
from qualtrics_exporter.remote.credentials import Credentials
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.hosts import DEFAULT_ALLOWED_HOSTS, DEFAULT_DOWNLOAD_HOSTS, HostRules, Url, local_entries
from qualtrics_exporter.remote.loop_time import LoopTime
from qualtrics_exporter.remote.proxies import Proxies
from qualtrics_exporter.remote.rate_limits import Limiter, Permit, Rate
from qualtrics_exporter.remote.response import NotUnderstood, Response, TooMuch
from qualtrics_exporter.remote.retry import RetryPolicy, retry, retry_after
from qualtrics_exporter.remote.service import Service
from qualtrics_exporter.remote.tokens import Tokens
from qualtrics_exporter.remote.transport import (
    CallRecord,
    ConnectFailed,
    Download,
    Request,
    ResponseLost,
    Timeouts,
    TooLarge,
    Transport,
)
from qualtrics_exporter.resource.reasons import Reason

__all__ = [
    "DEFAULT_ALLOWED_HOSTS",
    "DEFAULT_DOWNLOAD_HOSTS",
    "ApiContext",
    "CallRecord",
    "Credentials",
    "Operation",
    "RetryPolicy",
    "Service",
    "Session",
    "Timeouts",
    "compact",
    "segment",
]

MAX_CONCURRENT_REQUESTS = 100

T = TypeVar("T")
E = TypeVar("E", bound=ExportError)

_UNCERTAIN = {408, 499}
"""Written by gateways that gave up waiting: what stands behind may have heard the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of call."""

    operation: str
    task: str
    """What the side is asked for, as it goes on after "to": "show survey SV_…"."""
    method: str = "GET"
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], bytes] | None = field(default=None, repr=False)
    """A function for a large one, so that it is there only while the request is in flight."""
    repeat: RetryPolicy
    refused: Mapping[int, Reason] = field(default_factory=dict)
    """What a status means here, where that is more than it usually means."""
    otherwise: Reason = Reason.REQUEST_REFUSED
    """What every other refusal means."""
    rates: tuple[Rate, ...] = ()
    """Limits of this endpoint alone."""
    waits: bool = True
    """Whether the limiter and the token are waited for in the call itself. Otherwise who makes it has had its turn
    (`Remote.turn`) and fetched a token; if that was given up meanwhile, the call is certainly not made.
    """
    heard_tries: int | None = None
    """How often it is tried at most if the side fails to answer, where the caller has another way (`Transient.heard`).
    """
    seconds: float | None = None
    """How long one try may take, if that is less than `Timeouts` allows."""
    unknown: Reason | None = None
    """The reason of an `OutcomeUnknown`, where it is another than that of the failed try."""


class ApiContext:
    """What all runs of a process share. Connections open when they are first needed.

    `allowed_hosts` are the hosts of APIs and token endpoints, `download_hosts` those of the files of exports. An entry
    of the former for this machine, which is a sandbox, counts as one of the latter. `proxies` lead to all of them.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        allowed_hosts: Sequence[str] = DEFAULT_ALLOWED_HOSTS,
        download_hosts: Sequence[str] = DEFAULT_DOWNLOAD_HOSTS,
        allow_http: bool = False,
        observe: Callable[[CallRecord], None] | None = None,
        timeouts: Timeouts | None = None,
        wire: Transport | None = None,
        max_concurrent_requests: int = MAX_CONCURRENT_REQUESTS,
        loop_time: LoopTime | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self.clock = clock
        self.hosts = HostRules(allowed_hosts, allow_http=allow_http)
        self.download_hosts = HostRules((*download_hosts, *local_entries(allowed_hosts)), allow_http=allow_http)
        self.loop_time = loop_time or LoopTime()
        self.wire = wire or Transport(clock, timeouts or Timeouts(), observe, self.loop_time, proxies)
        self.limiter = Limiter(clock)
        self.requests = FairSemaphore(max_concurrent_requests)
        self.tokens = Tokens(self.wire, self.hosts, clock)
        self._locks: WeakValueDictionary[str, FairSemaphore] = WeakValueDictionary()

    def lock(self, name: str) -> FairSemaphore:
        """The lock of that name. It is there as long as somebody has it."""
        if (lock := self._locks.get(name)) is None:
            lock = self._locks[name] = FairSemaphore(1)
        return lock

    async def aclose(self) -> None:
        """Close all connections."""
        await self.wire.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Session:
    """One side as one credential sees it."""

    def __init__(self, remotes: ApiContext, credentials: Credentials, side: Service, tenant: Tenant = NOBODY) -> None:
        self._remotes = remotes
        self._tenant = tenant
        # A side that hangs holds the requests of its own share: the runs of this tenant still reach the other side.
        self._share = tenant._replace(secret=f"{tenant.secret} {side.key}")
        self._credentials = credentials
        self._side = side
        self._base: Url | None = None

    @property
    def clock(self) -> Clock:
        """Where the time comes from."""
        return self._remotes.clock

    @property
    def name(self) -> str:
        """The side, in messages."""
        return self._side.name

    @property
    def source(self) -> str:
        """Where the credentials come from, in messages."""
        return self._credentials.source

    def base(self) -> Url:
        """Where the API is. The only place that its token goes to. Raises Permanent(HostNotAllowed)."""
        if self._base is None:
            whose = f"The url of {self.source}"
            base = self._remotes.hosts.check(self._credentials.url, whose)
            if "?" in base.rest:
                raise Permanent(Reason.HOST_NOT_ALLOWED, f"{whose} holds a query")
            self._base = base
        return self._base

    def allowed(self, text: str, whose: str) -> Url:
        """A URL of the API that the side has told, if it may be followed; Permanent(HostNotAllowed) otherwise."""
        return self._remotes.hosts.check(text, whose)

    def allowed_download(self, text: str, whose: str) -> Url:
        """A URL of a file that the side has told, if it may be followed; Permanent(HostNotAllowed) otherwise."""
        return self._remotes.download_hosts.check(text, whose)

    @property
    def time_is_up(self) -> bool:
        """Whether `pause` would let others work now. It is the faster question where there is a million of rows."""
        return self._remotes.loop_time.is_up

    async def pause(self) -> None:
        """Let others work, if this has worked for long enough. To be called between small pieces of work."""
        await self._remotes.loop_time.pause(self._tenant)

    async def token(self, *, good_for: timedelta = timedelta(0), not_this: str | None = None) -> str:
        """A token that is good for so long; a new one if need be."""
        return await self._remotes.tokens.get(
            self._side, self._credentials, good_for=good_for, not_this=not_this, permit=self._in_flight
        )

    @asynccontextmanager
    async def _in_flight(self, *, waits: bool = True) -> AsyncIterator[None]:
        """A request is in flight as long as the block lasts. It waits for its turn first, unless it had it before."""
        async with self._remotes.requests.hold(self._share) if waits else nullcontext():
            with acting_for(self._tenant):
                yield

    async def turn(self, rates: tuple[Rate, ...]) -> Permit:
        """Wait until a call may go out under these rates and those of the side, and count it."""
        return await self._remotes.limiter.turn(self.base().origin, (*rates, *self._side.rates), self._tenant)

    def _held_token(self) -> str:
        if token := self._remotes.tokens.held(self._credentials):
            return token
        what = f"The token for {self.source} was refused to another call: {self.name} was not asked"
        raise Transient(Reason.REMOTE_UNAVAILABLE, what)

    @asynccontextmanager
    async def alone(self, path: str) -> AsyncIterator[None]:
        """Nobody else of this process is there meanwhile, at that path of this remote origin; tenants take turns."""
        lock = self._remotes.lock(f"{self.base().origin} {path}")
        async with lock.hold(self._tenant):
            yield

    async def call(
        self, ask: Operation, read: Callable[[Response], T], *, limited: Callable[[], None] | None = None
    ) -> T:
        """Make a call, as often as its kind allows, and give what `read` finds in the reply.

        Raises Permanent and Transient for what was certainly refused, or did not matter if it was not; OutcomeUnknown
        where a call that may not be repeated could have taken effect. A reply that `read` does not understand
        (`NotUnderstood`) says nothing about what happened. `limited` is called for each 429.
        """
        base = self.base()
        if ask.waits:
            await self.token()  # has its own patience: not to be multiplied with the one below
        refused_token: str | None = None

        async def attempt() -> T:
            nonlocal refused_token
            turn = None
            if ask.waits:
                turn = await self.turn(ask.rates)
                token = await self.token(not_this=refused_token)
            else:
                token = self._held_token()
            reply = None
            try:
                reply = await self._exchange(ask, base, token, turn)
                if reply.good:
                    return read(reply)
            except (TooLarge, TooMuch) as limit:
                what = f"{self.name}'s reply when asked to {ask.task} is too large: {limit}"
                raise self._too_large(ask, what, limit, reply) from None
            except ConnectFailed as trouble:
                what = f"{self.name} cannot be reached to {ask.task}: {trouble}"
                raise Transient(Reason.REMOTE_UNAVAILABLE, what, next_step=trouble.next_step) from trouble
            except ResponseLost as trouble:
                what = f"{self.name} was asked to {ask.task}, and no answer came: {trouble}"
                error = Transient(Reason.REMOTE_UNAVAILABLE, what, status=trouble.status)
                error.heard, error.late = True, trouble.late
                raise self._uncertain(ask, error) from trouble
            except NotUnderstood as why:
                what = f"{self.name}'s answer when asked to {ask.task} cannot be understood: {why}"
                error = Transient(Reason.REMOTE_REPLY_INVALID, what, status=reply.status if reply else None)
                raise self._uncertain(ask, error) from None
            if reply.status == 401:
                certain = ask.repeat is RetryPolicy.REFUSED and self._side.refused(reply)
                if refused_token is None and (certain or ask.repeat is RetryPolicy.READ):
                    refused_token = token
                    return await attempt()
                self._remotes.tokens.forget(self._credentials, token)
            if reply.status == 429 and limited:
                limited()
            raise self._error(ask, reply)

        return await retry(ask.repeat, self.clock, attempt, heard_tries=ask.heard_tries)

    @asynccontextmanager
    async def download(self, url: Url, operation: str) -> AsyncIterator[Download]:
        """Have a file that the side has laid down elsewhere, without any token. Raises `NotSent` or `Lost`."""
        request = Request(
            side=self._side.key,
            operation=operation,
            method="GET",
            url=url,
            headers={},
            alone=True,
            tenant=self._tenant,
        )
        async with self._in_flight(), self._remotes.wire.download(request) as download:
            yield download

    async def _exchange(self, ask: Operation, base: Url, token: str, turn: Permit | None) -> Response:
        query = f"?{urlencode(ask.query)}" if ask.query else ""
        url = Url(base.scheme, base.host, base.port, base.rest.rstrip("/") + ask.path + query)
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        if ask.body is not None:
            headers["Content-Type"] = "application/json"
        # Held for the request alone: a run that waits for a limit, a lock or an import keeps nobody from working.
        async with self._in_flight(waits=ask.waits), AsyncExitStack() as large:
            if turn:
                self._remotes.limiter.sent(turn)
            request = Request(
                side=self._side.key,
                operation=ask.operation,
                method=ask.method,
                url=url,
                headers=headers,
                body=ask.body() if callable(ask.body) else ask.body,
                seconds=ask.seconds,
                alone=ask.repeat is not RetryPolicy.READ,
                tenant=self._tenant,
                large=large if ask.waits else None,
            )
            reply = await self._remotes.wire.exchange(request)
            if not ask.waits:
                return reply
            await reply.parse(self.pause)
            return reply

    def _too_large(self, ask: Operation, what: str, limit: Exception, reply: Response | None) -> ExportError:
        """The error of a reply that exceeds a limit. A read is not repeated for it."""
        status = reply.status if reply else limit.status if isinstance(limit, ResponseLost) else None
        if ask.repeat is RetryPolicy.READ:
            return Permanent(Reason.REMOTE_REPLY_TOO_LARGE, what, status=status)
        return self._uncertain(ask, Transient(Reason.REMOTE_REPLY_INVALID, what, status=status))

    def _error(self, ask: Operation, reply: Response) -> ExportError:
        """What a reply that is no success means."""
        status, name = reply.status, self.name
        code, request_id = self._side.read_codes(reply)

        def error(kind: type[E], reason: Reason, what: str) -> E:
            return kind(reason, what, status=status, remote_code=code, request_id=request_id)

        wait = retry_after(reply.headers.get("retry-after"), self.clock.now())
        if status == 429:
            limited = error(RateLimited, Reason.RATE_LIMITED, f"{name} puts off the request to {ask.task}")
            limited.retry_after = wait
            return limited
        if status < 400:
            what = f"{name} answers with a redirect when asked to {ask.task}"
            return self._uncertain(ask, error(Transient, Reason.REMOTE_REPLY_INVALID, what))
        if status >= 500 or status in _UNCERTAIN:
            failed = error(Transient, Reason.REMOTE_UNAVAILABLE, f"{name} failed to {ask.task}")
            failed.retry_after, failed.heard, failed.late = wait, True, status == 504
            return self._uncertain(ask, failed)
        if not self._side.refused(reply):
            # A filter may block only the reply: the service may have processed the request.
            what = f"Something between the operator and {name} answered when {name} was asked to {ask.task}"
            return self._uncertain(ask, error(Transient, Reason.REMOTE_REPLY_INVALID, what))
        return error(Permanent, *self._refusal(ask, status, code))

    def _refusal(self, ask: Operation, status: int, code: str | None) -> tuple[Reason, str]:
        # Codes about credentials are certain. A 400 or a 404 alone does not say what is wrong.
        if reason := self._side.reason(code):
            if reason is Reason.NOT_PERMITTED:
                return reason, f"The credentials of {self.source} may not {ask.task}"
            return reason, f"{self.name} does not accept the credentials of {self.source} when asked to {ask.task}"
        if status == 401:
            return Reason.CREDENTIALS_REFUSED, f"{self.name} refused the credentials of {self.source}"
        if reason := ask.refused.get(status):
            with_which = f" with the credentials of {self.source}" if status in (403, 404) else ""
            return reason, f"{self.name} refused to {ask.task}{with_which}"
        if status == 403:
            return Reason.NOT_PERMITTED, f"The credentials of {self.source} may not {ask.task}"
        return ask.otherwise, f"{self.name} refused to {ask.task}"

    def _uncertain(self, ask: Operation, error: Transient) -> ExportError:
        """The error of a try that may have been heard, according to the kind of call."""
        if ask.repeat is RetryPolicy.READ:
            return error
        return OutcomeUnknown(
            ask.unknown or error.reason,
            error.what,
            status=error.status,
            remote_code=error.remote_code,
            request_id=error.request_id,
        )


def segment(text: str) -> str:
    """An id as a part of a path: nothing in it can leave its place."""
    if not text.strip("."):
        raise ValueError("an id cannot consist of dots")
    return quote(text, safe="")


def compact(document: object) -> bytes:
    """JSON for a request, without a byte too many."""
    return json.dumps(document, separators=(",", ":")).encode()
