"""An asyncio event loop on virtual time that can kill or pause some of its tasks.

When nothing is ready, the loop jumps to the next timer, so `asyncio.sleep` and `asyncio.timeout` take no real time.
Every callback belongs to the process that `PROCESS` names in its context. Without one, it belongs to no process. A
killed process loses all its callbacks at once, as with SIGKILL: no `finally` block and no cancellation runs.
A paused process keeps its callbacks and runs them when it resumes. Meanwhile, time passes for all others.
"""

import asyncio
import contextvars
import gc
import heapq
import itertools
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

MAX_STEPS_AT_ONE_INSTANT = 500_000
"""More steps than this without any progress of time are a livelock."""


class Livelock(Exception):
    """The code under test never waits."""


class Process:
    """A group of tasks that are killed together: one replica of the controller."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.paused = False
        self.deferred: list[Handle] = []
        self.tasks_left: list[asyncio.Task[Any]] = []
        """References to the tasks of a killed process, so that their `finally` blocks do not run."""
        self.strike: Callable[[], None] | None = None
        """Called when `countdown` more callbacks of this process have run."""
        self.countdown = 0

    def strike_after(self, steps: int, strike: Callable[[], None]) -> None:
        """Call `strike` between two steps of this process, `steps` steps from now."""
        self.strike, self.countdown = strike, steps


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Handle:
    """A callback that waits for its turn."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_when")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context, when: float
    ) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._context = context
        self._cancelled = False
        self._when = when

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when


class Task(asyncio.Task[T]):
    """A task whose hash is its number, so that sets of tasks have the same order in every run of a seed."""

    def __init__(self, coro: Coroutine[Any, Any, T], number: int, process: Process | None, **options: Any) -> None:
        self._number = number
        self.process = process
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


if TYPE_CHECKING:
    _Base = Any  # its other methods are never called
else:
    _Base = asyncio.AbstractEventLoop


class VirtualLoop(_Base):  # type: ignore[misc]
    """The event loop. `run_until` plays the world up to a point in virtual time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._order = itertools.count()
        self._tasks = itertools.count(1)
        self._closed = False
        self._world = contextvars.Context()
        self.steps = 0
        self.stopped = False
        """Set it to end `run_until` at the next step."""
        self.errors: list[str] = []
        """Exceptions that nothing caught: in callbacks, and in tasks that nothing awaits."""

    # Running.

    def run_until(self, end: float) -> None:
        """Run everything that is due up to `end`, then set the time to `end`."""
        previous = events._get_running_loop()
        events._set_running_loop(self)
        try:
            self._run(end)
        finally:
            events._set_running_loop(previous)

    def _run(self, end: float) -> None:
        ready, timers = self._ready, self._timers
        while not self.stopped:
            steps = 0
            while ready and not self.stopped:
                handle = ready.popleft()
                callback = handle._callback
                if callback is None:
                    continue
                process = handle._context.get(PROCESS)
                if process is not None:
                    if process.dead:
                        continue
                    if process.paused:
                        process.deferred.append(handle)
                        continue
                steps += 1
                try:
                    handle._context.run(callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except Exception as error:
                    if process is None:
                        raise
                    self.errors.append(f"{process.name}: {type(error).__name__}: {error}")
                if process is not None and process.strike is not None:
                    process.countdown -= 1
                    if process.countdown <= 0:
                        strike, process.strike = process.strike, None
                        strike()
                if steps > MAX_STEPS_AT_ONE_INSTANT:
                    raise Livelock(f"more than {MAX_STEPS_AT_ONE_INSTANT} steps at {self._now:.3f} s")
            self.steps += steps
            while timers and timers[0][2]._callback is None:
                heapq.heappop(timers)
            if not timers or timers[0][0] > end:
                self._now = max(self._now, end)
                return
            self._now = max(self._now, timers[0][0])
            while timers and timers[0][0] <= self._now:
                ready.append(heapq.heappop(timers)[2])

    # Processes.

    def kill(self, process: Process) -> None:
        """End the process where it is. Its requests still have their effect, and their replies are lost."""
        process.dead = True
        process.strike = None
        process.tasks_left = sorted(
            (task for task in asyncio.all_tasks(self) if isinstance(task, Task) and task.process is process),
            key=hash,
        )
        process.deferred.clear()  # this may be the last reference to a task, so only now

    def pause(self, process: Process) -> None:
        """Stop the process, like SIGSTOP."""
        process.paused = True

    def resume(self, process: Process) -> None:
        """Resume the process. It first runs what became due in the meantime."""
        process.paused = False
        self._ready.extend(process.deferred)
        process.deferred.clear()

    def spawn(self, process: Process, main: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task that belongs to the process. Everything that it starts belongs to the process too."""
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        task: asyncio.Task[Any] = self.create_task(main, name=name, context=context)
        return task

    def outside(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call back after `delay` seconds, outside of all processes: no kill and no pause prevents it."""
        handle: Handle = self.call_at(self._now + delay, callback, *args, context=self._world)
        return handle

    def dispose(self, *, collect: bool = True) -> None:
        """Dispose of all tasks. The loop does not run any more, so they have no effect.

        Without `collect`, they stay in memory until the process ends.
        """
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            for task in sorted(asyncio.all_tasks(self), key=hash):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coroutine = task.get_coro()
                for _ in range(50):
                    try:
                        coroutine.close()
                    except BaseException:  # noqa: BLE001 - a `finally` block that awaits: close it further
                        continue
                    break
                del coroutine
            if collect:
                gc.collect()
        finally:
            sys.unraisablehook = hook
        self.errors.clear()

    # The methods that asyncio calls.

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, context if context is not None else contextvars.copy_context(), self._now)
        if not self._closed:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, context if context is not None else contextvars.copy_context(), when)
        if not self._closed:
            heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> Any:
        process = context.get(PROCESS) if context is not None else PROCESS.get()
        return Task(coro, next(self._tasks), process, loop=self, name=name or "task", context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Run the function in the next step of the loop: the order of threads does not follow from the seed."""
        future = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001
                future.set_exception(error)

        self.call_soon(work)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return events._get_running_loop() is self

    def is_closed(self) -> bool:
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.errors.append(f"{context.get('message')}: {type(error).__name__}: {error}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    async def shutdown_asyncgens(self) -> None:
        return None

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        return None
