"""The `ClusterApi` of a replica. Calls to the API server and their replies take time, and can be lost.

A call has its effect at the server even if its caller is killed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from qualtrics_exporter.controller.kube.api import ObjectKey, Secret, SecretMetadata
from qualtrics_exporter.controller.kube.errors import Conflict, Forbidden, Unreachable

from .api_server import ApiServer, Body
from .faults import Faults
from .loop import VirtualLoop

CALL_TIMEOUT = 5.0
"""Seconds after which the caller gives up, like `CallLimits.timeout`."""


class SimulatedCluster:
    """In place of `controller.kube.api.ClusterApi`, for one replica."""

    def __init__(self, server: ApiServer, loop: VirtualLoop, faults: Faults, replica: str, zone: str) -> None:
        self._server = server
        self._loop = loop
        self._faults = faults
        self._replica = replica
        self._zone = zone
        """Replicas of one zone lose the API server together."""
        self.calling: Callable[[str], None] = lambda operation: None

    async def get(self, namespace: str, name: str) -> Body:
        return await self._call("get", lambda: self._server.get(namespace, name))  # type: ignore[no-any-return]

    async def list(self, namespace: str | None, selector: str | None = None) -> AsyncIterator[Body]:
        for body in await self._call("list", lambda: self._server.select(namespace, selector)):
            yield body

    async def list_metadata(self, namespace: str | None, selector: str | None = None) -> AsyncIterator[ObjectKey]:
        for key in await self._call("list", lambda: [_key(b) for b in self._server.select(namespace, selector)]):
            yield key

    async def check_list(self, namespace: str | None, selector: str | None = None) -> None:
        return

    async def check_watch(self, namespace: str | None) -> None:
        return None

    async def replace_status(
        self, namespace: str, name: str, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> Body:
        def write() -> Body:
            if self._faults.forbidden.get(namespace, 0.0) > self._loop.time():
                raise Forbidden("the operator may not update qualtricsexporters/status (HTTP 403)", 403)
            self._server.attempted(self._replica, namespace, name)
            if self._faults.conflicts.get(namespace, 0.0) > self._loop.time():
                raise Conflict("conflict", 409)
            return self._server.replace_status(self._replica, namespace, name, uid, resource_version, dict(status))

        return await self._call("status", write)  # type: ignore[no-any-return]

    async def get_secret(self, namespace: str, name: str) -> Secret:
        return await self._call("secret", lambda: self._secret(namespace, name))  # type: ignore[no-any-return]

    async def secret_metadata(self, namespace: str, name: str) -> SecretMetadata | None:
        def read() -> SecretMetadata | None:
            # Metadata is not encrypted, so it can be read even if the content cannot.
            stored = self._server.secrets.get((namespace, name))
            return None if stored is None else SecretMetadata(str(stored.version), stored.annotations)

        return await self._call("secret", read)  # type: ignore[no-any-return]

    async def create_event(self, event: Mapping[str, Any]) -> None:
        metadata = event["metadata"]
        name = (metadata["namespace"], metadata["name"])
        await self._call("event", lambda: self._server.events.setdefault(name, event["reason"]))

    async def get_lease(self, namespace: str, name: str) -> Body:
        return await self._call("lease", lambda: self._server.lease(namespace, name))  # type: ignore[no-any-return]

    async def create_lease(self, namespace: str, lease: Mapping[str, Any]) -> Body:
        name = lease["metadata"]["name"]
        write = lambda: self._server.write_lease(namespace, name, dict(lease), create=True)  # noqa: E731
        return await self._call("lease", write)  # type: ignore[no-any-return]

    async def replace_lease(self, namespace: str, name: str, lease: Mapping[str, Any]) -> Body:
        write = lambda: self._server.write_lease(namespace, name, dict(lease), create=False)  # noqa: E731
        return await self._call("lease", write)  # type: ignore[no-any-return]

    def _secret(self, namespace: str, name: str) -> Secret:
        stored = self._server.secret(namespace, name)
        if self._faults.unreadable.get((namespace, name), 0.0) > self._loop.time():
            raise Unreachable("get secrets failed (HTTP 500)", 500)
        return Secret(stored.data)

    async def _call(self, operation: str, effect: Callable[[], Any]) -> Any:
        self.calling(operation)
        loop, faults, random = self._loop, self._faults, self._faults.api
        future: asyncio.Future[Any] = loop.create_future()
        there = 0.001 + random.random() * 0.01

        def serve() -> None:
            try:
                result = effect()
            except Exception as error:  # noqa: BLE001 - the reply to the caller
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        def serve_without_reply() -> None:
            with contextlib.suppress(Exception):
                effect()

        def give_up() -> None:
            if not future.done():
                future.set_exception(Unreachable(f"{operation} timed out"))

        now = loop.time()
        if faults.outages and max(faults.outages.get("*", 0.0), faults.outages.get(self._zone, 0.0)) > now:
            loop.outside(random.choice((0.01, CALL_TIMEOUT)), give_up)
        elif faults.strikes("api-lost", random):
            if random.random() < 0.5:
                loop.outside(there, serve_without_reply)
            loop.outside(there + random.choice((0.01, CALL_TIMEOUT)), give_up)
        elif faults.strikes("api-slow", random):
            loop.outside(random.choice((0.5, 3.0, 4.9, 8.0, 30.0)), serve)
            loop.outside(CALL_TIMEOUT, give_up)
        else:
            loop.outside(there, serve)
        return await future


def _key(body: Body) -> ObjectKey:
    metadata = body["metadata"]
    return ObjectKey(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        metadata["resourceVersion"],
        metadata.get("generation", 0),
    )
