"""The Lease of an election, read and written by a replica that cannot wait for a lost reply.

A connection that breaks without a word would cost a leader its term. So a call without a reply is repeated on another
connection, and the first reply counts. That is safe: reads have no effect, and of several equal writes the
resourceVersion lets only one take effect. If a write meets a conflict, the Lease is read again: it may be our own write
whose reply was lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from qualtrics_exporter.controller.kube.api import Cluster, Conflict, Gone

Body = dict[str, Any]


class Lease:
    """One Lease. `repeat_seconds` is how long a call waits for its reply before it is repeated."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, *, repeat_seconds: float) -> None:
        self._cluster = cluster
        self.namespace, self.name = namespace, name
        self._repeat_seconds = repeat_seconds

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    async def read(self) -> Body:
        """The Lease as it is; empty if it does not exist. Raises `ClusterError`."""
        try:
            return await self._repeated(lambda: self._cluster.get_lease(self.namespace, self.name))
        except Gone:
            return {}

    async def write(self, before: Body, spec: Body, annotations: Mapping[str, str | None]) -> Body:
        """Replace the Lease that was read as `before`, or create it if that is empty; returns the Lease as written.

        Annotations that are None are removed. Raises `Conflict` if somebody else wrote in the meantime, `Gone` if
        somebody deleted the Lease, and other kinds of `ClusterError` if it is not known whether the write took effect.
        """
        changed = {**annotations_of(before), **annotations}
        metadata = {
            **(before.get("metadata") or {}),
            "namespace": self.namespace,
            "name": self.name,
            "annotations": {key: value for key, value in changed.items() if value is not None},
        }
        whole = {**before, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        try:
            return await self._repeated(lambda: self._send(bool(before), whole))
        except Conflict:
            found = await self.read()
            if spec_of(found) != spec:  # its times have microseconds: nobody else writes the same
                raise
            return found

    async def _send(self, exists: bool, whole: Body) -> Body:
        if exists:
            return await self._cluster.replace_lease(self.namespace, self.name, whole)
        return await self._cluster.create_lease(self.namespace, whole)

    async def _repeated(self, call: Callable[[], Awaitable[Body]]) -> Body:
        """The first reply to a call that is repeated until there is one; its caller sets the limit."""
        calls: list[asyncio.Future[Body]] = []
        try:
            while True:
                calls.append(asyncio.ensure_future(call()))
                await asyncio.wait(calls, timeout=self._repeat_seconds, return_when=asyncio.FIRST_COMPLETED)
                if replied := next((one for one in calls if one.done()), None):
                    return replied.result()
        finally:
            for one in calls:
                one.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


def spec_of(lease: Body) -> Body:
    """The spec of a Lease; empty if there is none."""
    return lease.get("spec") or {}


def annotations_of(lease: Body) -> dict[str, str]:
    """The annotations of a Lease."""
    return (lease.get("metadata") or {}).get("annotations") or {}
