"""An in-memory API server for exporters, Secrets, Events and Leases, and the `Cluster` class on top of it.

What is stored is never changed, only replaced, so readers share it without a copy. A call travels to the server, takes
effect there whatever becomes of its caller, and the reply travels back.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qualtrics_exporter.controller.cluster import Conflict, Forbidden, Gone, ObjectKey, Secret, Unreachable
from qualtrics_exporter.resource.exporter import GROUP, KIND, VERSION

from .clock import true_time
from .faults import Faults
from .loop import VirtualLoop

Body = dict[str, Any]

CALL_TIMEOUT = 5.0
"""Seconds after which the caller gives up, as `cluster.TIMEOUT`."""


def matches(selector: str | None, labels: Mapping[str, str]) -> bool:
    """Whether labels fit a selector of the form `key=value`."""
    if not selector:
        return True
    key, _, value = selector.partition("=")
    return labels.get(key) == value


@dataclass
class Stored:
    """A Secret."""

    version: int
    data: dict[str, bytes]


class ApiServer:
    """The objects, and the rules of the API server about them."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._version = 0
        self._uids = 0
        self.exporters: dict[tuple[str, str], Body] = {}
        self.secrets: dict[tuple[str, str], Stored] = {}
        self.leases: dict[tuple[str, str], Body] = {}
        self.events: dict[tuple[str, str], str] = {}
        """The Events by their names, with their reasons."""
        self.listeners: list[Callable[[str, Body, Body | None], None]] = []
        """Told of each change: ADDED, MODIFIED or DELETED, the object, and the one before."""
        self.before_status: Callable[[str, Body, Body], None] = lambda writer, old, new: None
        self.attempted: Callable[[str, str], None] = lambda namespace, name: None
        """Told of each attempt to write a status, successful or not."""

    def next_version(self) -> str:
        self._version += 1
        return str(self._version)

    # What users and tools do.

    def create(self, namespace: str, name: str, spec: Body, *, labels: Body, annotations: Body) -> Body:
        """Create an exporter. `Conflict` if it exists."""
        if (namespace, name) in self.exporters:
            raise Conflict("exists", 409)
        self._uids += 1
        metadata = {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{self._uids:04d}",
            "generation": 1,
            "resourceVersion": self.next_version(),
            "creationTimestamp": true_time(self._loop.time()).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": dict(labels),
            "annotations": dict(annotations),
        }
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}
        self.exporters[namespace, name] = body
        self._tell("ADDED", body, None)
        return body

    def change(
        self,
        namespace: str,
        name: str,
        *,
        spec: Body | None = None,
        labels: Body | None = None,
        annotations: Body | None = None,
        drop_status: bool = False,
    ) -> Body | None:
        """Replace parts of an exporter; None if there is none. The generation counts changes of the spec."""
        old = self.exporters.get((namespace, name))
        if old is None:
            return None
        metadata = dict(old["metadata"])
        if labels is not None:
            metadata["labels"] = dict(labels)
        if annotations is not None:
            metadata["annotations"] = dict(annotations)
        new = {**old, "metadata": metadata}
        if spec is not None and spec != old["spec"]:
            new["spec"] = spec
            metadata["generation"] += 1
        if drop_status:
            new.pop("status", None)
        if new == old:
            return old
        metadata["resourceVersion"] = self.next_version()
        self.exporters[namespace, name] = new
        self._tell("MODIFIED", new, old)
        return new

    def delete(self, namespace: str, name: str) -> None:
        """Delete an exporter, if there is one."""
        if (old := self.exporters.pop((namespace, name), None)) is not None:
            last = {**old, "metadata": {**old["metadata"], "resourceVersion": self.next_version()}}
            self._tell("DELETED", last, old)

    def put_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Create or replace a Secret."""
        encoded = {key: value.encode() for key, value in data.items()}
        self.secrets[namespace, name] = Stored(int(self.next_version()), encoded)

    def delete_secret(self, namespace: str, name: str) -> None:
        self.secrets.pop((namespace, name), None)

    # What the controller does.

    def get(self, namespace: str, name: str) -> Body:
        body = self.exporters.get((namespace, name))
        if body is None:
            raise Gone("not found", 404)
        return body

    def select(self, namespace: str | None, selector: str | None) -> list[Body]:
        return [
            body
            for (where, _), body in self.exporters.items()
            if namespace in (None, where) and matches(selector, body["metadata"]["labels"])
        ]

    def replace_status(self, writer: str, namespace: str, name: str, uid: str, version: str, status: Body) -> Body:
        old = self.get(namespace, name)
        metadata = old["metadata"]
        if metadata["uid"] != uid or metadata["resourceVersion"] != version:
            raise Conflict("conflict", 409)
        if old.get("status") == status:
            return old
        new = {**old, "metadata": {**metadata, "resourceVersion": self.next_version()}, "status": status}
        self.before_status(writer, old, new)
        self.exporters[namespace, name] = new
        self._tell("MODIFIED", new, old)
        return new

    def secret(self, namespace: str, name: str) -> Stored:
        if (stored := self.secrets.get((namespace, name))) is None:
            raise Gone("not found", 404)
        return stored

    def lease(self, namespace: str, name: str) -> Body:
        if (lease := self.leases.get((namespace, name))) is None:
            raise Gone("not found", 404)
        return lease

    def write_lease(self, namespace: str, name: str, lease: Body, *, create: bool) -> Body:
        old = self.leases.get((namespace, name))
        if (old is not None) if create else (old is None):
            raise Conflict("conflict", 409) if create else Gone("not found", 404)
        if old and lease["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            raise Conflict("conflict", 409)
        metadata = {"uid": f"lease-{namespace}-{name}", **lease["metadata"], "resourceVersion": self.next_version()}
        new = self.leases[namespace, name] = {**lease, "metadata": metadata}
        return new

    def _tell(self, kind: str, body: Body, before: Body | None) -> None:
        for listener in self.listeners:
            listener(kind, body, before)


class SimulatedCluster:
    """In place of `controller.cluster.Cluster`, for one replica."""

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

    async def check_watch(self, namespace: str | None) -> None:
        return None

    async def replace_status(
        self, namespace: str, name: str, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> Body:
        def write() -> Body:
            if self._faults.forbidden.get(namespace, 0.0) > self._loop.time():
                raise Forbidden("the operator may not update qualtricsexporters/status (HTTP 403)", 403)
            self._server.attempted(namespace, name)
            if self._faults.conflicts.get(namespace, 0.0) > self._loop.time():
                raise Conflict("conflict", 409)
            return self._server.replace_status(self._replica, namespace, name, uid, resource_version, dict(status))

        return await self._call("status", write)  # type: ignore[no-any-return]

    async def get_secret(self, namespace: str, name: str) -> Secret:
        return await self._call("secret", lambda: self._secret(namespace, name))  # type: ignore[no-any-return]

    async def secret_version(self, namespace: str, name: str) -> str | None:
        def read() -> str | None:
            # Metadata alone is not decrypted: that works although the content cannot be read.
            stored = self._server.secrets.get((namespace, name))
            return None if stored is None else str(stored.version)

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
        return Secret(str(stored.version), stored.data)

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

        def silent() -> None:
            try:
                effect()
            except Exception:  # noqa: BLE001 - nobody hears of it
                pass

        def give_up() -> None:
            if not future.done():
                future.set_exception(Unreachable(f"{operation} timed out"))

        now = loop.time()
        if faults.outages and max(faults.outages.get("*", 0.0), faults.outages.get(self._zone, 0.0)) > now:
            loop.outside(random.choice((0.01, CALL_TIMEOUT)), give_up)
        elif faults.strikes("api-lost", random):
            if random.random() < 0.5:
                loop.outside(there, silent)
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
        metadata["namespace"], metadata["name"], metadata["uid"], metadata["resourceVersion"], metadata["generation"]
    )


@dataclass
class WatchStream:
    """The watch of one replica: late, with gaps, and with replays. It never tells of a deletion inside a gap.

    Events of one object keep their order and are merged, as Kopf does. Those of different objects have no order, and
    an object that was recreated under its name is a different one.
    """

    server: ApiServer
    loop: VirtualLoop
    faults: Faults
    selector: str | None
    deliver: Callable[[str | None, Body], None]
    """Delivers one event to the replica."""
    context: Any
    """The context of the replica, in which events are delivered."""
    broken_until: float = -1.0
    open: bool = False
    pending: dict[str, tuple[str | None, Body]] = field(default_factory=dict)

    def start(self) -> None:
        """List, then watch."""
        if not self.open:
            self.server.listeners.append(self._changed)
            self.open = True
        for body in self.server.select(None, self.selector):
            self._enqueue(None, body)

    def close(self) -> None:
        """The replica is gone."""
        if self.open:
            self.server.listeners.remove(self._changed)
            self.open = False

    def break_until(self, time: float) -> None:
        """Lose the stream; what happens until then is not told. Afterwards it begins with a list."""
        self.broken_until = time
        self.loop.outside(time - self.loop.time(), self._again)

    def _again(self) -> None:
        if self.open and self.loop.time() >= self.broken_until:
            self.start()

    def _changed(self, kind: str, body: Body, before: Body | None) -> None:
        if self.loop.time() < self.broken_until:
            return
        is_in = kind != "DELETED" and matches(self.selector, body["metadata"]["labels"])
        was_in = before is not None and matches(self.selector, before["metadata"]["labels"])
        if is_in:
            self._enqueue("MODIFIED" if was_in else "ADDED", body)
        elif was_in:
            self._enqueue("DELETED", body)
        if before is not None and is_in and self.faults.strikes("watch-replay", self.faults.api):
            self.loop.outside(self.faults.api.random() * 300, self._enqueue, "MODIFIED", before)

    def _enqueue(self, kind: str | None, body: Body) -> None:
        uid = body["metadata"]["uid"]
        waiting = uid in self.pending
        self.pending[uid] = kind, body
        if waiting:
            return
        faults = self.faults
        lag = 0.01 + faults.api.random() * 0.1
        if faults.strikes("watch-lag", faults.api, 5.0):
            lag = faults.api.choice((1.0, 5.0, 20.0, 90.0))
        self.loop.call_later(lag, self._deliver, uid, context=self.context)

    def _deliver(self, uid: str) -> None:
        kind, body = self.pending.pop(uid)
        self.deliver(kind, body)

    def __iter__(self) -> Iterator[str]:
        return iter(self.pending)
