"""How the API server is reached: every field of a kubeconfig, for all requests alike.

The calls of `Cluster` and Kopf's watches have sessions that are made here. The environment plays no part: neither
proxies nor .netrc, only `proxy-url` of the kubeconfig. The name of the server in TLS (`tls-server-name`) is a property
of the TLS context, because aiohttp takes it for a single request only, and not through a proxy.
"""

import ssl
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from kubernetes.aio import client

from qualtrics_exporter.remote import authorities
from qualtrics_exporter.remote.transport import USER_AGENT

READ_BUFFER = 2**21
"""Bytes. An event of a watch is one line, and may be larger than what aiohttp reads at once."""


class BadConnection(Exception):
    """A setting cannot be used. The text is a clause without secrets."""


class Connection:
    """The address of the API server and the credentials for it; makes sessions that have both."""

    def __init__(self, configuration: client.Configuration, headers: Mapping[str, str | list[str]]) -> None:
        """`headers` go with each request, as for impersonation. Raises `BadConnection`."""
        self.configuration = configuration
        self.server = str(configuration.host)
        self._origin = _origin(self.server)
        self._headers = headers
        self._proxy = configuration.proxy
        if self._proxy and urlsplit(self._proxy).scheme not in ("http", "https"):
            raise BadConnection("proxy-url is not the URL of an http or https proxy")

    def session(self, traces: Iterable[aiohttp.TraceConfig] = ()) -> aiohttp.ClientSession:
        """A session for requests to the API server; its user closes it. Raises `BadConnection`."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self.tls()),
            headers={"User-Agent": USER_AGENT},
            middlewares=[self._authenticate],
            proxy=self._proxy,
            read_bufsize=READ_BUFFER,
            trace_configs=list(traces),
            trust_env=False,
        )

    async def token(self) -> str:
        """The value of the header Authorization, as it is now; empty if there is none."""
        return str(await self.configuration.get_api_key_with_prefix("BearerToken") or "")

    def tls(self) -> ssl.SSLContext:
        """Raises `BadConnection`."""
        used = self.configuration
        made = _Named(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if used.ssl_ca_cert:
                made.load_verify_locations(cafile=used.ssl_ca_cert)
                authorities.trust_private(made)
            else:  # a public certificate, or an authority that is known to this machine
                authorities.add_system(made)
                authorities.add_private(made)
        except (OSError, authorities.UnusableAuthorities) as error:
            raise BadConnection(_unusable("the certificate authority of the cluster", error)) from None
        if used.cert_file:
            try:
                made.load_cert_chain(used.cert_file, keyfile=used.key_file)
            except OSError as error:
                raise BadConnection(_unusable("the client certificate or its key", error)) from None
        if not used.verify_ssl:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        made.name = used.tls_server_name
        return made

    async def _authenticate(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """A middleware. The token is as fresh as that of any other request, and goes nowhere but to the API server."""
        if _origin(str(request.url)) == self._origin:  # not after a redirect to elsewhere
            if token := await self.token():
                scheme, _, secret = token.partition(" ")
                request.headers["Authorization"] = f"{scheme.capitalize()} {secret}" if secret else token
            for name, value in self._headers.items():
                request.headers.popall(name, None)
                for one in [value] if isinstance(value, str) else value:
                    request.headers.add(name, one)
        return await handler(request)


class _Named(ssl.SSLContext):
    """A TLS context that asks for, and insists on, a server of a given name, whatever the host is called."""

    name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.name or server_hostname, session)


def headers_of(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """The headers that a cluster and a user of a kubeconfig ask for, which the client does not know.

    `as` and its companions let the user act as another one; ignored, the operator would act with other rights.
    """
    headers: dict[str, str | list[str]] = {}
    if name := user.get("as"):
        headers["Impersonate-User"] = str(name)
    if uid := user.get("as-uid"):
        headers["Impersonate-Uid"] = str(uid)
    if groups := user.get("as-groups"):
        headers["Impersonate-Group"] = [str(group) for group in groups]
    for key, values in (user.get("as-user-extra") or {}).items():
        headers[f"Impersonate-Extra-{_escaped(str(key))}"] = [str(value) for value in values]
    if len(headers) and "Impersonate-User" not in headers:
        raise BadConnection("the user has as-uid, as-groups or as-user-extra without as")
    if cluster.get("disable-compression"):
        headers["Accept-Encoding"] = "identity"
    return headers


def tls_problem(error: BaseException) -> str | None:
    """Why a request failed, if that was because of TLS. Shows OpenSSL's own reason, and no host."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of the API server is not trusted: {authorities.reason(error.certificate_error)}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    told = authorities.reason(cause)
    return f"TLS failed: {told}" if told else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _escaped(key: str) -> str:
    """A key of `as-user-extra` in the name of a header: what cannot be in one is percent-encoded, as client-go does."""
    kept = "!#$&'*+-.^_`|~"
    return "".join(c if c.isascii() and (c.isalnum() or c in kept) else _percent(c) for c in key)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _unusable(what: str, error: Exception) -> str:
    if isinstance(error, authorities.UnusableAuthorities):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return f"{what} cannot be used: {authorities.reason(error) or 'it is not PEM'}"
    return f"{what} cannot be read: {error.strerror if isinstance(error, OSError) else type(error).__name__}"
