"""Connections that hand over what they receive in small pieces, and let others work in between.

Everything that another side sends goes through here before anything is parsed: header lines, chunks of one byte,
interim replies without end. Each of them costs far more time than bytes.
"""

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from qualtrics_exporter.fair_share import TENANT
from qualtrics_exporter.remote.loop_time import LoopTime

PIECE = 16 * 1024
"""Bytes. The worst of them take ten milliseconds to parse."""

MOST_HEADERS = 32 * 1024
"""Bytes of the header lines of a reply. With httpcore's limit of 100 KiB they take a tenth of a second to parse."""


def paced(transport: httpx.AsyncHTTPTransport, loop_time: LoopTime) -> httpx.AsyncHTTPTransport:
    """The same transport, with connections of this kind."""
    # httpx has no other way to either. tests/remote/test_paced.py sees that they work.
    httpcore.AsyncHTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE = MOST_HEADERS
    pool: Any = transport._pool
    pool._network_backend = _Backend(pool._network_backend, loop_time)
    return transport


class _Backend:
    """In place of an `httpcore.AsyncNetworkBackend`."""

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
    """In place of an `httpcore.AsyncNetworkStream`."""

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
            # Until the handshake ends, nothing else can close this connection. httpcore closes it after an error, but
            # not when the request is cancelled.
            await self._stream.aclose()
            raise
        return _Stream(secured, self._loop_time)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
