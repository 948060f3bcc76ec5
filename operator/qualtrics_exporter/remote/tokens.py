"""Access tokens: one a credential, however many runs want it, and renewed before it ends."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.remote.credentials import Credentials
from qualtrics_exporter.remote.errors import ExportError, Permanent, RateLimited, Transient
from qualtrics_exporter.remote.hosts import HostRules
from qualtrics_exporter.remote.response import NotUnderstood, Response, TooMuch, get_code_or_none, get_path, get_text
from qualtrics_exporter.remote.retry import RetryPolicy, retry, retry_after
from qualtrics_exporter.remote.service import Service
from qualtrics_exporter.remote.transport import ConnectFailed, Request, ResponseLost, TooLarge, Transport
from qualtrics_exporter.resource.reasons import Reason

Permit = Callable[[], AbstractAsyncContextManager[object]]

EARLY = 60.0
"""Seconds before its end at which a token is not used any more."""

UNTOLD = 300
"""Lifetime of a token whose reply does not tell one."""

LONGEST_TOKEN = 16 * 1024
"""Characters. Servers refuse longer headers."""


@dataclass(slots=True)
class _Entry:
    value: str = field(default="", repr=False)
    best_before: float = 0.0
    until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    asked: int = 0
    users: int = 0
    """Tasks that wait for it: it is kept for them."""
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

    def __init__(self, wire: Transport, hosts: HostRules, clock: Clock) -> None:
        self._wire = wire
        self._hosts = hosts
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}

    async def get(
        self,
        side: Service,
        credentials: Credentials,
        *,
        good_for: timedelta = timedelta(0),
        not_this: str | None = None,
        permit: Permit = nullcontext,
    ) -> str:
        """A token that is good for so long, and another one than the one that was just refused.

        Who comes while it is being fetched waits for the same answer, also when that is an error. `permit` is held
        while a token is waited for: an endpoint that hangs costs the share of those who ask it.
        """
        now = self._clock.monotonic()
        entry = self._entry(credentials.digest, now)
        if self._good(entry, good_for, not_this):
            return entry.value
        asked = entry.asked
        # The permit comes first: whoever has the lock waits for nothing but the endpoint.
        async with entry.in_use(), permit(), entry.lock:
            if self._good(entry, good_for, not_this):
                return entry.value
            if entry.asked != asked and entry.error:
                raise entry.error.with_traceback(None)
            try:
                entry.error = None
                await self._fetch(entry, side, credentials)
            except ExportError as error:
                entry.error = error
                raise
            finally:
                entry.asked += 1
            return entry.value

    def held(self, credentials: Credentials) -> str | None:
        """The token as it is, without waiting; None if there is none that is good now."""
        entry = self._entries.get(credentials.digest)
        return entry.value if entry and self._good(entry, timedelta(0), None) else None

    def forget(self, credentials: Credentials, token: str) -> None:
        """That token was refused: whoever comes next fetches another one."""
        entry = self._entries.get(credentials.digest)
        if entry and entry.value == token:
            entry.value = ""

    def _entry(self, digest: bytes, now: float) -> _Entry:
        if (entry := self._entries.get(digest)) is None:
            # A Secret that was rotated, or is gone, is never asked for again: its entry goes when its token has ended.
            for known in [k for k, e in self._entries.items() if e.until <= now and not e.users]:
                del self._entries[known]
            entry = self._entries[digest] = _Entry()
        return entry

    def _good(self, entry: _Entry, good_for: timedelta, not_this: str | None) -> bool:
        now, wanted = self._clock.monotonic(), good_for.total_seconds()
        return entry.value not in ("", not_this) and now < entry.best_before and now + wanted < entry.until

    async def _fetch(self, entry: _Entry, side: Service, credentials: Credentials) -> None:
        name, source = side.name, credentials.source
        url = self._hosts.check(credentials.token_url, f"The tokenUrl of {source}")
        basic = base64.b64encode(f"{credentials.client_id}:{credentials.client_secret}".encode()).decode()
        form = urlencode({"grant_type": "client_credentials", "scope": credentials.scope})
        request = Request(
            side=side.key,
            operation="token",
            method="POST",
            url=url,
            headers={
                "Accept": "application/json",
                "Authorization": f"Basic {basic}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            body=form.encode(),
        )

        async def attempt() -> None:
            before = self._clock.monotonic()
            try:
                reply = await self._wire.exchange(request)
                if not reply.good:
                    raise self._refused(reply, side, source)
                token, seconds = _read(reply)
            except (TooLarge, TooMuch) as limit:
                what = f"{name}'s reply to the request for a token for {source} is too large: {limit}"
                raise Permanent(Reason.REMOTE_REPLY_TOO_LARGE, what) from None
            except (ConnectFailed, ResponseLost) as trouble:
                what = f"{name} gave no token for {source}: {trouble}"
                step = trouble.next_step if isinstance(trouble, ConnectFailed) else None
                raise Transient(Reason.REMOTE_UNAVAILABLE, what, next_step=step) from trouble
            except NotUnderstood as why:
                what = f"{name}'s answer to the request for a token for {source} cannot be understood: {why}"
                raise Transient(Reason.REMOTE_REPLY_INVALID, what) from None
            entry.value = token
            entry.until = before + seconds
            entry.best_before = before + max(seconds - EARLY, seconds / 2)

        await retry(RetryPolicy.READ, self._clock, attempt)

    def _refused(self, reply: Response, side: Service, source: str) -> ExportError:
        status, name = reply.status, side.name
        error: Transient
        if status == 429:
            error = RateLimited(
                Reason.RATE_LIMITED, f"{name} puts off the request for a token for {source}", status=429
            )
        elif status >= 500 or status == 408:
            error = Transient(Reason.REMOTE_UNAVAILABLE, f"{name} gave no token for {source}", status=status)
        elif status < 400:
            what = f"{name}'s token endpoint answers the request for a token for {source} with a redirect"
            error = Transient(Reason.REMOTE_REPLY_INVALID, what, status=status)
        else:
            return _refusal(reply, side, source)
        error.retry_after = retry_after(reply.headers.get("retry-after"), self._clock.now())
        return error


_NO_ENDPOINT = (404, 405, 410)
_OF_CREDENTIALS = (400, 401, 403)
"""RFC 6749 says 400 for nearly everything that is wrong with a client, and 401 for the rest."""
_WITHOUT_BODY = (400, 401)
"""With these, a token endpoint may leave the body out."""


def _refusal(reply: Response, side: Service, source: str) -> ExportError:
    """What a 4xx of a token endpoint means: credentials, the URL, or something in between."""
    status, name = reply.status, side.name
    code, request_id = side.read_codes(reply)
    reason, what, next_step = side.reason(code), f"{name} refused a token for {source}", None
    if reason is None and status in _NO_ENDPOINT:
        reason, what = Reason.REQUEST_REFUSED, f"{name} has no token endpoint at the URL that {source} leads to"
        next_step = "Correct tokenUrl in the Secret, or url if the Secret has no tokenUrl."
    elif reason is None and not _from_the_endpoint(reply, side):
        what = f"Something between the operator and {name} refused the request for a token for {source}"
        return Transient(Reason.REMOTE_REPLY_INVALID, what, status=status)
    elif reason is None and (status in _OF_CREDENTIALS or _oauth_error(reply)):
        reason, what = Reason.CREDENTIALS_REFUSED, f"{name} refused the credentials of {source}"
    return Permanent(
        reason or Reason.REQUEST_REFUSED,
        what,
        status=status,
        remote_code=_oauth_error(reply) or code,
        request_id=request_id,
        next_step=next_step,
    )


def _from_the_endpoint(reply: Response, side: Service) -> bool:
    """Whether the form of a refusal is that of the API or of RFC 6749, or a 400 or 401 without a body."""
    bare = reply.empty and reply.status in _WITHOUT_BODY
    return bare or side.refused(reply) or bool(_oauth_error(reply))


def _oauth_error(reply: Response) -> str | None:
    """What is wrong with the client, as RFC 6749 calls it: invalid_client, invalid_scope."""
    try:
        return get_code_or_none(reply.document(), "error")
    except NotUnderstood:
        return None


def _read(reply: Response) -> tuple[str, float]:
    """The token and its seconds."""
    document = reply.document()
    token = get_text(document, "access_token")
    if len(token) > LONGEST_TOKEN:
        raise TooMuch(f"its access_token has more than {LONGEST_TOKEN:,} characters")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise NotUnderstood("its access_token is none")
    kind = get_path(document, "token_type") or "Bearer"
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise NotUnderstood("its token_type is not Bearer")
    try:
        seconds = float(get_path(document, "expires_in") or UNTOLD)
    except (TypeError, ValueError, OverflowError):
        raise NotUnderstood("its expires_in is no number") from None
    if not 0 < seconds < float("inf"):
        raise NotUnderstood("its expires_in is no number of seconds")
    return token, seconds
