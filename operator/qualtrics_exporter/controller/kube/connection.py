"""TLS and HTTP sessions for the API server.

The calls of `ClusterApi` and Kopf's watches use sessions that are made here, so every field of a kubeconfig applies to
both. Proxies and .netrc of the environment are ignored: the proxy is `proxy-url` of the kubeconfig. The name of the
server in TLS (`tls-server-name`) is a property of the TLS context, because aiohttp accepts it for a single request
only, and not through a proxy.
"""

import ssl
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from kubernetes.aio import client

from qualtrics_exporter.remote import authorities
from qualtrics_exporter.remote.transport import USER_AGENT

READ_BUFFER = 2**21
"""Bytes. An event of a watch is one line, and may be larger than aiohttp's default buffer."""


class UnusableConnection(Exception):
    """A setting of the connection cannot be used. The text is a clause without secrets."""


class Connection:
    """The address of the API server and the credentials for it. Makes sessions that use both."""

    def __init__(self, configuration: client.Configuration, headers: Mapping[str, str | list[str]]) -> None:
        """`headers` are added to each request, for example for impersonation. Raises `UnusableConnection`."""
        self.configuration = configuration
        self.server = str(configuration.host)
        self._origin = _origin(self.server)
        self._headers = headers
        self._proxy = configuration.proxy
        if self._proxy and urlsplit(self._proxy).scheme not in ("http", "https"):
            raise UnusableConnection("proxy-url is not the URL of an http or https proxy")

    def session(
        self,
        traces: Iterable[aiohttp.TraceConfig] = (),
        response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse,
    ) -> aiohttp.ClientSession:
        """A session for requests to the API server; the caller closes it. Raises `UnusableConnection`."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self.tls()),
            headers={"User-Agent": USER_AGENT},
            middlewares=[self._authenticate],
            proxy=self._proxy,
            read_bufsize=READ_BUFFER,
            response_class=response_class,
            trace_configs=list(traces),
            trust_env=False,
        )

    async def token(self) -> str:
        """The current value of the header Authorization; empty without credentials."""
        return str(await self.configuration.get_api_key_with_prefix("BearerToken") or "")

    def tls(self) -> ssl.SSLContext:
        """The TLS context of a session. Raises `UnusableConnection`."""
        configuration = self.configuration
        context = _NamedServerContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if configuration.ssl_ca_cert:
                context.load_verify_locations(cafile=configuration.ssl_ca_cert)
                authorities.trust_private(context)
            else:  # a public certificate, or an authority that this machine knows
                authorities.add_system(context)
                authorities.add_private(context)
        except (OSError, authorities.UnusableAuthorities) as error:
            raise UnusableConnection(_unusable("the certificate authority of the cluster", error)) from None
        if configuration.cert_file:
            try:
                context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
            except OSError as error:
                raise UnusableConnection(_unusable("the client certificate or its key", error)) from None
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.server_name = configuration.tls_server_name
        return context

    async def _authenticate(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """A middleware that adds the current token and the headers, to requests to the API server only."""
        if _origin(str(request.url)) == self._origin:  # not after a redirect to another host
            if token := await self.token():
                scheme, _, secret = token.partition(" ")
                request.headers["Authorization"] = f"{scheme.capitalize()} {secret}" if secret else token
            for name, value in self._headers.items():
                request.headers.popall(name, None)
                for each in [value] if isinstance(value, str) else value:
                    request.headers.add(name, each)
        return await handler(request)


class _NamedServerContext(ssl.SSLContext):
    """A TLS context that requires the server to have a given name, which may differ from the name of the host."""

    server_name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.server_name or server_hostname, session)


def tls_problem(error: BaseException) -> str | None:
    """Why a request failed, if TLS is the cause: OpenSSL's own reason, without the host."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of the API server is not trusted: {authorities.reason(error.certificate_error)}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    reason = authorities.reason(cause)
    return f"TLS failed: {reason}" if reason else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _unusable(what: str, error: Exception) -> str:
    if isinstance(error, authorities.UnusableAuthorities):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return f"{what} cannot be used: {authorities.reason(error) or 'it is not PEM'}"
    return f"{what} cannot be read: {error.strerror if isinstance(error, OSError) else type(error).__name__}"
