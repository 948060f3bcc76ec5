"""Connections that pass on received data in small pieces, and let other tasks run in between.

All received data passes through here before it is parsed: header lines, chunks of one byte, endless interim responses.
Each of these takes far more time than its bytes.
"""

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from qualtrics_exporter.fair_share import TENANT
from qualtrics_exporter.remote.loop_time import LoopTime

PIECE = 16 * 1024
"""Bytes. In the worst case, parsing them takes ten milliseconds."""

MAX_HEADERS = 32 * 1024
"""Bytes of the header lines of a response. httpcore's limit of 100 KiB would take a tenth of a second to parse."""


def paced(transport: httpx.AsyncHTTPTransport, loop_time: LoopTime) -> httpx.AsyncHTTPTransport:
    """The same transport, with such connections."""
    # httpx has no public setting for either. tests/remote/test_paced.py tests both.
    httpcore.AsyncHTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE = MAX_HEADERS
    pool: Any = transport._pool
    pool._network_backend = _Backend(pool._network_backend, loop_time)
    return transport


class _Backend:
    """Replaces an `httpcore.AsyncNetworkBackend`."""

    def __init__(self, backend: Any, loop_time: LoopTime) -> None:
        self._backend = backend
        self._loop_time = loop_time

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> "_Stream":
        stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._loop_time)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _Stream:
    """Replaces an `httpcore.AsyncNetworkStream`."""

    def __init__(self, stream: Any, loop_time: LoopTime) -> None:
        self._stream = stream
        self._loop_time = loop_time

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = await self._stream.read(min(max_bytes, PIECE), timeout)
        await self._loop_time.pause(TENANT.get())
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> "_Stream":
        try:
            await self._loop_time.pause(TENANT.get())  # a handshake takes milliseconds
            secured = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            # Nothing else can close this connection before the handshake ends. httpcore closes it after an error, but
            # not when the request is cancelled.
            await self._stream.aclose()
            raise
        return _Stream(secured, self._loop_time)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
