"""Access tokens: one for each set of credentials, shared by all runs, and renewed before it expires."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.remote import outcomes
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import ExportError, Permanent, Transient
from qualtrics_exporter.remote.failures import ConnectFailed, ResponseLost
from qualtrics_exporter.remote.hosts import HostRules
from qualtrics_exporter.remote.operation import Operation
from qualtrics_exporter.remote.response import NotUnderstood, Response, TooMuch, get_code_or_none, get_path, get_text
from qualtrics_exporter.remote.retry import RetryPolicy, retry
from qualtrics_exporter.remote.service import Service
from qualtrics_exporter.remote.transport import Request, Transport
from qualtrics_exporter.resource.reasons import Reason

RENEWAL_MARGIN = 60.0
"""Seconds before its expiry when a token is renewed."""

DEFAULT_LIFETIME = 300
"""Seconds, for a response without the lifetime of its token."""

LONGEST_TOKEN = 16 * 1024
"""Characters. Servers reject longer headers."""


@dataclass(slots=True)
class _Entry:
    value: str = field(default="", repr=False)
    renew_at: float = 0.0
    expires_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    fetches: int = 0
    users: int = 0
    """Tasks that wait for the token. The entry is kept for them."""
    error: ExportError | None = None

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1


class Tokens:
    """The tokens of one process."""

    def __init__(self, transport: Transport, hosts: HostRules, clock: Clock) -> None:
        self._transport = transport
        self._hosts = hosts
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}

    async def get(
        self,
        service: Service,
        credentials: ServiceCredentials,
        *,
        good_for: timedelta = timedelta(0),
        not_this: str | None = None,
        permit: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> str:
        """A token that is valid for `good_for`, and is not the one that was just refused.

        Tasks that ask during a fetch wait for its result, even if it is an error. They hold `permit` meanwhile, so that
        an endpoint that hangs uses up the share of its own tenants.
        """
        now = self._clock.monotonic()
        entry = self._entry(credentials.digest, now)
        if self._is_valid(entry, good_for, not_this):
            return entry.value
        fetches = entry.fetches
        # The permit comes first: the task with the lock waits for nothing except the endpoint.
        async with entry.in_use(), permit(), entry.lock:
            if self._is_valid(entry, good_for, not_this):
                return entry.value
            if entry.fetches != fetches and entry.error:
                raise entry.error.with_traceback(None)
            try:
                entry.error = None
                await self._fetch(entry, service, credentials)
            except ExportError as error:
                entry.error = error
                raise
            finally:
                entry.fetches += 1
            return entry.value

    def held(self, credentials: ServiceCredentials) -> str | None:
        """The current token, without waiting; None if there is no valid one."""
        entry = self._entries.get(credentials.digest)
        return entry.value if entry and self._is_valid(entry, timedelta(0), None) else None

    def forget(self, credentials: ServiceCredentials, token: str) -> None:
        """Discard a token that was refused. The next task fetches another one."""
        entry = self._entries.get(credentials.digest)
        if entry and entry.value == token:
            entry.value = ""

    def _entry(self, digest: bytes, now: float) -> _Entry:
        if (entry := self._entries.get(digest)) is None:
            # The entries of rotated and deleted Secrets are not used again: remove those with expired tokens.
            for known in [k for k, e in self._entries.items() if e.expires_at <= now and not e.users]:
                del self._entries[known]
            entry = self._entries[digest] = _Entry()
        return entry

    def _is_valid(self, entry: _Entry, good_for: timedelta, not_this: str | None) -> bool:
        now, wanted = self._clock.monotonic(), good_for.total_seconds()
        return entry.value not in ("", not_this) and now < entry.renew_at and now + wanted < entry.expires_at

    async def _fetch(self, entry: _Entry, service: Service, credentials: ServiceCredentials) -> None:
        url = self._hosts.check(credentials.token_url, f"The tokenUrl of {credentials.source}")
        basic = base64.b64encode(f"{credentials.client_id}:{credentials.client_secret}".encode()).decode()
        form = urlencode({"grant_type": "client_credentials", "scope": credentials.scope})
        task = f"issue a token for {credentials.source}"
        operation = Operation(name="token", task=task, method="POST", path=url.rest, retry=RetryPolicy.READ)
        request = Request(
            service=service.key,
            operation=operation.name,
            method=operation.method,
            url=url,
            headers={
                "Accept": "application/json",
                "Authorization": f"Basic {basic}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=form.encode(),
        )

        async def attempt() -> None:
            began = self._clock.monotonic()
            try:
                response = await self._transport.exchange(request)
            except (ConnectFailed, ResponseLost) as failure:
                raise outcomes.no_response(service, operation, failure) from failure
            if not response.good:
                now = self._clock.now()
                error = outcomes.not_a_refusal(service, operation, response, now)
                raise error or _refusal(service, operation, response, credentials.source)
            entry.value, seconds = outcomes.content(service, operation, response, _read)
            entry.expires_at = began + seconds
            entry.renew_at = began + max(seconds - RENEWAL_MARGIN, seconds / 2)

        try:
            await retry(RetryPolicy.READ, self._clock, attempt)
        except Transient as error:
            # Both are about the operation that needs the token, and the service did not receive that.
            error.received = error.timed_out = False
            raise


_NO_ENDPOINT = (404, 405, 410)
_ABOUT_CREDENTIALS = (400, 401, 403)
"""RFC 6749 requires 400 for most errors of a client, and 401 for the others."""
_WITHOUT_BODY = (400, 401)
"""A token endpoint may send these without a body."""


def _refusal(service: Service, operation: Operation, response: Response, source: str) -> ExportError:
    """The error for a 4xx of a token endpoint: about the credentials, the URL, or a proxy in between."""
    status, name = response.status, service.name
    code, request_id = service.read_codes(response)
    reason, what, next_step = service.reason(code), f"{name} refused to {operation.task}", None
    if reason is None and status in _NO_ENDPOINT:
        reason, what = Reason.REQUEST_REFUSED, f"{name} has no token endpoint at the token URL of {source}"
        next_step = "Correct tokenUrl in the Secret, or url if the Secret has no tokenUrl."
    elif reason is None and not _is_from_endpoint(service, response):
        return outcomes.intercepted(service, operation, response)
    elif reason is None and (status in _ABOUT_CREDENTIALS or _oauth_error(response)):
        reason, what = Reason.CREDENTIALS_REFUSED, f"{name} refused the credentials of {source}"
    return Permanent(
        reason or Reason.REQUEST_REFUSED,
        what,
        status=status,
        remote_code=_oauth_error(response) or code,
        request_id=request_id,
        next_step=next_step,
    )


def _is_from_endpoint(service: Service, response: Response) -> bool:
    """Whether a refusal has the form of the API or of RFC 6749, or is a 400 or 401 without a body."""
    bare = response.empty and response.status in _WITHOUT_BODY
    return bare or service.refused(response) or bool(_oauth_error(response))


def _oauth_error(response: Response) -> str | None:
    """The error code of RFC 6749, such as invalid_client or invalid_scope."""
    try:
        return get_code_or_none(response.document(), "error")
    except NotUnderstood:
        return None


def _read(response: Response) -> tuple[str, float]:
    """The token and its lifetime in seconds."""
    document = response.document()
    token = get_text(document, "access_token")
    if len(token) > LONGEST_TOKEN:
        raise TooMuch(f"its access_token has more than {LONGEST_TOKEN:,} characters")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise NotUnderstood("its access_token is not a token")
    kind = get_path(document, "token_type") or "Bearer"
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise NotUnderstood("its token_type is not Bearer")
    try:
        seconds = float(get_path(document, "expires_in") or DEFAULT_LIFETIME)
    except (TypeError, ValueError, OverflowError):
        raise NotUnderstood("its expires_in is not a number") from None
    if not 0 < seconds < float("inf"):
        raise NotUnderstood("its expires_in is not a number of seconds")
    return token, seconds
