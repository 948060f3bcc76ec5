"""The path of one survey through the modules of the product: `python -m tests.simulation.survey_path`.

One exporter is ready in a world without faults, and its user requests a run. `sys.setprofile` records what happens:

- from the watch event with the request (`Watch.observe`, called with an object that has the annotation)
- to the POST of the distribution (`exchange` of the transport, which counts as a module, but not what it calls)
- in that call of the watch, in the task that sends the survey, and in the tasks that led to it. Heartbeats, leader
  election, sweeps and later watch events are not on the path.

The *call chain* has the functions that are active when the watch passes the exporter to the work queue
(`WorkQueue.enqueue`), and those that are active when the POST leaves: what a reader follows from the event to the POST,
without the calls that returned before.

The *whole path* has every function that is called on the way. `resource`, `telemetry`, `schedule`, `clock` and
`fair_share` are its *vocabulary*: types, reasons and clocks that every other layer uses. They are counted separately.

A *step* is a call from one module to another one, counted once for each pair of functions; a resumed coroutine is not
called again. A *step back* is a step to a module that the path reached before it reached the module of the caller: a
reader who follows the path returns to a module that they left. A step to the vocabulary is not a step back.

The output is one line for each figure. `--steps` also prints the modules in the order of the path, and the steps back.
"""

import argparse
import asyncio
import sys
from contextvars import ContextVar
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any, NamedTuple

from qualtrics_exporter.resource.names import RUN_REQUESTED_AT

from .simulation import Simulation
from .world import DAY, HOUR, Event, Plan, PlannedExporter, PlannedReplica

PACKAGE = "qualtrics_exporter."
VOCABULARY = ("resource", "telemetry", "schedule", "clock", "fair_share")
START, HANDOVER, END = "Watch.observe", "WorkQueue.enqueue", "create_distribution"
TRANSPORT = ("remote.transport", "Transport.exchange")
Task = object
"""A task, or a value for code outside of tasks."""
OUTSIDE: Task = object()
"""In place of a task, for the call of the watch."""

Function = tuple[str, str]
"""The name of a module, and that of a function in it."""

Step = tuple[str, str, str, str]
"""Module and function of the caller, module and function that it calls. The caller of the first call is empty."""


class Origin(NamedTuple):
    """Where a task was created: the tasks that led to it, and what was active in them."""

    tasks: tuple[Task, ...] = ()
    active: tuple[Function, ...] = ()


_NOWHERE = Origin()
_NEXT: ContextVar[Origin] = ContextVar("next", default=_NOWHERE)
"""The origin of the next task that the current one creates: a new task gets a copy of the context."""


def plan() -> Plan:
    """One exporter, one request, no faults."""
    exporter = PlannedExporter(
        number=0, name="e00", tenant=0, brand=0, shard="a", created=10.0,
        schedule={"frequency": "Weekly", "dayOfWeek": "Sunday", "timeZone": "UTC"}, options={}, size=5, target=0,
    )  # fmt: skip
    return Plan(
        seed=0, enabled=frozenset(), rate=0.0, seconds=DAY / 4, density=0.0, runs=10, instances=1, brands=1,
        list_lag=[0.0], batch_echo=["byId"], import_seconds=[5.0],
        busy_lists=["queue"], contacts=10_000,
        replicas=[PlannedReplica("a0", "a", None, "zone-0", elects=True)], exporters=[exporter],
        events=[Event(10.0, "create", "e00", {}, 0), Event(2 * HOUR, "token", "e00", {"token": "now"}, 1)],
    )  # fmt: skip


