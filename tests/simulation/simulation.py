"""One world, from its seed to its result."""

import gc
import time as real_time
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest import mock

from qualtrics_exporter.qualtrics import chunks

from . import patches, plan
from .actors import Actors
from .api_server import ApiServer
from .clock import true_time
from .faults import Faults
from .invariants import Invariants
from .loop import Livelock, Process, VirtualLoop
from .misleading import MisleadingHosts
from .records import Violation
from .remote import Network
from .replica import LEASE, Replica
from .tenants import Instance, QualtricsBrand, WorldClock, brand, instance
from .world import Plan

DRAIN = 10 * 3600.0
"""Seconds after the last fault until the end of the world."""


@dataclass
class Result:
    """The result of one seed."""

    seed: int
    violations: list[Violation]
    exporter_days: float
    events: int
    steps: int
    cpu: float
    counts: dict[str, int]
    trace: list[str] = field(default_factory=list)


class Simulation:
    """One world."""

    def __init__(self, plan_: Plan, *, tracing: bool = False, stop_at: tuple[str, ...] = ()) -> None:
        self.plan = plan_
        self.stop_at = stop_at
        """End the world at the first violation of one of these kinds."""
        self.lines: list[str] | None = [] if tracing else None
        self.loop = VirtualLoop()
        self.playing = True
        self.resumed = float("-inf")
        """When a process last resumed after a pause."""
        self.dead_processes: list[Process] = []
        self.server = ApiServer(self.loop)
        seed = plan_.seed
        self.faults = Faults(plan_.enabled, Random(f"api {seed}"), Random(f"remote {seed}"), rate=plan_.rate)
        self.invariants = Invariants(self)
        self.network = Network(self.loop, self.faults, self.invariants.remote_effect, self.trace)
        clock = WorldClock(self.loop.time)
        self.instances: list[Instance] = []
        self.brands: list[QualtricsBrand] = []
        for number in range(plan_.instances):
            made, hosts = instance(number, clock)
            self.instances.append(made)
            self.network.hosts.update(hosts)
        for number in range(plan_.brands):
            owned, hosts = brand(number, clock)
            self.brands.append(owned)
            self.network.hosts.update(hosts)
        queries = {one.host: one.queries for one in self.instances}
        self.network.misleading = MisleadingHosts(Random(f"lies {seed}"), lambda host: list(queries[host]))
        self.replicas = [
            Replica(
                self,
                one.name,
                shard=one.shard,
                selector=one.selector,
                runs=plan_.runs,
                zone=one.zone,
                elects=one.elects,
            )
            for one in plan_.replicas
        ]
        self.actors = Actors(self)

    @property
    def now(self) -> float:
        return self.loop.time()

    def trace(self, *words: Any) -> None:
        """Add a line to the trace, if there is one."""
        if self.lines is not None:
            self.lines.append(f"{true_time(self.now):%d %H:%M:%S.%f}"[:-3] + "  " + " ".join(map(str, words)))

    def calling(self, replica: Replica, operation: str) -> None:
        """A replica is about to make this call. A planned strike may wait for it."""
        self.actors.strikes.calling(replica, operation)

    def run(self) -> Result:
        """Play the plan, and then run on without faults until everything has ended."""
        plan_ = self.plan
        began = real_time.process_time()
        collects = gc.isenabled()
        gc.disable()
        sink = self.trace if self.lines is not None else None
        try:
            with (
                patches.repeatable(plan_.seed),
                patches.logs(sink, self._unexpected),
                mock.patch.object(chunks, "MAX_CONTACTS", plan_.contacts),
            ):
                try:
                    self._play()
                except Livelock as error:
                    self.invariants.violate("livelock", "", str(error))
                finally:
                    counts = self.invariants.counts()
                    self.loop.dispose(collect=collects)
        finally:
            if collects:
                gc.enable()
        days = (plan_.seconds + DRAIN) / 86400
        return Result(
            seed=plan_.seed,
            violations=self.invariants.violations,
            exporter_days=days * len(plan_.exporters),
            events=len(plan_.events),
            steps=self.loop.steps,
            cpu=real_time.process_time() - began,
            counts=counts,
            trace=self.lines or [],
        )

    def _unexpected(self, message: str) -> None:
        # A process must end itself after a pause. Otherwise, this is an error.
        after_pause = "did not end with its term" in message and self.now - self.resumed < LEASE
        if self.playing and not after_pause:  # afterwards, the tasks of killed processes are closed
            self.invariants.violate("an unexpected error", "", message)

    def _play(self) -> None:
        self.actors.prepare()
        for replica in self.replicas:
            self.loop.outside(0.0, replica.start)
        for event in self.plan.events:
            self.loop.outside(event.time, self.actors.act, event)
        self.loop.run_until(self.plan.seconds)
        self.loop.outside(0.0, self.actors.drain)
        self.loop.run_until(self.plan.seconds + DRAIN)
        self.playing = False
        self.invariants.end(self.plan.seconds)


def run(seed: int, *, tracing: bool = False, stop_at: tuple[str, ...] = (), **changes: Any) -> Result:
    """Run the world of this seed, until one of the kinds `stop_at` is violated. `changes` are those of `plan.make`."""
    return Simulation(plan.make(seed, **changes), tracing=tracing, stop_at=stop_at).run()
