"""An in-memory API server for exporters, Secrets, Events and Leases.

Stored objects are replaced and never changed, so that readers share them without a copy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qualtrics_exporter.controller.kube.errors import Conflict, NotFound
from qualtrics_exporter.resource.names import GROUP, KIND, VERSION

from .clock import true_time
from .loop import VirtualLoop

Body = dict[str, Any]


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
        """Called for each change with ADDED, MODIFIED or DELETED, the object, and the object before."""
        self.before_status: Callable[[str, Body, Body], None] = lambda writer, old, new: None
        self.attempted: Callable[[str, str, str], None] = lambda writer, namespace, name: None
        """Called for each attempt to write a status, successful or not."""

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
        self._notify("ADDED", body, None)
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
        self._notify("MODIFIED", new, old)
        return new

    def delete(self, namespace: str, name: str) -> None:
        """Delete an exporter, if there is one."""
        if (old := self.exporters.pop((namespace, name), None)) is not None:
            last = {**old, "metadata": {**old["metadata"], "resourceVersion": self.next_version()}}
            self._notify("DELETED", last, old)

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
            raise NotFound("not found", 404)
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
        self._notify("MODIFIED", new, old)
        return new

    def secret(self, namespace: str, name: str) -> Stored:
        if (stored := self.secrets.get((namespace, name))) is None:
            raise NotFound("not found", 404)
        return stored

    def lease(self, namespace: str, name: str) -> Body:
        if (lease := self.leases.get((namespace, name))) is None:
            raise NotFound("not found", 404)
        return lease

    def write_lease(self, namespace: str, name: str, lease: Body, *, create: bool) -> Body:
        old = self.leases.get((namespace, name))
        if (old is not None) if create else (old is None):
            raise Conflict("conflict", 409) if create else NotFound("not found", 404)
        if old and lease["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            raise Conflict("conflict", 409)
        metadata = {"uid": f"lease-{namespace}-{name}", **lease["metadata"], "resourceVersion": self.next_version()}
        new = self.leases[namespace, name] = {**lease, "metadata": metadata}
        return new

    def _notify(self, kind: str, body: Body, before: Body | None) -> None:
        for listener in self.listeners:
            listener(kind, body, before)
