"""A watch of the operator and the work queue that it fills, for tests without a leader and without a cluster."""

from collections.abc import AsyncIterator
from typing import Any

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller.kube.api import ObjectKey
from qualtrics_exporter.controller.kube.errors import ClusterError, NotFound
from qualtrics_exporter.controller.kube.namespace_watch import TIMINGS, Timings
from qualtrics_exporter.controller.plan.wake import Wake
from qualtrics_exporter.controller.queue.work_queue import WorkQueue
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.controller.watch import Watch
from qualtrics_exporter.telemetry.metrics import Metrics

Objects = dict[tuple[str, str], dict[str, Any]]
"""Exporters by namespace and name."""


class FakeCluster:
    """The calls of checks and sweeps. They raise the `problems` of a namespace."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.problems: dict[str | None, ClusterError] = {}

    async def check_list(self, namespace: str | None, selector: str | None = None) -> None:
        if problem := self.problems.get(namespace):
            raise problem

    async def check_watch(self, namespace: str | None) -> None:
        if problem := self.problems.get(namespace):
            raise problem

    async def list_metadata(self, namespace: str | None, selector: str | None = None) -> AsyncIterator[ObjectKey]:
        if problem := self.problems.get(namespace):
            raise problem
        for (stored_in, name), body in list(self.objects.items()):
            if namespace in (None, stored_in):
                metadata = body["metadata"]
                yield ObjectKey(stored_in, name, metadata["uid"], metadata["resourceVersion"], metadata["generation"])

    async def get(self, namespace: str, name: str) -> Any:
        if (namespace, name) not in self.objects:
            raise NotFound
        return self.objects[namespace, name]


class WatchWithQueue:
    """A watch of these namespaces, and the work queue that it fills."""

    def __init__(self, objects: Objects, clock: WatchedClock, *namespaces: str, timings: Timings = TIMINGS) -> None:
        self.cluster = FakeCluster(objects)
        self.metrics = Metrics()
        self.queue = WorkQueue(_never, clock)
        cluster: Any = self.cluster
        self.watch = Watch(
            cluster, self.queue, Targets(), clock, namespaces=namespaces, selector=None, default_zone="UTC",
            metrics=self.metrics, timings=timings,
        )  # fmt: skip

    def versions(self) -> dict[str, str]:
        """The resourceVersion of each exporter in the queue, by namespace and name."""
        return {str(key): version for key, version in self.queue.known()}

    def names(self) -> set[str]:
        """The namespace and name of each exporter in the queue."""
        return set(self.versions())


async def _never(*_: object) -> Wake:
    raise AssertionError("no replica leads in these tests")
