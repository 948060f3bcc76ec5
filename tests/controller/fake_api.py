"""An API server in memory that serves lists and watches of exporters over a real socket, and misbehaves on request."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from qualtrics_exporter.resource.names import GROUP, KIND, PLURAL, VERSION
from tests.support.loop_thread import closed

Handler = Callable[[web.Request], Any]


def exporter(namespace: str, name: str = "one", version: int = 1, **more: Any) -> dict[str, Any]:
    """Return an exporter as the API server returns it."""
    metadata = {"namespace": namespace, "name": name, "uid": f"{namespace}-{name}", "resourceVersion": str(version)}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {**metadata, "generation": 1}, **more}


@dataclass
class FakeApi:
    """The keys of the handlers are "list" or "watch", and a namespace or "" for all namespaces."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    next_handlers: dict[tuple[str, str], deque[Handler]] = field(default_factory=dict)
    """Handlers of the next requests, one each."""
    handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)
    """Handlers of all other requests."""
    watches: dict[str, list[asyncio.Queue[bytes | None]]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    sent_events: list[tuple[int, str, bytes]] = field(default_factory=list)
    """The resourceVersion, namespace and line of each event. A watch begins with those after its resourceVersion."""
    version: int = 10

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/api", self._versions)
        app.router.add_get("/api/v1", self._core)
        app.router.add_get("/apis", self._groups)
        app.router.add_get(f"/apis/{GROUP}/{VERSION}", self._resources)
        app.router.add_get(f"/apis/{GROUP}/{VERSION}/{PLURAL}", self._listed)
        app.router.add_get(f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{PLURAL}", self._listed)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for queues in self.watches.values():
            for queue in queues:
                queue.put_nowait(None)
        await closed(self._runner.cleanup)

    def handle_next(self, kind: str, namespace: str, *handlers: Handler) -> None:
        """Handle the next requests with these handlers, one each."""
        self.next_handlers.setdefault((kind, namespace), deque()).extend(handlers)

    def put(self, body: dict[str, Any], kind: str = "ADDED") -> None:
        """Store or delete an exporter, and send the event to its watches."""
        metadata = body["metadata"]
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        key = metadata["namespace"], metadata["name"]
        if kind == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = body
        event = {"type": kind, "object": body}
        self.sent_events.append((self.version, metadata["namespace"], json.dumps(event).encode() + b"\n"))
        self.send_to_watches(metadata["namespace"], event)

    def send_to_watches(self, namespace: str, event: Any) -> None:
        """Send a line to the watches of a namespace."""
        line = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
        for queue in self.watches.get(namespace, []):
            queue.put_nowait(line)

    def end_watches(self, namespace: str) -> None:
        """End the watches of a namespace, as the API server does every few minutes."""
        for queue in self.watches.get(namespace, []):
            queue.put_nowait(None)

    async def _listed(self, request: web.Request) -> web.StreamResponse:
        namespace = request.match_info.get("namespace", "")
        kind = "watch" if request.query.get("watch") else "list"
        self.requests.append((kind, namespace))
        pending = self.next_handlers.get((kind, namespace))
        if handler := pending.popleft() if pending else self.handlers.get((kind, namespace)):
            result = handler(request)
            return await result if asyncio.iscoroutine(result) else result  # type: ignore[no-any-return]
        return await self._streamed(request, namespace) if kind == "watch" else self._list(request, namespace)

    def _list(self, request: web.Request, namespace: str) -> web.Response:
        items = [body for (stored_in, _), body in self.objects.items() if namespace in ("", stored_in)]
        start = int(request.query.get("continue", "0"))
        end = start + int(request.query.get("limit", len(items)))
        metadata = {"resourceVersion": str(self.version), **({"continue": str(end)} if end < len(items) else {})}
        return web.json_response({"kind": f"{KIND}List", "items": items[start:end], "metadata": metadata})

    async def _streamed(self, request: web.Request, namespace: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.watches.setdefault(namespace, []).append(queue)
        since = int(request.query.get("resourceVersion", "0"))
        for version, event_namespace, line in self.sent_events:
            if version > since and namespace in ("", event_namespace):
                queue.put_nowait(line)
        await response.prepare(request)
        try:
            while (line := await queue.get()) is not None:
                await response.write(line)
        finally:
            self.watches[namespace].remove(queue)
        return response

    async def _versions(self, _: web.Request) -> web.Response:
        return web.json_response({"versions": ["v1"]})

    async def _core(self, _: web.Request) -> web.Response:
        return web.json_response({"resources": [_resource("namespaces", "Namespace", namespaced=False)]})

    async def _groups(self, _: web.Request) -> web.Response:
        version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
        return web.json_response({"groups": [{"name": GROUP, "versions": [version], "preferredVersion": version}]})

    async def _resources(self, _: web.Request) -> web.Response:
        return web.json_response({"resources": [_resource(PLURAL, KIND, namespaced=True)]})


def _resource(plural: str, kind: str, *, namespaced: bool) -> dict[str, Any]:
    verbs = ["get", "list", "watch"]
    return {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": verbs}


def status(code: int, reason: str = "", headers: dict[str, str] | None = None, **more: Any) -> Handler:
    """Return a handler that responds with an error of the API server."""
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason, **more}
    return lambda _: web.json_response(body, status=code, headers=headers)


def stream(*lines: bytes) -> Handler:
    """Return a handler for a watch that sends these bytes and ends."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for line in lines:
            await response.write(line)
        return response

    return respond


def reset(request: web.Request) -> web.StreamResponse:
    """Break the connection."""
    assert request.transport
    request.transport.abort()
    return web.Response()


async def silence(_: web.Request) -> web.StreamResponse:
    """Never respond."""
    await asyncio.Event().wait()
    raise AssertionError
