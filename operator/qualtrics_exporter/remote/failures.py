"""A try that failed: how far it got, and the cause as a clause. The text of the original error is never shown."""

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import httpx

from qualtrics_exporter.remote import authorities

_STATUS = re.compile(r"[1-5][0-9]{2}(?= |\Z)")
_PROXY_STEP = "Check the proxy of the operator: --proxy, HTTPS_PROXY and NO_PROXY, or the values proxy.* of the chart."
_AUTHORITY_STEP = (
    "If a proxy inspects TLS, set SSL_CERT_FILE, or the value privateCA of the chart, to its certificate authority."
)
_HOST_STEP = "Check the url in the Secret, and whether a proxy answers for that host."
_CLOCK_STEP = "Check the clock of the operator. The certificate may also be out of date."
_OUT_OF_DATE = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_LOCAL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
_LOCAL_STEP = "Raise the limits of the operator's process or of its node (open files, ports, memory)."


class ConnectFailed(Exception):
    """Certainly no byte of the request was sent. The text is a clause for people.

    `next_step` says what to do, unless it is to wait for the service.
    """

    def __init__(self, why: str, next_step: str | None = None) -> None:
        super().__init__(why)
        self.next_step = next_step


class ResponseLost(Exception):
    """The service may have received the request, and there is no complete response. `status` if that much arrived."""

    def __init__(self, why: str, status: int | None = None, *, timed_out: bool = False) -> None:
        super().__init__(why)
        self.status = status
        self.timed_out = timed_out


@dataclass(slots=True)
class RequestProgress:
    """How far a try has got, as the connection reports it. `proxied` if it uses a proxy."""

    proxied: bool = False
    tunnel: bool = False
    """The proxy has opened a connection to the service."""
    sending: bool = False
    """Some of the request may have been sent. Before that, nothing has."""
    status: int | None = None
    outcome: str = "cancelled"
    on_sending: Callable[[], None] | None = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The extension `trace` of httpx. The CONNECT request to a proxy does not count as sending."""
        if event == "proxy.start_tls.started":
            self.tunnel = True
        elif event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":
            self.sending = True
            if self.on_sending:
                self.on_sending()

    @property
    def at_proxy(self) -> bool:
        """Whether only the proxy was contacted so far."""
        return self.proxied and not self.tunnel and not self.sending

    def failed(self, error: Exception) -> ConnectFailed | ResponseLost:
        """What to raise, without the error as its cause: a traceback would show the error's text, and a host in it."""
        if self.sending:
            timed_out = isinstance(error, httpx.TimeoutException)
            return ResponseLost(describe(error), self.status, timed_out=timed_out)
        if self.at_proxy:
            local = any(map(_is_local, _causes(error)))
            return ConnectFailed(describe(error, at_proxy=True), _LOCAL_STEP if local else _PROXY_STEP)
        return ConnectFailed(describe(error), _next_step(error) or (_PROXY_STEP if self.proxied else None))

    def timed_out(self, seconds: float, what: str) -> ConnectFailed | ResponseLost:
        """What to raise when the time for the whole try has passed. `what` has not arrived."""
        if self.sending:
            return ResponseLost(f"no {what} arrived within {seconds:g} s", self.status, timed_out=True)
        if self.at_proxy:
            return ConnectFailed(f"the proxy opened no connection within {seconds:g} s", _PROXY_STEP)
        return ConnectFailed(f"no connection opened within {seconds:g} s")


def refused_by_proxy(status: int) -> ConnectFailed:
    """The error for a proxy that answers instead of the service."""
    return ConnectFailed(_proxy_refusal(status), _PROXY_STEP)


def describe(error: BaseException, *, at_proxy: bool = False) -> str:
    """The error as a clause, by its type only: its text may contain anything.

    `at_proxy` if the proxy has not opened a connection to the service yet.
    """
    if at_proxy and isinstance(error, httpx.ProxyError) and (found := _STATUS.match(str(error))):
        return _proxy_refusal(int(found[0]))
    whose, tls, host = ("the proxy's", "TLS to the proxy", "the proxy") if at_proxy else ("its", "TLS", "it")
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{whose} certificate is not trusted: {authorities.reason(cause)}"
        if isinstance(cause, ssl.SSLError) and (reason := authorities.reason(cause)):
            return f"{tls} failed: {reason}"
        if isinstance(cause, socket.gaierror):
            return f"{whose} host name cannot be resolved"
        if isinstance(cause, ConnectionRefusedError):
            return f"{host} refuses connections"
        if _is_local(cause):
            return f"the operator could not open a connection: {os.strerror(cause.errno or 0)}"
    if at_proxy:
        return "the proxy opened no connection" + (" in time" if isinstance(error, httpx.TimeoutException) else "")
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return "no connection opened in time"
    if isinstance(error, httpx.ConnectError):
        return "the connection failed"
    return "it stopped sending" if isinstance(error, httpx.TimeoutException) else "the connection was lost"


def _proxy_refusal(status: int) -> str:
    if status in (401, 407):  # tinyproxy sends 401 for a wrong password
        return f"the proxy asks for another user name or password (HTTP {status})"
    if status == 403:
        return "the proxy does not allow this host (HTTP 403)"
    return f"the proxy opened no connection (HTTP {status})"


def _next_step(error: Exception) -> str | None:
    for cause in _causes(error):
        if _is_local(cause):
            return _LOCAL_STEP
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code in _OUT_OF_DATE:
                return _CLOCK_STEP
            return _HOST_STEP if cause.verify_code in authorities.OTHER_HOST else _AUTHORITY_STEP
    return None


def _is_local(cause: BaseException) -> TypeGuard[OSError]:
    """Whether this machine lacks something that a connection needs."""
    return isinstance(cause, OSError) and cause.errno in _LOCAL


def _causes(error: BaseException) -> list[BaseException]:
    """The chain of causes, the first cause first."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    return causes[::-1]
