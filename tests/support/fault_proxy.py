"""A proxy in front of the API server that records the requests of operators and injects faults.

It has the same faults as the sandbox: it can hold a write before its effect, or hold the response after it, and it can
drop or reject connections, or send another response. It forwards bytes. The only part of the product that it knows is
the steps of a run, to distinguish the writes of a status.

Operations are `api.status.Claimed` (or another step; `ended` if a run leaves the status, `noted` for other writes),
`api.event`, `api.lease`, and the reads `api.get`, `api.list`, `api.watch`, `api.secret`.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.faults import Dropped, Fault, Faults
from tests.support.loop_thread import LoopThread, closed
from tests.support.sandbox import Certificates
from tests.support.waiting import HANG_SECONDS

HOP_BY_HOP = {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "te", "trailer"}
REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
}


@dataclass
class ApiCall:
    """A request of an operator. `status` is 0 if it got no response, and `run` is the active run that it writes."""

    operation: str
    at: datetime
    status: int = 0
    done: float | None = None
    """When the API server responded, in monotonic time."""
    executed: bool = False
    """Whether the API server executed the request, also if the operator did not get the response."""
    uid: str = ""
    run: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    """The entries of the history that it writes, newest first."""


class FaultProxy:
    """A context manager that runs the proxy in a thread with its own event loop."""

    def __init__(self, kubeconfig: Path, clock: Clock, certificates: Certificates | None = None) -> None:
        cluster = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]
        self._target = cluster["server"]
        self._tls = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
        self._certificates = certificates
        self._clock = clock
        self._faults = Faults(clock)
        self._runs: dict[str, bool] = {}
        self._connections: set[asyncio.Transport] = set()
        self._partitioned = False
        self._port = 0
        self._thread = LoopThread("fault proxy")
        self.calls: list[ApiCall] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._thread.run(self._start)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.run(lambda: closed(self._stop))
        self._thread.stop()

    def kubeconfig(self, original: Path) -> Path:
        """Write a copy of a kubeconfig that connects through the proxy, and return its path."""
        content = json.loads(original.read_text())
        cluster = {"server": f"http://127.0.0.1:{self._port}"}
        if self._certificates:  # kubectl sends no token without TLS
            authority = str(self._certificates.authority)
            cluster = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority": authority}
        content["clusters"][0]["cluster"] = cluster
        path = original.with_name(f"fault-proxy-{self._port}-{original.name}")
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))
        return path

    # Faults, with the same methods as the sandbox.

    def fault(self, operation: str, **settings: Any) -> Fault:
        """Inject a fault; see `sandbox.faults.Fault`."""
        return self._thread.call(lambda: self._faults.add(operation, **settings))

    def held(self, operation: str = "*") -> int:
        """The number of requests that are held."""
        return self._thread.call(lambda: self._faults.held(operation))

    def release(self, operation: str = "*", *, drop: bool = False) -> None:
        """Continue the requests that are held, or drop their connections."""
        self._thread.call(lambda: self._faults.release(operation, drop=drop))

    def clear_faults(self) -> None:
        """Remove all faults, and continue the requests that are held."""
        self._thread.call(self._faults.clear)

    def partition(self) -> None:
        """Partition the operator from the API server: drop all connections, and reject new ones."""
        self._thread.call(self._start_partition)

    @property
    def is_partitioned(self) -> bool:
        """Whether the operator is partitioned from the API server."""
        return self._partitioned

    def end_partition(self) -> None:
        """End the partition."""
        self._partitioned = False

    def drop_watches(self) -> None:
        """Drop the open connections, as a load balancer sometimes does, and accept new ones."""
        self._thread.call(self._start_partition)
        self._partitioned = False

    # Implementation

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=HANG_SECONDS),
        )
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        tls = self._certificates.server if self._certificates else None
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        self._faults.clear()
        self._start_partition()
        await self._runner.cleanup()
        await self._session.close()

    def _start_partition(self) -> None:
        self._partitioned = True
        for transport in tuple(self._connections):
            transport.abort()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        if transport is None or self._partitioned:
            return _drop_connection(request)
        self._connections.add(transport)  # type: ignore[arg-type]
        try:
            body = await request.read()
            call = self._api_call(request, body)
            self.calls.append(call)
            return await self._forward(request, body, call)
        except (Dropped, aiohttp.ClientError, OSError):
            return _drop_connection(request)
        finally:
            self._connections.discard(transport)  # type: ignore[arg-type]

    async def _forward(self, request: web.BaseRequest, body: bytes, call: ApiCall) -> web.StreamResponse:
        fault = self._faults.take(call.operation)
        if fault:
            await self._faults.pause(fault, "before", call.operation)
            if not fault.effective:
                await self._faults.pause(fault, "after", call.operation)
                return self._fault_response(fault, call)
        url, headers = self._target + request.path_qs, _forwarded_headers(request.headers)
        async with self._session.request(request.method, url, headers=headers, data=body or None) as reply:
            if call.operation == "api.watch":
                return await self._forward_stream(request, reply, call)
            content = await reply.read()
            call.done, call.executed = self._clock.monotonic(), reply.status < 300
            if call.operation.startswith("api.status") and call.executed:
                self._runs[call.uid] = call.run is not None
            if fault:
                await self._faults.pause(fault, "after", call.operation)
                if fault.alters_reply:
                    return self._fault_response(fault, call)
            call.status = reply.status
            return web.Response(status=reply.status, body=content, headers=_forwarded_headers(reply.headers))

    async def _forward_stream(
        self, request: web.BaseRequest, reply: aiohttp.ClientResponse, call: ApiCall
    ) -> web.StreamResponse:
        call.status = reply.status
        response = web.StreamResponse(status=reply.status, headers=_forwarded_headers(reply.headers))
        await response.prepare(request)
        with suppress(ConnectionError):
            async for chunk in reply.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
        return response

    def _fault_response(self, fault: Fault, call: ApiCall) -> web.Response:
        call.status = status = fault.status or 200
        if fault.body is not None:
            body = fault.body.encode() if isinstance(fault.body, str) else fault.body
            return web.Response(status=status, body=body, content_type="application/json")
        status_object = {
            "kind": "Status",
            "status": "Failure",
            "code": status,
            "reason": REASONS.get(status, "InternalError"),
        }
        return web.json_response(status_object, status=status, headers=fault.headers)

    def _api_call(self, request: web.BaseRequest, body: bytes) -> ApiCall:
        call = ApiCall(_operation(request), self._clock.now())
        if call.operation == "api.status":
            document = json.loads(body)
            call.uid, call.run = document["metadata"]["uid"], document["status"].get("activeRun")
            call.history = document["status"].get("history", [])
            other = "ended" if self._runs.get(call.uid) else "noted"
            call.operation += f".{call.run['step'] if call.run else other}"
        return call


def _operation(request: web.BaseRequest) -> str:
    path = request.path
    if path.endswith("/status"):
        return "api.status"
    for part, name in (("/events", "api.event"), ("/leases", "api.lease"), ("/secrets", "api.secret")):
        if part in path:
            return name
    if request.query.get("watch"):
        return "api.watch"
    return "api.list" if path.endswith("/qualtricsexporters") else "api.get"


def _forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers to forward: all except hop-by-hop headers."""
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def _drop_connection(request: web.BaseRequest) -> web.StreamResponse:
    """Drop the connection without a response."""
    if request.transport:
        request.transport.abort()
    return web.Response()
