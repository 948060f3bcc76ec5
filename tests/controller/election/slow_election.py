"""An election on virtual time, in which each replica has an API server of its own speed."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller.election.leader_election import LeaderElection
from qualtrics_exporter.controller.election.leadership import LeaderRecord
from qualtrics_exporter.controller.kube.errors import Unreachable
from tests.simulation import patches
from tests.simulation.api_server import ApiServer
from tests.simulation.clock import ReplicaClock
from tests.simulation.loop import Process, VirtualLoop

NAMESPACE, NAME = "operator", "lease"
QUICK = 0.02
"""Seconds that a call of a healthy replica takes."""
LEASE_SECONDS = 15.0


@dataclass
class Speed:
    """How long the calls of one replica take, in seconds."""

    read: float
    write: float
    before: float = 0.5
    """The part of this time, from 0 to 1, that passes before the call takes effect."""
    lost: float = 0.0
    """The share of the calls that never get a response."""

    @classmethod
    def of(cls, seconds: float, before: float = 0.5) -> "Speed":
        """Return a speed at which reads and writes take equally long."""
        return cls(seconds, seconds, before)


class SlowApi:
    """The calls of a leader election about its Lease, as slow as the replica."""

    def __init__(self, server: ApiServer, loop: VirtualLoop, speed: Speed, random: Random) -> None:
        self._server, self._loop, self._random = server, loop, random
        self.speed = speed
        self.writes: list[float] = []
        """When writes took effect."""

    async def get_lease(self, namespace: str, name: str) -> Any:
        return await self._call(self.speed.read, lambda: self._server.lease(namespace, name))

    async def create_lease(self, namespace: str, lease: Mapping[str, Any]) -> Any:
        return await self._call(self.speed.write, lambda: self._write(namespace, lease, create=True))

    async def replace_lease(self, namespace: str, name: str, lease: Mapping[str, Any]) -> Any:
        return await self._call(self.speed.write, lambda: self._write(namespace, lease, create=False))

    def _write(self, namespace: str, lease: Mapping[str, Any], *, create: bool) -> Any:
        written = self._server.write_lease(namespace, lease["metadata"]["name"], dict(lease), create=create)
        self.writes.append(self._loop.time())
        return written

    async def _call(self, seconds: float, effect: Callable[[], Any]) -> Any:
        """Make a call that takes effect even if its caller is cancelled."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        lost = self._random.random() < self.speed.lost

        def answer(result: Any, error: Exception | None) -> None:
            if reply.done() or lost:
                return
            if error:
                reply.set_exception(error)
            else:
                reply.set_result(result)

        def arrive() -> None:
            result, error = None, None
            try:
                result = effect()
            except Exception as raised:  # noqa: BLE001 - the reply to the caller
                error = raised
            self._loop.outside(seconds * (1 - self.speed.before), answer, result, error)

        self._loop.outside(seconds * self.speed.before, arrive)
        try:
            return await asyncio.wait_for(reply, 60)
        except TimeoutError:
            raise Unreachable("timed out") from None


@dataclass
class Candidate:
    """A replica, and the times at which it led."""

    name: str
    cluster: SlowApi
    terms: list[list[float]] = field(default_factory=list)
    """Begin and end of each term. A term that lasts has no end."""
    missed_deadline: bool = False
    task: Any = None
    process: Process = field(default_factory=lambda: Process("replica"))
    election: LeaderElection | None = None

    def led(self, begin: float, end: float) -> float:
        """Return for how many seconds it led in that interval."""
        return sum(max(0.0, min(end, term[1] if len(term) > 1 else end) - max(begin, term[0])) for term in self.terms)


class Election:
    """Replicas of these speeds, which start `stagger` seconds apart.

    When the work of a replica is cancelled, it needs `ending` seconds to end.
    """

    def __init__(self, speeds: Sequence[Speed], *, stagger: float = 1.0, seed: int = 0, ending: float = 0.0) -> None:
        self.ending = ending
        self.loop = VirtualLoop()
        self.server = ApiServer(self.loop)
        random = Random(seed)
        self.candidates = [
            Candidate(f"replica-{number}", SlowApi(self.server, self.loop, speed, random))
            for number, speed in enumerate(speeds)
        ]
        self._patches = patches.repeatable(seed)
        self._patches.__enter__()
        self._logs = patches.logs(None)
        self._logs.__enter__()
        for number, candidate in enumerate(self.candidates):
            self.loop.outside(number * stagger, self.start, candidate)

    def __enter__(self) -> "Election":
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.dispose()
        self._logs.__exit__(None, None, None)
        self._patches.__exit__(None, None, None)

    def start(self, candidate: Candidate) -> None:
        """Start a replica."""
        cluster: Any = candidate.cluster
        record = LeaderRecord(WatchedClock(ReplicaClock(self.loop.time)))

        def on_deadline_missed() -> None:
            candidate.missed_deadline = True

        election = LeaderElection(
            cluster,
            NAMESPACE,
            NAME,
            candidate.name,
            on_change=lambda leading: self._changed(candidate, leading),
            on_deadline_missed=on_deadline_missed,
            record=record,
        )
        candidate.election = election
        candidate.task = self.loop.spawn(candidate.process, election.run(self._work), candidate.name)

    def stop(self, candidate: Candidate) -> None:
        """Stop a replica gracefully, as the kubelet does."""
        candidate.task.cancel()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.run_until(self.loop.time() + seconds)

    def until_led(self, seconds: float) -> float | None:
        """Let time pass until a replica leads, and return how long it took. Return None if no replica leads in time."""
        begin = self.loop.time()
        while self.loop.time() < begin + seconds:
            self.run(0.1)
            if any(term[0] >= begin for candidate in self.candidates for term in candidate.terms):
                return self.loop.time() - begin
        return None

    def overlap(self) -> float:
        """Return for how many seconds two replicas led at the same time."""
        terms = sorted(
            (term[0], term[1] if len(term) > 1 else self.loop.time()) for c in self.candidates for term in c.terms
        )
        return sum(max(0.0, before[1] - after[0]) for before, after in itertools.pairwise(terms))

    def _changed(self, candidate: Candidate, leading: bool) -> None:
        if leading:
            candidate.terms.append([self.loop.time()])
        else:
            candidate.terms[-1].append(self.loop.time())

    async def _work(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self.ending)
