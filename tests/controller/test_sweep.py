"""The sweep finds changes that a watch does not report, and restarts a watch that reports none of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller.kube.errors import ClusterError
from qualtrics_exporter.controller.sweep import Sweep
from tests.controller.fake_api import exporter
from tests.controller.watch_with_queue import WatchWithQueue
from tests.support.clock import SteeredClock


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


class SweptWatch(WatchWithQueue):
    """A watch that receives only the events of the test, and its sweep."""

    def __init__(self) -> None:
        self.paused = PausedClock()
        clock = WatchedClock(self.paused)
        super().__init__({}, clock, "a")
        self.restarts: list[str] = []
        self.watch.namespaces["a"].restart = lambda: self.restarts.append("a")  # type: ignore[method-assign]
        cluster: Any = self.cluster
        self.sweep = Sweep(cluster, self.watch, clock, None, self.metrics)

    def put(self, name: str, version: int) -> dict[str, Any]:
        """Store an exporter without an event."""
        self.cluster.objects["a", name] = exporter("a", name, version)
        return self.cluster.objects["a", name]

    async def event(self, kind: Any, body: dict[str, Any]) -> None:
        await self.watch._on_event({"type": kind, "object": body})  # type: ignore[typeddict-item]

    async def next_sweep(self) -> None:
        await self.paused.wake_and_wait()


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
        await swept.event("ADDED", swept.put("changed", 1))
        await swept.event("ADDED", swept.put("deleted", 1))
        swept.put("changed", 2)
        swept.put("new", 3)
        del swept.cluster.objects["a", "deleted"]
        await swept.next_sweep()
        assert swept.versions() == {"a/changed": "2", "a/new": "3"}


async def test_sweep_without_changes_does_not_restart_the_watch() -> None:
    async with sweeping() as swept:
        await swept.event("ADDED", swept.put("one", 1))
        await swept.next_sweep()
        await swept.next_sweep()
        assert swept.restarts == []
        assert swept.watch.problem is None


async def test_silent_watch_is_restarted_by_each_sweep_and_reported_after_two() -> None:
    async with sweeping() as swept:
        swept.put("one", 1)
        await swept.next_sweep()
        assert swept.restarts == ["a"]
        assert swept.watch.problem is None
        swept.put("one", 2)
        await swept.next_sweep()
        assert swept.restarts == ["a", "a"]
        assert swept.watch.problem == "exporters change, but the watch does not report it"
        await swept.event("MODIFIED", swept.put("one", 3))
        assert swept.watch.problem is None


async def test_failed_sweep_is_followed_by_another_one() -> None:
    async with sweeping() as swept:
        swept.put("one", 1)
        swept.cluster.problems["a"] = ClusterError("list timed out")
        await swept.next_sweep()
        assert swept.versions() == {}
        swept.cluster.problems.clear()
        await swept.next_sweep()
        assert swept.versions() == {"a/one": "1"}
