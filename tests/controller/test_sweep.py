"""The sweep finds changes that a watch does not report, and restarts a watch that reports none of them."""

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


class SweptWatch:
    """A watch that receives only the events of the test, and its sweep."""

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
        self.sweep = Sweep(cluster, self.watch, clock, selector=None, metrics=metrics)

    def versions(self) -> dict[str, str]:
        return {key.name: version for key, version in self.queue.known()}

    async def event(self, kind: Any, body: dict[str, Any]) -> None:
        await self.watch._on_event({"type": kind, "object": body})  # type: ignore[typeddict-item]

    async def next_sweep(self) -> None:
        await self.paused.wake_and_wait()


async def _never(*_: object) -> Wake:
    raise AssertionError("no replica leads in these tests")


@asynccontextmanager
async def sweeping() -> AsyncIterator[SweptWatch]:
    swept = SweptWatch()
    task = asyncio.create_task(swept.sweep.run())
    try:
        yield swept
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_sweep_finds_new_changed_and_deleted_exporters() -> None:
    async with sweeping() as swept:
        await swept.event("ADDED", swept.cluster.put("changed", 1))
        await swept.event("ADDED", swept.cluster.put("deleted", 1))
        swept.cluster.put("changed", 2)
        swept.cluster.put("new", 3)
        del swept.cluster.exporters["deleted"]
        await swept.next_sweep()
        assert swept.versions() == {"changed": "2", "new": "3"}


async def test_sweep_without_changes_does_not_restart_the_watch() -> None:
    async with sweeping() as swept:
        await swept.event("ADDED", swept.cluster.put("one", 1))
        await swept.next_sweep()
        await swept.next_sweep()
        assert swept.restarts == []
        assert swept.watch.problem is None


async def test_silent_watch_is_restarted_by_each_sweep_and_reported_after_two() -> None:
    async with sweeping() as swept:
        swept.cluster.put("one", 1)
        await swept.next_sweep()
        assert swept.restarts == ["a"]
        assert swept.watch.problem is None
        swept.cluster.put("one", 2)
        await swept.next_sweep()
        assert swept.restarts == ["a", "a"]
        assert swept.watch.problem == "exporters change, but the watch does not report it"
        await swept.event("MODIFIED", swept.cluster.put("one", 3))
        assert swept.watch.problem is None


async def test_failed_sweep_is_followed_by_another_one() -> None:
    async with sweeping() as swept:
        swept.cluster.put("one", 1)
        swept.cluster.problem = ClusterError("list timed out")
        await swept.next_sweep()
        assert swept.versions() == {}
        swept.cluster.problem = None
        await swept.next_sweep()
        assert swept.versions() == {"one": "1"}