class Recorder:
    """The profile function. It records steps with their tasks, from the event to the POST."""

    def __init__(self) -> None:
        self.steps: list[tuple[Task, Step]] = []
        self.chain: list[Function] = []
        """The modules and functions of the call chain."""
        self.tasks: set[Task] | None = None
        """The tasks of the path, once the POST was reached."""
        self._recording = False
        self._watch: FrameType | None = None
        self._modules: dict[CodeType, str] = {}
        self._origins: dict[Task, Origin] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if self.tasks is not None:
            return
        if event == "return":
            if frame is self._watch:
                self._watch = None
            return
        if event != "call":
            return
        code = frame.f_code
        if code.co_code[frame.f_lasti + 1] & 3:
            return  # a coroutine or generator resumes: the argument of its instruction RESUME is not 0
        if self._recording and code.co_name == "create_task":
            origin = self._origin()
            active = (*origin.active, *self._active(frame))
            _NEXT.set(Origin((*origin.tasks, _task()), active))
        if self._recording and code.co_name == "exchange":
            self._reach(frame)
        module = self._module(frame)
        if not module or code.co_name == "<module>":
            return
        if not self._recording and code.co_qualname == START and _requests_run(frame):
            self._recording, self._watch = True, frame
        if self._recording:
            caller = self._caller(frame)
            step = (*caller, module, code.co_qualname)
            self.steps.append((OUTSIDE if self._watch else _task(), step))
            self._origin()
            if self._watch and code.co_qualname == HANDOVER:
                self.chain = self._active(frame)

    def _reach(self, frame: FrameType) -> None:
        if getattr(frame.f_locals.get("request"), "operation", "") != END:
            return
        self.steps.append((_task(), (*self._caller(frame), *TRANSPORT)))
        origin = self._origin()
        self.tasks = {OUTSIDE, _task(), *origin.tasks}
        queue = self.chain[-1][0]
        active = [*origin.active, *self._active(frame)]
        while active[0][0] != queue:  # the functions that started the queue long before
            del active[0]
        self.chain += [*active, TRANSPORT]

    def _origin(self) -> Origin:
        """The origin of the current task. It is empty for a task that is older than the watch event."""
        return self._origins.setdefault(_task(), _NEXT.get())

    def _caller(self, frame: FrameType) -> Function:
        active = self._active(frame.f_back)
        return active[-1] if active else ("", "")

    def _active(self, frame: FrameType | None) -> list[Function]:
        """The active functions of the product, outermost first."""
        found: list[Function] = []
        while frame is not None:
            if module := self._module(frame):
                found.append((module, frame.f_code.co_qualname))
            frame = frame.f_back
        return found[::-1]

    def _module(self, frame: FrameType) -> str:
        """The module of a frame, without the name of the package. Empty for other packages."""
        code = frame.f_code
        if code not in self._modules:
            name = frame.f_globals.get("__name__", "")
            self._modules[code] = name.removeprefix(PACKAGE) if name.startswith(PACKAGE) else ""
        return self._modules[code]


def _requests_run(frame: FrameType) -> bool:
    return RUN_REQUESTED_AT in frame.f_locals["body"]["metadata"].get("annotations", {})


def _task() -> Task:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class Path:
    """A sequence of steps: its modules in order, and its steps back."""

    def __init__(self, steps: list[Step]) -> None:
        self.modules = list(dict.fromkeys(step[2] for step in steps))
        self.vocabulary = [module for module in self.modules if _is_vocabulary(module)]
        order = {module: number for number, module in enumerate(self.modules)}
        self.back = [
            (a, f, b, g)
            for a, f, b, g in dict.fromkeys(steps)
            if a and a != b and not _is_vocabulary(b) and order[b] < order.get(a, 0)
        ]

    def __str__(self) -> str:
        others = len(self.modules) - len(self.vocabulary)
        more = f" and {len(self.vocabulary)} of the vocabulary" if self.vocabulary else ""
        return f"{others} modules{more}, {len(self.back)} steps back"

    def details(self) -> str:
        """The modules in order, and the steps back."""
        lines = [f"  {module}{' (vocabulary)' if _is_vocabulary(module) else ''}" for module in self.modules]
        lines += [f"  back: {a}:{f} -> {b}:{g}" for a, f, b, g in self.back]
        return "\n".join(lines)


def _is_vocabulary(module: str) -> bool:
    return module.partition(".")[0] in VOCABULARY


def record() -> tuple[Path, Path]:
    """Run the world. Returns the call chain and the whole path of its survey."""
    simulation, recorder = Simulation(plan()), Recorder()
    sys.setprofile(recorder)
    try:
        simulation.run()
    finally:
        sys.setprofile(None)
    if recorder.tasks is None:
        raise LookupError(f"no request {END!r} followed a call of {START} with the annotation {RUN_REQUESTED_AT}")
    chain = [(*caller, *called) for caller, called in pairwise([("", ""), *recorder.chain])]
    return Path(chain), Path([step for task, step in recorder.steps if task in recorder.tasks])


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.survey_path", description=__doc__)
    parser.add_argument("--steps", action="store_true", help="print the modules and the steps back")
    options = parser.parse_args(arguments)
    chain, whole = record()
    for title, path in ("call chain from the watch event to the POST", chain), ("whole path", whole):
        print(f"{title}: {path}")
        if options.steps:
            print(path.details())


if __name__ == "__main__":
    main()
