"""The middleware of all three servers: it records every request and applies the faults of a test.

Handlers return a `Reply`, or raise `Refused` with one. They know nothing about faults, the recorder or sockets.
"""

import json
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import format_datetime

from aiohttp import web

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.faults import Dropped, Fault, Faults
from qualtrics_exporter.sandbox.recorder import RecordedCall, Recorder, ServiceName

log = logging.getLogger(__name__)


@dataclass
class Reply:
    """What a handler returns. The middleware sends it."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, document: object, status: int = 200, headers: dict[str, str] | None = None) -> "Reply":
        body = json.dumps(document, ensure_ascii=False).encode()
        return cls(status, body, {"Content-Type": "application/json", **(headers or {})})


class Refused(Exception):
    """Ends the handler with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


Handler = Callable[[web.Request], Awaitable[Reply]]

CALL: ContextVar[RecordedCall] = ContextVar("call")
"""The record of the request that the current task handles."""


@dataclass(frozen=True)
class Endpoint:
    """What is served at a path. `status_reply` makes a reply with a status that a fault or an error asks for."""

    service: ServiceName
    operation: str
    handler: Handler
    status_reply: Callable[[int], Reply]


@dataclass
class Middleware:
    """Shared by the three servers of a sandbox."""

    clock: Clock
    recorder: Recorder
    faults: Faults

    def route(
        self,
        app: web.Application,
        service: ServiceName,
        method: str,
        path: str,
        operation: str,
        handler: Handler,
        *,
        status_reply: Callable[[int], Reply],
    ) -> None:
        """Serve a path as the operation `service.operation`, which faults and the record refer to."""
        endpoint = Endpoint(service, f"{service}.{operation}", handler, status_reply)
        self.faults.operations.add(endpoint.operation)

        async def serve(request: web.Request) -> web.StreamResponse:
            return await self._serve(endpoint, request)

        app.router.add_route(method, path, serve)

    async def _serve(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        operation = endpoint.operation
        now = self.clock.now()
        call = RecordedCall(endpoint.service, operation, request.method, request.path, now, self.clock.monotonic())
        try:
            call.bytes = len(await request.read())
        except web.HTTPRequestEntityTooLarge:  # reply like the real service, not like aiohttp
            return await _send(request, endpoint.status_reply(413), None)
        CALL.set(call)
        self.recorder.calls.append(call)
        self.recorder.changed.notify_all()
        fault = self.faults.take(operation)
        try:
            reply = await self._reply(endpoint, fault, request)
            call.status = reply.status
            log.debug("%s: %d", operation, reply.status)
            reply.headers.setdefault("Date", format_datetime(self.clock.now(), usegmt=True))
            return await _send(request, reply, fault.truncate if fault else None)
        except Dropped:
            call.dropped = True
            return _drop(request)
        finally:
            self.recorder.changed.notify_all()

    async def _reply(self, endpoint: Endpoint, fault: Fault | None, request: web.Request) -> Reply:
        if fault is None:
            return await self._effect(endpoint, request)
        await self.faults.pause(fault, "before", endpoint.operation)
        reply = Reply()
        if fault.effective:
            reply = await self._effect(endpoint, request)
        await self.faults.pause(fault, "after", endpoint.operation)
        if not fault.alters_reply:
            return reply
        if fault.status is not None:
            reply = endpoint.status_reply(fault.status)
        if fault.body is not None:
            body = fault.body.encode() if isinstance(fault.body, str) else fault.body
            reply = Reply(reply.status, body, reply.headers)
        if fault.endless:
            reply = Reply(reply.status, _endless(), reply.headers)
        return Reply(reply.status, reply.body, {**reply.headers, **fault.headers})

    async def _effect(self, endpoint: Endpoint, request: web.Request) -> Reply:
        try:
            return await endpoint.handler(request)
        except Refused as refused:
            return refused.reply
        except Exception as error:  # noqa: BLE001 - answer 500; the recorder keeps details that a log must not have
            self.recorder.errors.append(traceback.format_exc())
            log.error("%s failed because of a bug in the sandbox: %s", endpoint.operation, type(error).__name__)  # noqa: TRY400
            return endpoint.status_reply(500)


async def _send(request: web.Request, reply: Reply, limit: int | None) -> web.StreamResponse:
    """Send the reply. With `limit`, close the connection after that many bytes of the body."""
    if isinstance(reply.body, bytes) and limit is None:
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if isinstance(reply.body, bytes):
        response.content_length = len(reply.body)
        chunks = _once(reply.body)
    else:
        chunks = reply.body
    await response.prepare(request)
    left = limit
    try:
        async for chunk in chunks:
            await response.write(chunk if left is None else chunk[:left])
            if left is not None and (left := left - len(chunk)) <= 0:
                break
    except ConnectionError:
        return response  # the client closed the connection
    if limit is None:
        await response.write_eof()
    elif request.transport is not None:
        request.transport.close()
    return response


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 65536


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _drop(request: web.Request) -> web.Response:
    """Close the connection without a reply."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
