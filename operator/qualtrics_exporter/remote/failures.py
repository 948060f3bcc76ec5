"""What is known of a try that failed: how far it came, and why it ended, as a clause without the error's own text."""

import errno
import os
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import httpx

from qualtrics_exporter.remote import authorities

_STATUS = re.compile(r"[1-5][0-9]{2}(?= |\Z)")
_PROXY_STEP = "Check the proxy of the operator: --proxy, HTTPS_PROXY and NO_PROXY, or the values proxy.* of the chart."
_AUTHORITY_STEP = (
    "If a proxy inspects TLS, add its certificate authority by SSL_CERT_FILE, or by the value privateCA of the chart."
)
_HOST_STEP = "Check the url in the Secret, and whether a proxy answers for that host."
_CLOCK_STEP = "Check the clock of the operator. The certificate may also have to be renewed."
_OUT_OF_TIME = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_LOCAL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
_LOCAL_STEP = "Raise the limits of the operator's process or of its node (open files, ports, memory)."


class ConnectFailed(Exception):
    """Certainly not a byte of the request went out. The text is a clause for people.

    `next_step` says what to do where that is not to wait for the remote side.
    """

    def __init__(self, why: str, next_step: str | None = None) -> None:
        super().__init__(why)
        self.next_step = next_step


class ResponseLost(Exception):
    """It may have been heard, there is no whole reply. `status` if that much is known. `late` if the time was up."""

    def __init__(self, why: str, status: int | None = None, *, late: bool = False) -> None:
        super().__init__(why)
        self.status = status
        self.late = late


@dataclass(slots=True)
class RequestProgress:
    """How far a try has come, as the connection reports it. `proxied` if it goes through a proxy."""

    proxied: bool = False
    tunnel: bool = False
    """The proxy has opened a connection to the remote host."""
    sending: bool = False
    """Something of the request may have gone out. Nothing of it has before that."""
    status: int | None = None
    outcome: str = "cancelled"

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """For httpx: its extension `trace`. The request to a proxy to open a connection is not ours."""
        if event == "proxy.start_tls.started":
            self.tunnel = True
        elif event.endswith(".send_request_headers.started"):
            self.sending = self.sending or info["request"].method != b"CONNECT"

    @property
    def at_proxy(self) -> bool:
        """Whether only the proxy was talked to so far."""
        return self.proxied and not self.tunnel and not self.sending

    def failed(self, error: Exception) -> ConnectFailed | ResponseLost:
        """What to raise, without the error as its cause: a traceback would show the error's text, and a host in it."""
        if self.sending:
            return ResponseLost(why(error), self.status, late=isinstance(error, httpx.TimeoutException))
        if self.at_proxy:
            local = any(map(_is_local, _causes(error)))
            return ConnectFailed(_why_proxy(error), _LOCAL_STEP if local else _PROXY_STEP)
        return ConnectFailed(why(error), _next_step(error) or (_PROXY_STEP if self.proxied else None))

    def out_of_time(self, seconds: float, what: str) -> ConnectFailed | ResponseLost:
        """The same when the time for the whole try has passed. `what` has not come."""
        if self.sending:
            return ResponseLost(f"there was no {what} within {seconds:g} s", self.status, late=True)
        if self.at_proxy:
            return ConnectFailed(f"the proxy opened no connection within {seconds:g} s", _PROXY_STEP)
        return ConnectFailed(f"no connection opened within {seconds:g} s")


def refused_by_proxy(status: int) -> ConnectFailed:
    """The error for a proxy that answers instead of the remote side."""
    return ConnectFailed(_refusal(status), _PROXY_STEP)


def why(error: BaseException) -> str:
    """The error as a clause. Its own text may hold anything, so only its kind is looked at."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {authorities.reason(cause)}"
        if isinstance(cause, ssl.SSLError) and (told := authorities.reason(cause)):
            return f"TLS failed: {told}"
        if isinstance(cause, socket.gaierror):
            return "its host name is not known"
        if isinstance(cause, ConnectionRefusedError):
            return "it refuses connections"
        if _is_local(cause):
            return _why_local(cause)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return "no connection opened in time"
    if isinstance(error, httpx.ConnectError):
        return "no connection could be opened"
    return "it fell silent" if isinstance(error, httpx.TimeoutException) else "the connection broke"


def _why_proxy(error: Exception) -> str:
    """The same for a proxy that has not opened a connection to the remote side."""
    if isinstance(error, httpx.ProxyError) and (found := _STATUS.match(str(error))):
        return _refusal(int(found[0]))
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of the proxy is not trusted: {authorities.reason(cause)}"
        if isinstance(cause, ssl.SSLError) and (told := authorities.reason(cause)):
            return f"TLS to the proxy failed: {told}"
        if isinstance(cause, socket.gaierror):
            return "the host name of the proxy is not known"
        if isinstance(cause, ConnectionRefusedError):
            return "the proxy refuses connections"
        if _is_local(cause):
            return _why_local(cause)
    if isinstance(error, httpx.TimeoutException):
        return "the proxy opened no connection in time"
    return "the proxy opened no connection"


def _refusal(status: int) -> str:
    if status in (401, 407):  # tinyproxy says 401 to a wrong password
        return f"the proxy asks for another user name or password (HTTP {status})"
    if status == 403:
        return "the proxy does not allow this host (HTTP 403)"
    return f"the proxy opened no connection (HTTP {status})"


def _next_step(error: Exception) -> str | None:
    for cause in _causes(error):
        if _is_local(cause):
            return _LOCAL_STEP
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code in _OUT_OF_TIME:
                return _CLOCK_STEP
            return _HOST_STEP if cause.verify_code in authorities.OTHER_HOST else _AUTHORITY_STEP
    return None


def _is_local(cause: BaseException) -> TypeGuard[OSError]:
    """Whether this machine is out of something that a connection needs."""
    return isinstance(cause, OSError) and cause.errno in _LOCAL


def _why_local(cause: OSError) -> str:
    return f"the operator could not open a connection: {os.strerror(cause.errno or 0)}"


def _causes(error: BaseException) -> list[BaseException]:
    """What led to the error, the first cause first."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    return causes[::-1]
