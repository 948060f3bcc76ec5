"""One service with the credentials of one Secret: the calls of a client go through here.

A call takes these steps, in this order: it checks the URL, waits for the rate limits, gets a token, and sends the
request. A call that ends before the last step has certainly had no effect. The operation describes what it requests,
whether it may be repeated, and which reason each refusal has.

Before a call that is journalled, the caller does all the waiting itself (`acquire`, `token`), so that nothing can
happen between the journal and the request.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import TypeVar

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.fair_share import NOBODY, Tenant, acting_for
from qualtrics_exporter.remote import outcomes
from qualtrics_exporter.remote.bodies import Download
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import Permanent, Transient
from qualtrics_exporter.remote.failures import ConnectFailed, ResponseLost
from qualtrics_exporter.remote.hosts import Url
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.rate_limits import Permit, Rate
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.retry import RetryPolicy, retry
from qualtrics_exporter.remote.service import Service
from qualtrics_exporter.remote.time_limit import TimeLimit
from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.resource.reasons import Reason

T = TypeVar("T")


class _Overtaken(Exception):
    """While the call waited for its turn to be sent, other calls have used the rate limit."""


class Session:
    """One service with the credentials of one Secret."""

    def __init__(
        self,
        context: ApiContext,
        credentials: ServiceCredentials,
        service: Service,
        tenant: Tenant = NOBODY,
        limit: TimeLimit | None = None,
    ) -> None:
        """`limit` is a time limit of the caller. Waits for rate limits do not count towards it."""
        self._context = context
        self._limit = limit
        self._tenant = tenant
        # A service that hangs uses up the requests of its own share. The tenant's runs still reach the other service.
        self._share = tenant._replace(secret=f"{tenant.secret} {service.key}")
        self._credentials = credentials
        self._service = service
        self._base: Url | None = None

    @property
    def clock(self) -> Clock:
        return self._context.clock

    @property
    def tenant(self) -> Tenant:
        """The tenant for whom the calls are made."""
        return self._tenant

    @property
    def source(self) -> str:
        """The Secret of the credentials, for messages."""
        return self._credentials.source

    def base_url(self) -> Url:
        """The URL of the API. The token is sent to no other origin. Raises Permanent(HostNotAllowed)."""
        if self._base is None:
            subject = f"The url of {self.source}"
            base = self.check_url(self._credentials.url, subject)
            if "?" in base.rest:
                raise Permanent(Reason.HOST_NOT_ALLOWED, f"{subject} has a query")
            self._base = base
        return self._base

    def check_url(self, text: str, subject: str) -> Url:
        """A URL of an API; Permanent(HostNotAllowed) if its host is not allowed. `subject` begins the message."""
        return self._context.hosts.check(text, subject)

    def check_download_url(self, text: str, subject: str) -> Url:
        """A URL of an exported file; Permanent(HostNotAllowed) if its host is not allowed."""
        return self._context.download_hosts.check(text, subject)

    @property
    def time_is_up(self) -> bool:
        """Whether `pause` would let other tasks run now. This check is faster, which matters for a million rows."""
        return self._context.loop_time.is_up

    async def pause(self) -> None:
        """Let other tasks run if this one has used its time. Call it between small pieces of work."""
        await self._context.loop_time.pause(self._tenant)

    async def token(self, *, good_for: timedelta = timedelta(0), not_this: str | None = None) -> str:
        """A token that is valid for that long; a new one if necessary."""
        return await self._context.tokens.get(
            self._service, self._credentials, good_for=good_for, not_this=not_this, permit=self._in_flight
        )

    async def acquire(self, rates: tuple[Rate, ...]) -> Permit:
        """Wait until a call is within these rates and those of the service, and count it."""
        with self._context.waits.waiting(self._service.key), self._limit.stopped() if self._limit else nullcontext():
            # Only checks have a limit, and they can wait for slots and requests.
            return await self._context.limiter.acquire(
                self.base_url().origin, (*rates, *self._service.rates), self._tenant, urgent=self._limit is None
            )

    async def reserve(self, rates: tuple[Rate, ...]) -> None:
        """Wait until a call is within these rates and those of the service, and count it as sent now."""
        permit = await self.acquire(rates)
        self._context.limiter.begin(permit)
        self._context.limiter.sent(permit)

    def shared(self, name: str, make: Callable[[], T]) -> T:
        """The object of that name, which all sessions of this process with this API share."""
        return self._context.shared(f"{self.base_url().origin} {name}", make)

    async def call(
        self,
        operation: Operation,
        read: Callable[[Response], T],
        *,
        on_rate_limited: Callable[[], None] | None = None,
    ) -> T:
        """Make a call, as often as its retry policy allows, and return what `read` finds in the response.

        Raises Permanent or Transient if the service certainly refused the request, or if the request only reads.
        Raises OutcomeUnknown if a request that must not be repeated may have had an effect. `read` raises
        `NotUnderstood` for a response without the expected content. `on_rate_limited` is called for each 429.
        """
        base, service = self.base_url(), self._service
        if operation.waits:
            await self.token()  # has its own retries, which the retries below must not multiply
        refused_token: str | None = None

        async def attempt() -> T:
            nonlocal refused_token
            while True:
                try:
                    token, response = await self._exchange_in_turn(operation, base, refused_token)
                except (ConnectFailed, ResponseLost) as failure:
                    raise outcomes.no_response(service, operation, failure) from failure
                if response.good:
                    return outcomes.content(service, operation, response, read)
                if response.status == 401:
                    certain = operation.retry is RetryPolicy.REFUSED and service.refused(response)
                    if refused_token is None and (certain or operation.retry is RetryPolicy.READ):
                        refused_token = token
                        continue
                    self._context.tokens.forget(self._credentials, token)
                if response.status == 429 and on_rate_limited:
                    on_rate_limited()
                raise outcomes.unsuccessful(service, operation, response, self.source, self.clock.now())

        return await retry(operation.retry, self.clock, attempt, received_tries=operation.received_tries)

    @asynccontextmanager
    async def download(self, url: Url, operation: str) -> AsyncIterator[Download]:
        """Download a file from another host, without a token. Raises `ConnectFailed` or `ResponseLost`."""
        request = Request(
            service=self._service.key,
            operation=operation,
            method="GET",
            url=url,
            headers={},
            fresh_connection=True,
            tenant=self._tenant,
        )
        async with self._in_flight(), self._context.transport.download(request) as download:
            yield download

    def _held_token(self) -> str:
        if token := self._context.tokens.held(self._credentials):
            return token
        name = self._service.name
        what = f"The access token of {self.source} for {name} is not valid any more, so this request was not sent"
        raise Transient(Reason.REMOTE_UNAVAILABLE, what)

    @asynccontextmanager
    async def _in_flight(self, *, waits: bool = True) -> AsyncIterator[None]:
        """Count a request as in flight during the block. It waits for its turn first, unless the caller did."""
        async with AsyncExitStack() as held:
            if waits:
                with self._context.waits.waiting():
                    await held.enter_async_context(self._context.requests.hold(self._share))
            with acting_for(self._tenant):
                yield

    async def _exchange_in_turn(self, operation: Operation, base: Url, refused: str | None) -> tuple[str, Response]:
        """Wait for what the operation waits for, and make one request. Returns the token that it used."""
        while operation.waits:
            permit = await self.acquire(operation.rates)
            token = await self.token(not_this=refused)
            with suppress(_Overtaken):
                return token, await self._exchange(operation, base, token, permit)
        token = self._held_token()
        return token, await self._exchange(operation, base, token, None)

    @contextmanager
    def _counted(self, permit: Permit | None) -> Iterator[Callable[[], None] | None]:
        """Count the request of the block in its rates. Yields the function to call when it leaves."""
        if permit is None:
            yield None
            return
        limiter = self._context.limiter
        try:
            yield partial(limiter.sent, permit)
        except ConnectFailed:
            limiter.withdraw(permit)
            raise
        finally:
            limiter.sent(permit)

    async def _exchange(self, operation: Operation, base: Url, token: str, permit: Permit | None) -> Response:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        if operation.body is not None:
            headers["Content-Type"] = "application/json"
        # Held only for the request: a run that waits for a limit, a lock or an import does not block other runs.
        async with self._in_flight(waits=operation.waits), AsyncExitStack() as large:
            if permit and not self._context.limiter.begin(permit):
                raise _Overtaken
            with self._counted(permit) as on_sending:
                request = Request(
                    service=self._service.key,
                    operation=operation.name,
                    method=operation.method,
                    url=operation.url(base),
                    headers=headers,
                    body=operation.body() if callable(operation.body) else operation.body,
                    seconds=operation.seconds,
                    fresh_connection=operation.retry is not RetryPolicy.READ,
                    tenant=self._tenant,
                    large=large if operation.waits else None,
                    on_sending=on_sending,
                )
                response = await self._context.transport.exchange(request)
            if operation.waits:
                await response.parse(self.pause)
            return response
