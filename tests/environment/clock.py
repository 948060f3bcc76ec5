"""A clock that tests hold in their hands, also for another process.

The time is the machine's time plus what the test added, so that nothing stands still and a week passes in an
instant. The additions can live in a small file. An event loop of a process that was given the same path looks at the
file every 20 ms while any of its tasks sleeps, and wakes the tasks when something was added.
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
from tests.environment.waiting import HANG_SECONDS

POLL_SECONDS = 0.02
HEARTBEAT = "heartbeat of "
"""How the names of the tasks begin that show that the holder of a run is alive (`controller.status.journal`)."""


def watches_a_limit() -> bool:
    """Whether the current task only waits for a time limit to pass: nobody is kept waiting by that sleep."""
    task = asyncio.current_task()
    return task is not None and task.get_name() == TASK_NAME


def in_background() -> bool:
    """Whether the current task only watches a time limit or writes heartbeats: a run does not wait for that sleep."""
    task = asyncio.current_task()
    return watches_a_limit() or (task is not None and task.get_name().startswith(HEARTBEAT))


class SteeredClock:
    """Implements `qualtrics_exporter.clock.Clock`: real time, plus what `advance` added.

    `start` sets the wall clock once, by whoever creates the file (or the clock without a file); a process that
    only follows leaves it out.
    """

    def __init__(self, path: Path | None = None, *, start: datetime | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()  # a test and the thread that makes its time pass both set it
        self._advanced = 0.0  # seconds on both clocks
        self._wall = 0.0  # seconds on the wall clock only
        self._version = 0  # of the file that was read last
        self._sleepers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._limits: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._watchers: set[asyncio.Event] = set()
        self._followers: set[asyncio.AbstractEventLoop] = set()  # that look at the file again and again
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
        """Return when that many seconds have passed by this clock: really, or because somebody advanced it."""
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
        """How many seconds were added to both clocks."""
        self._read()
        return self._advanced

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass at once, on both clocks; whoever slept long enough wakes."""
        if seconds < 0:
            raise ValueError("time passes forwards; set_wall() sets the wall clock back")
        with self._lock:
            self._read()
            self._advanced += seconds
            self._write()
        self._wake()

    def advance_to(self, moment: datetime) -> None:
        """Let time pass until the wall clock shows that moment, if it does not yet."""
        self.advance(max(0.0, (moment - self.now()).total_seconds()))

    def set_wall(self, moment: datetime) -> None:
        """Set the wall clock, forwards or back; `monotonic` and sleepers notice nothing."""
        with self._lock:
            self._wall += (moment - self.now()).total_seconds()
            self._write()

    @property
    def sleepers(self) -> int:
        """How many tasks of this process sleep by this clock, without those that watch a time limit."""
        return len(self._sleepers)

    async def asleep(self, sleepers: int = 1, *, timeout: float = HANG_SECONDS) -> None:
        """Wait until so many tasks of this process sleep by this clock; TimeoutError after so many real seconds."""
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
        """Look at the file now and again for all tasks of a loop: one look for each task would cost far more."""
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
            if version == self._version:  # most often, and to look costs a tenth of reading
                return
            state = json.loads(self._path.read_text(encoding="utf-8"))
            self._advanced, self._wall, self._version = state["advanced"], state["wall"], version
        except FileNotFoundError:
            return

    def _write(self) -> None:
        if self._path is None:
            return
        # A new file each time, put in place in one step: a reader sees the old one or the new one.
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fresh.write_text(json.dumps({"advanced": self._advanced, "wall": self._wall}), encoding="utf-8")
        # The file system's own times are too coarse to tell two writes apart.
        os.utime(fresh, ns=(time.time_ns(),) * 2)
        fresh.replace(self._path)


class AutoAdvancingClock(SteeredClock):
    """Whoever sleeps by it makes the time pass."""

    async def sleep(self, seconds: float) -> None:
        if in_background():
            await super().sleep(seconds)
            return
        self.advance(max(0.0, seconds))
        await super().sleep(0)
