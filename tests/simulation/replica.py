"""One replica of the controller.

`Replica.start` builds the real `Operator` with a simulated clock, cluster and network, and runs its watch, sweep and
election. The simulated watch calls the handler that Kopf would call.
"""

import asyncio
import contextvars
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qualtrics_exporter.controller.app import Operator, Parts, build
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.election.leader_election import LeaderElection
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.export.query_texts import QueryTexts, at_once
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.loop_time import LoopTime
from qualtrics_exporter.telemetry.metrics import Metrics

from .api_server import Body
from .clock import ReplicaClock
from .cluster import SimulatedCluster
from .loop import PROCESS, Process
from .patches import IDLE_SECONDS
from .watch_stream import WatchStream

if TYPE_CHECKING:
    from .simulation import Simulation

OPERATOR_NAMESPACE = "operator"
# The real 15, 10 and 2 seconds would use most of the CPU.
LEASE, DEADLINE, RETRY = 2000.0, 1600.0, 500.0
TAKEOVER = LEASE + RETRY + 60
"""Seconds after which a standby leads if the leader is lost."""


class Replica:
    """A pod: it can be killed, paused, stopped and started again, each time as a new process."""

    def __init__(
        self,
        simulation: "Simulation",
        name: str,
        *,
        shard: str,
        selector: str | None,
        runs: int,
        zone: str,
        elects: bool,
    ) -> None:
        self.simulation = simulation
        self.name = name
        self.shard = shard
        self.offset = 0.0
        self._selector = selector
        self._runs = runs
        self._elects = elects
        self._zone = zone
        self._starts = 0
        self.process: Process | None = None
        self.stream: WatchStream | None = None
        self.clock: ReplicaClock | None = None
        self.operator: Operator | None = None
        self.ended = 0
        """How often the process ended by itself."""
        self._stop: asyncio.Event | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and not self.process.dead

    @property
    def leading(self) -> bool:
        """Whether this replica works on exporters now."""
        return bool(self.running and self.operator and self.operator.queue.leading)

    def known(self) -> set[tuple[str, str, str]]:
        """Namespace, name and uid of the exporters that this replica manages."""
        assert self.operator is not None
        return {(key.namespace, key.name, key.uid) for key, _ in self.operator.queue.known()}

    def left_over(self) -> set[str]:
        """The uids of exporters that this process still remembers, although they have left the work queue."""
        assert self.operator is not None
        operator = self.operator
        remembered = {key.uid for key in (*operator.memories._known, *operator.targets._targets)}
        assert operator.metrics.exporters is not None
        remembered |= operator.metrics.exporters.uids()
        return remembered - operator.queue._items.keys()

    def start(self) -> None:
        """Start a new process."""
        if self.running:
            return
        self._starts += 1
        process = self.process = Process(f"{self.name}.{self._starts}")
        self.simulation.loop.spawn(process, self._main(process), process.name)
        self.simulation.trace(self.name, "starts")

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.running:
            self.simulation.trace(self.name, "is killed")
            self.simulation.loop.kill(self.process)
            self.simulation.dead_processes.append(self.process)
            if self.stream:
                self.stream.close()

    def pause(self) -> None:
        if self.process is not None and self.running:
            self.simulation.trace(self.name, "is paused")
            self.simulation.loop.pause(self.process)

    def resume(self) -> None:
        if self.process is not None and self.running and self.process.paused:
            self.simulation.trace(self.name, "resumes")
            self.simulation.resumed = self.simulation.now
            self.simulation.loop.resume(self.process)

    def stop(self) -> None:
        """SIGTERM: the replica stops its work and ends."""
        if self._stop is not None and self.running:
            self.simulation.trace(self.name, "is asked to stop")
            self._stop.set()

    def set_clock(self, offset: float) -> None:
        """Step the wall clock of this replica."""
        self.offset = offset
        if self.clock:
            self.clock.offset = offset
        self.simulation.trace(self.name, "has its clock off by", offset)

    def strike_after(self, steps: int, strike: Callable[[], None]) -> None:
        if self.process is not None and self.running:
            self.process.strike_after(steps, strike)

    async def _main(self, process: Process) -> None:
        simulation = self.simulation
        self._stop = stop = asyncio.Event()
        self.clock = ReplicaClock(simulation.loop.time, self.offset)
        cluster: Any = SimulatedCluster(simulation.server, simulation.loop, simulation.faults, process.name, self._zone)
        cluster.calling = self._calling
        metrics = Metrics()
        transport: Any = simulation.network.transport(process.name, self._calling)
        context = ApiContext(
            clock=self.clock, transport=transport, observe=metrics.observe, loop_time=LoopTime(lambda: 0.0)
        )
        settings = Settings(
            selector=self._selector,
            max_concurrent_runs=self._runs,
            leader_election=self._elects,
            lease_namespace=OPERATOR_NAMESPACE,
            lease_name=f"lease-{self.shard}",
            time_zone="UTC",
        )
        operator = self.operator = build(
            settings,
            cluster,
            self.clock,
            clients=ClientFactory(cluster, context, QueryTexts(at_once)),  # threads would not follow the virtual time
            metrics=metrics,
            instance=self.name,
            pod=self.name,
            parts=Parts(
                elect=functools.partial(
                    LeaderElection,
                    lease=LEASE,
                    deadline=DEADLINE,
                    retry=RETRY,
                    on_deadline_missed=lambda: self._exit(process, "did not stop its work in time"),
                ),
                nap_seconds=IDLE_SECONDS,
                step_seconds=IDLE_SECONDS,
            ),
        )
        self.stream = WatchStream(
            simulation.server,
            simulation.loop,
            simulation.faults,
            self._selector,
            lambda kind, body: self._event(operator, kind, body),
            self._context(process),
        )
        self.stream.start()
        await asyncio.sleep(1)
        try:
            async with asyncio.TaskGroup() as group:
                sweep = group.create_task(operator.sweep.run(), name="sweep")
                steps = group.create_task(operator.sweep.follow_clock(), name="clock")
                lead = group.create_task(operator.lead(), name="lead")
                await stop.wait()
                lead.cancel()
                await asyncio.wait({lead})
                sweep.cancel()
                steps.cancel()
        except Exception as error:  # noqa: BLE001 - the process ends, and the kubelet restarts it
            self._exit(process, f"{type(error).__name__}: {error!r}")
            return
        simulation.trace(self.name, "has stopped")
        self.stream.close()
        process.dead = True

    def _exit(self, process: Process, why: str) -> None:
        """The process ends by itself."""
        self.ended += 1
        simulation = self.simulation
        simulation.trace(self.name, "ends by itself:", why)
        simulation.invariants.process_ended(self.name, why)
        simulation.loop.outside(0.0, self.kill)
        simulation.loop.outside(10.0, self.start)

    def _calling(self, operation: str) -> None:
        self.simulation.calling(self, operation)

    def _event(self, operator: Operator, kind: str | None, body: Body) -> None:
        event: Any = {"type": kind, "object": body}
        try:
            operator.watch._on_event(event).send(None)
        except StopIteration:
            return
        raise RuntimeError("the handler of the watch waits")

    @staticmethod
    def _context(process: Process) -> contextvars.Context:
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        return context
