"""The sweep finds what a watch does not report, and restarts a watch that reports nothing although exporters change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller.kube.api import ObjectKey
from qualtrics_exporter.controller.kube.errors import ClusterError, NotFound
from qualtrics_exporter.controller.plan.wake import Wake
from qualtrics_exporter.controller.sweep import Sweep
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.controller.watch import Watch
from qualtrics_exporter.controller.work_queue import WorkQueue
from qualtrics_exporter.telemetry.metrics import Metrics
from tests.controller.fake_api import exporter
from tests.environment.clock import SteeredClock


class FakeCluster:
    """Exporters by name, in one namespace."""

    def __init__(self) -> None:
        self.exporters: dict[str, dict[str, Any]] = {}
        self.problem: ClusterError | None = None

    def put(self, name: str, version: int) -> dict[str, Any]:
        self.exporters[name] = exporter("a", name, version)
        return self.exporters[name]

    async def list_metadata(self, namespace: str | None, selector: str | None = None) -> AsyncIterator[ObjectKey]:
        if self.problem:
            raise self.problem
        for name, body in list(self.exporters.items()):
            metadata = body["metadata"]
            yield ObjectKey("a", name, metadata["uid"], metadata["resourceVersion"], metadata["generation"])

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        if name not in self.exporters:
            raise NotFound
        return self.exporters[name]


class PausedClock(SteeredClock):
    """A clock whose sleeper waits until the test lets it continue."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeping = asyncio.Event()
        self._wakeups: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        self.sleeping.set()
        await self._wakeups.get()

    async def wake_and_wait(self) -> None:
        """Wake the sleeper, and return when it sleeps again."""
        await self.sleeping.wait()
        self.sleeping.clear()
        self._wakeups.put_nowait(None)
        await self.sleeping.wait()


class Swept:
    """A watch that reports only the events of the test, and its sweep."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.paused = PausedClock()
        clock = WatchedClock(self.paused)
        self.queue = WorkQueue(_never, clock)
        cluster: Any = self.cluster
        metrics = Metrics()
        self.watch = Watch(
            cluster, self.queue, Targets(), clock, namespaces=("a",), selector=None, default_zone="UTC",
            metrics=metrics,
        )  # fmt: skip
        self.restarts: list[str] = []
        self.watch.namespaces["a"].restart = lambda: self.restarts.append("a")  # type: ignore[method-assign]
        self.sweep = Sweep(cluster, self.watch, clock, None, metrics)

    def versions(self) -> dict[str, str]:
        return {key.name: version for key, version in self.queue.known()}

    async def event(self, kind: Any, body: dict[str, Any]) -> None:
        await self.watch._on_event({"type": kind, "object": body})  # type: ignore[typeddict-item]

    async def next_sweep(self) -> None:
        await self.paused.wake_and_wait()


async def _never(*_: object) -> Wake:
    raise AssertionError("nobody leads here")


@asynccontextmanager
async def swept() -> AsyncIterator[Swept]:
    made = Swept()
    task = asyncio.create_task(made.sweep.run())
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_sweep_finds_new_changed_and_deleted_exporters() -> None:
    async with swept() as made:
        await made.event("ADDED", made.cluster.put("changed", 1))
        await made.event("ADDED", made.cluster.put("deleted", 1))
        made.cluster.put("changed", 2)
        made.cluster.put("new", 3)
        del made.cluster.exporters["deleted"]
        await made.next_sweep()
        assert made.versions() == {"changed": "2", "new": "3"}


async def test_a_sweep_without_changes_leaves_the_watch_alone() -> None:
    async with swept() as made:
        await made.event("ADDED", made.cluster.put("one", 1))
        await made.next_sweep()
        await made.next_sweep()
        assert made.restarts == []
        assert made.watch.problem is None


async def test_a_silent_watch_is_restarted_and_reported_after_two_sweeps() -> None:
    async with swept() as made:
        made.cluster.put("one", 1)
        await made.next_sweep()
        assert made.restarts == ["a"]
        assert made.watch.problem is None
        made.cluster.put("one", 2)
        await made.next_sweep()
        assert made.restarts == ["a", "a"]
        assert made.watch.problem == "exporters change, but the watch does not report it"
        await made.event("MODIFIED", made.cluster.put("one", 3))
        assert made.watch.problem is None


async def test_a_sweep_that_fails_is_followed_by_another_one() -> None:
    async with swept() as made:
        made.cluster.put("one", 1)
        made.cluster.problem = ClusterError("list timed out")
        await made.next_sweep()
        assert made.versions() == {}
        made.cluster.problem = None
        await made.next_sweep()
        assert made.versions() == {"one": "1"}
