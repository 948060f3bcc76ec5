"""The token endpoints of both services: OAuth 2.0 client credentials (RFC 6749), Nexthink §2 and Qualtrics §1 (D).

Unknown, and decided here: the body of a refused request is that of RFC 6749.
"""

import base64
import binascii
import secrets
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import web

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.account import Credential
from qualtrics_exporter.sandbox.middleware import Refused, Reply


@dataclass
class IssuedToken:
    """An access token, without its text."""

    credential: Credential
    scopes: frozenset[str]
    expires_at: float


def covers(have: AbstractSet[str], wanted: AbstractSet[str]) -> bool:
    """Whether the scopes `have` allow all of `wanted`: `manage:x` includes `read:x` and `write:x` (Qualtrics §1, I)."""
    if "manage:all" in have:
        return True
    return all(scope in have or f"manage:{scope.partition(':')[2]}" in have for scope in wanted)


class TokenEndpoint:
    """The token endpoint of one service, and the tokens that it has issued."""

    def __init__(self, clock: Clock, credentials: Callable[[], list[Credential]], seconds: Callable[[], int]) -> None:
        self._clock = clock
        self._credentials = credentials
        self._seconds = seconds
        self._valid: dict[str, IssuedToken] = {}
        self.issued: list[str] = []
        """Every token that was issued, expired ones too. Tests check that no log contains one."""

    async def issue(self, request: web.Request) -> Reply:
        """Handle a token request."""
        if request.content_type != "application/x-www-form-urlencoded":
            raise _refused(400, "invalid_request", "the body must be a form")
        pairs = parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True)
        form = dict(pairs)
        if len(form) != len(pairs):
            raise _refused(400, "invalid_request", "a parameter is repeated")
        if "client_id" in form or "client_secret" in form:
            raise _refused(400, "invalid_request", "the client authenticates by HTTP Basic")
        credential = self._authenticate(request.headers.get("Authorization", ""))
        if "grant_type" not in form:
            raise _refused(400, "invalid_request", "grant_type is missing")
        if form["grant_type"] != "client_credentials":
            raise _refused(400, "unsupported_grant_type")
        scopes = frozenset(form.get("scope", "").split())
        if not scopes or not covers(credential.scopes, scopes):
            raise _refused(400, "invalid_scope")
        return self._token(credential, scopes)

    def _token(self, credential: Credential, scopes: frozenset[str]) -> Reply:
        token = secrets.token_urlsafe(32)
        lifetime = self._seconds()
        now = self._clock.monotonic()
        self._valid = {known: issued for known, issued in self._valid.items() if issued.expires_at > now}
        self.issued.append(token)
        self._valid[token] = IssuedToken(credential, scopes, now + lifetime)
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "scope": " ".join(sorted(scopes)),
        }
        return Reply.json(answer, headers={"Cache-Control": "no-store"})

    def find(self, request: web.Request) -> IssuedToken | None:
        """The bearer token of the request. None if it has none, or one that is not valid."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        issued = self._valid.get(token.strip())
        if scheme.lower() != "bearer" or issued is None or issued.expires_at <= self._clock.monotonic():
            return None
        return issued if issued.credential in self._credentials() else None

    def revoke(self) -> None:
        """Make every token invalid that was issued until now."""
        self._valid.clear()

    def _authenticate(self, header: str) -> Credential:
        scheme, _, encoded = header.partition(" ")
        try:
            client_id, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            client_id = colon = secret = ""
        if scheme.lower() == "basic" and colon:
            for credential in self._credentials():
                known = credential.client_id == client_id
                if known and secrets.compare_digest(credential.client_secret.encode(), secret.encode()):
                    if credential.elsewhere == "token":
                        break
                    return credential
        raise _refused(401, "invalid_client", headers={"WWW-Authenticate": 'Basic realm="token"'})


def _refused(status: int, error: str, description: str | None = None, headers: dict[str, str] | None = None) -> Refused:
    document = {"error": error} if description is None else {"error": error, "error_description": description}
    return Refused(Reply.json(document, status, {"Cache-Control": "no-store", **(headers or {})}))
