"""The Lease of the leader election, read and written without waiting for a lost response.

A connection that breaks silently would cost a leader its term. So a call without a response is repeated on another
connection, and the first response counts. That is safe: reads have no effect, and the resourceVersion lets only one of
several equal writes take effect. After a conflict the Lease is read again: the other write may be our own, whose
response was lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import Conflict, NotFound

Body = dict[str, Any]


class Lease:
    """One Lease. `repeat_seconds` is how long a call waits for its response before it is repeated."""

    def __init__(self, cluster: ClusterApi, namespace: str, name: str, *, repeat_seconds: float) -> None:
        self._cluster = cluster
        self.namespace, self.name = namespace, name
        self._repeat_seconds = repeat_seconds

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    async def read(self) -> Body:
        """The current Lease; empty if it does not exist. Raises `ClusterError`."""
        try:
            return await self._repeat_until_response(lambda: self._cluster.get_lease(self.namespace, self.name))
        except NotFound:
            return {}

    async def write(self, before: Body, spec: Body, annotations: Mapping[str, str | None]) -> Body:
        """Replace the Lease that was read as `before`, or create it if `before` is empty. Returns the written Lease.

        Annotations that are None are removed. Raises `Conflict` if another client wrote in the meantime, `NotFound` if
        the Lease was deleted, and another `ClusterError` if it is unknown whether the write took effect.
        """
        changed = {**annotations_of(before), **annotations}
        metadata = {
            **(before.get("metadata") or {}),
            "namespace": self.namespace,
            "name": self.name,
            "annotations": {key: value for key, value in changed.items() if value is not None},
        }
        body = {**before, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        try:
            if before:
                return await self._repeat_until_response(
                    lambda: self._cluster.replace_lease(self.namespace, self.name, body)
                )
            return await self._repeat_until_response(lambda: self._cluster.create_lease(self.namespace, body))
        except Conflict:
            current = await self.read()
            if spec_of(current) != spec:  # the times have microseconds: no other client writes the same spec
                raise
            return current

    async def _repeat_until_response(self, call: Callable[[], Awaitable[Body]]) -> Body:
        """Repeat a call until one of its repetitions gets a response; the caller limits the time."""
        calls: list[asyncio.Future[Body]] = []
        try:
            while True:
                calls.append(asyncio.ensure_future(call()))
                await asyncio.wait(calls, timeout=self._repeat_seconds, return_when=asyncio.FIRST_COMPLETED)
                if first := next((one for one in calls if one.done()), None):
                    return first.result()
        finally:
            for one in calls:
                one.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


def spec_of(lease: Body) -> Body:
    """The spec of a Lease; empty if the Lease has none."""
    return lease.get("spec") or {}


def annotations_of(lease: Body) -> dict[str, str]:
    return (lease.get("metadata") or {}).get("annotations") or {}
