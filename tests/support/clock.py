"""A clock that tests control, also for other processes.

Its time is the time of the machine plus the time that the test has added. So it never stops, and a test can let a week
pass at once. The added time can be in a small file. A process with a clock for the same file reads it every 20 ms while
one of its tasks sleeps, and wakes its tasks when time was added.
"""

import asyncio
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qualtrics_exporter.clock import SystemClock
from qualtrics_exporter.remote.time_limit import TASK_NAME
from tests.support.waiting import HANG_SECONDS

POLL_SECONDS = 0.02
HEARTBEAT = "heartbeat of "
"""The prefix of the names of tasks that write heartbeats of a run (`controller.status.journal`)."""


def watches_a_limit() -> bool:
    """Return whether the current task only enforces a time limit: nothing waits for its sleep."""
    task = asyncio.current_task()
    return task is not None and task.get_name() == TASK_NAME


def in_background() -> bool:
    """Return whether the current task only enforces a time limit or writes heartbeats: no run waits for its sleep."""
    task = asyncio.current_task()
    return watches_a_limit() or (task is not None and task.get_name().startswith(HEARTBEAT))


class SteeredClock:
    """Implements `qualtrics_exporter.clock.Clock`: real time, plus the time that `advance` has added.

    `start` sets the wall clock. A process that only follows the file of another process does not pass it.
    """

    def __init__(self, path: Path | None = None, *, start: datetime | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()  # a test and the thread that advances its time both change the time
        self._advanced = 0.0  # seconds on both clocks
        self._wall = 0.0  # seconds on the wall clock only
        self._version = 0  # of the file that was read last
        self._sleepers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._limits: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._watchers: set[asyncio.Event] = set()
        self._followers: set[asyncio.AbstractEventLoop] = set()  # those that poll the file
        if start is not None:
            self._read()
            self._wall = start.timestamp() - self._machine_wall() - self._advanced
            self._write()

    def now(self) -> datetime:
        self._read()
        return datetime.fromtimestamp(self._machine_wall(), UTC) + timedelta(seconds=self._advanced + self._wall)

    def monotonic(self) -> float:
        self._read()
        return self._machine() + self._advanced

    def _machine(self) -> float:
        return time.monotonic()

    def _machine_wall(self) -> float:
        return time.time()

    def uptime(self) -> float:
        return SystemClock().uptime()

    async def sleep(self, seconds: float) -> None:
        """Sleep for this number of seconds of this clock. They pass in real time, or when a test advances the clock."""
        wake_at = self.monotonic() + seconds
        sleepers = self._limits if watches_a_limit() else self._sleepers
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        while (left := wake_at - self.monotonic()) > 0:
            event = asyncio.Event()
            sleeper = (loop, event)
            sleepers.add(sleeper)
            if self._path is not None and loop not in self._followers:
                self._followers.add(loop)
                self._follow(loop, self._version)
            for watcher in self._watchers:
                watcher.set()
            try:
                async with asyncio.timeout(left):
                    await event.wait()
            except TimeoutError:
                continue
            finally:
                sleepers.discard(sleeper)

    def advanced(self) -> float:
        """Return the number of seconds that were added to both clocks."""
        self._read()
        return self._advanced

    def advance(self, seconds: float) -> None:
        """Add this number of seconds to both clocks, and wake the tasks whose sleep is over."""
        if seconds < 0:
            raise ValueError("the time cannot go back; set_wall() sets the wall clock back")
        with self._lock:
            self._read()
            self._advanced += seconds
            self._write()
        self._wake()

    def advance_to(self, moment: datetime) -> None:
        """Advance both clocks until the wall clock shows this time, unless it is later already."""
        self.advance(max(0.0, (moment - self.now()).total_seconds()))

    def set_wall(self, moment: datetime) -> None:
        """Set the wall clock forward or back. `monotonic` does not change, and no task wakes."""
        with self._lock:
            self._wall += (moment - self.now()).total_seconds()
            self._write()

    @property
    def sleepers(self) -> int:
        """The number of tasks of this process that sleep, without those that enforce a time limit."""
        return len(self._sleepers)

    async def asleep(self, sleepers: int = 1, *, timeout: float = HANG_SECONDS) -> None:
        """Wait until this number of tasks of this process sleep. Raise TimeoutError after `timeout` real seconds."""
        async with asyncio.timeout(timeout):
            while self.sleepers < sleepers:
                watcher = asyncio.Event()
                self._watchers.add(watcher)
                try:
                    await watcher.wait()
                finally:
                    self._watchers.discard(watcher)

    def _wake(self) -> None:
        for loop, event in (*self._sleepers, *self._limits):
            loop.call_soon_threadsafe(event.set)

    def _follow(self, loop: asyncio.AbstractEventLoop, version: int) -> None:
        """Poll the file for all tasks of a loop: a poll for each task would take far more processor time."""
        sleeping = [event for of, event in (*self._sleepers, *self._limits) if of is loop]
        if not sleeping:
            self._followers.discard(loop)
            return
        self._read()
        if self._version != version:
            for event in sleeping:
                event.set()
        loop.call_later(POLL_SECONDS, self._follow, loop, self._version)

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            version = self._path.stat().st_mtime_ns
            if version == self._version:  # the usual case: this check takes a tenth of the time of reading
                return
            state = json.loads(self._path.read_text(encoding="utf-8"))
            self._advanced, self._wall, self._version = state["advanced"], state["wall"], version
        except FileNotFoundError:
            return

    def _write(self) -> None:
        if self._path is None:
            return
        # A new file replaces the old one in one step, so a reader sees either of them.
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fresh.write_text(json.dumps({"advanced": self._advanced, "wall": self._wall}), encoding="utf-8")
        # The clock of the file system is too coarse to distinguish two writes.
        os.utime(fresh, ns=(time.time_ns(),) * 2)
        fresh.replace(self._path)


class AutoAdvancingClock(SteeredClock):
    """A sleep does not wait: it advances the clock instead."""

    async def sleep(self, seconds: float) -> None:
        if in_background():
            await super().sleep(seconds)
            return
        self.advance(max(0.0, seconds))
        await super().sleep(0)
