"""Leader election by a Lease, in which leading is a deadline.

`kubernetes.aio.leaderelection` let two replicas lead for as long as the API server hung for one of them. Here a leader
needs no reply to stop: it leads until *written at + deadline*, on its own monotonic clock, and each renewal that is
confirmed moves that moment. Others take over no earlier than `lease` after they saw the record last change, on their
own clocks; clocks of two nodes are never compared. `lease - deadline` is what is left to end the body in.

    written      confirmed      written + deadline         written + lease
      |-------------|-- leading ------|-- body cancelled -----|-- others may lead

- The body is cancelled at the deadline. One that is still there when others may lead is a second leader: the process
  is ended (`overstayed`), as client-go does at once. A process that was paused wakes up past its deadline: timers are
  due before anything else goes on.
- Cancelled from outside, the body may take its time: the Lease is renewed until it has ended, then given back, so that
  the next one leads within half a second.
- A Lease that vanishes is somebody's mistake and no farewell: who saw its last record waits as if it still stood.
- An attempt may use all the time that it has: a candidate `deadline`, a leader what is left of its term. So a slow API
  server does not leave everybody without a leader.
- A replica that finds itself in the Lease without leading wrote there and never got the reply. It must not renew: it
  would keep healthy replicas out and not lead either. It gives the Lease back and lets others go first.

What cannot be held off: a machine whose clocks stand still while it is paused (some hypervisors), and a replica started
within the seconds in which somebody deletes the Lease. The journal's compare-and-set is the lock for those: two leaders
still send once.
"""

import asyncio
import contextlib
import logging
import math
import os
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple

from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import ClusterError, Conflict, NotFound
from qualtrics_exporter.controller.kube.lease import Body, Lease, annotations_of, spec_of
from qualtrics_exporter.controller.leader_gaps import ANNOTATION, LeaderRecord

log = logging.getLogger(__name__)


def end_process() -> None:
    """End the process where it stands. What it was doing is found in the journals, as after any crash."""
    os._exit(70)


class _Holder(NamedTuple):
    """What a Lease says about its holder."""

    identity: str
    renew_time: str | None
    uid: str


class LeaderElection:
    """One replica in the election for one Lease.

    `identity` (the pod's name) gets a random tail: a process that comes back under its old name must not take the
    Lease of its predecessor for its own. `overstayed` is what is done about a body that does not end. `record` is what
    this replica knows of the time in which nobody led; the Lease passes it on.
    """

    def __init__(
        self,
        cluster: ClusterApi,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease: float = 15,
        deadline: float = 10,
        retry: float = 2,
        on_change: Callable[[bool], None] | None = None,
        overstayed: Callable[[], None] = end_process,
        record: LeaderRecord | None = None,
    ) -> None:
        if not 0 < retry < deadline < lease:
            raise ValueError("an election needs retry < deadline < lease")
        self.identity = f"{identity}_{secrets.token_hex(4)}"
        self._lease = Lease(cluster, namespace, name, repeat_seconds=retry)
        self._duration, self._deadline, self._retry = lease, deadline, retry
        self._on_change, self._overstayed = on_change, overstayed
        self._record = record
        self._until = 0.0  # when our term ends unless it is renewed
        self._held: Body | None = None  # the Lease as we last wrote it, while nobody else can have written
        self._found: Body | None = None  # the Lease in which we wrote ourselves without a reply so far
        self._holder: _Holder | None = None  # what the Lease said when it last changed …
        self._free_at = 0.0  # … and when, counted from then, its holder has lost it
        self._stands_aside_until = 0.0
        self._problem: str | None = None

    @property
    def leading(self) -> bool:
        """Whether this replica leads at this very moment: ask right before what only a leader may do."""
        return _now() < self._until

    @property
    def problem(self) -> str | None:
        """Why the last attempt to get or keep the Lease had no answer; None when it had one."""
        return self._problem

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Run `lead` in every term that is won, and return when it returns; cancel to leave.

        `lead` is cancelled when a term ends; it must end soon then. What it raises is raised here.
        """
        task = asyncio.current_task()
        while True:
            await self._elected()
            ended = await self._term(lead)
            if task and task.cancelling():  # we were to leave, and the body kept the cancellation to itself
                raise asyncio.CancelledError
            if ended:
                return

    async def _elected(self) -> None:
        """Return when the Lease is ours. Asks often, so that a Lease that is given back is taken at once."""
        pause = 0.0
        while True:
            await asyncio.sleep(max(pause, self._stands_aside_until - _now()))
            if await self._attempt() and self.leading:  # a process that was paused meanwhile is too late
                return
            pause = self._retry / 4

    async def _term(self, lead: Callable[[], Awaitable[None]]) -> bool:
        """One term. True when the body ended by itself, False when the term did."""
        keepers: list[asyncio.Task[None]] = []
        log.info("leading, as %s", self.identity)
        self._changed(True)
        try:
            async with asyncio.timeout_at(self._until) as term:
                keepers = [asyncio.create_task(self._keep(term)), asyncio.create_task(self._enforce(term))]
                await lead()
        except TimeoutError:
            if not term.expired():  # the body's own
                raise
            if self._until:
                self._note("no renewal was confirmed before the end of the term")
        finally:
            for keeper in keepers:
                keeper.cancel()
            for outcome in await asyncio.gather(*keepers, return_exceptions=True):
                if isinstance(outcome, Exception):
                    log.error("the Lease was no longer renewed", exc_info=outcome)
            self._until = 0.0
            log.info("no longer leading")
            self._changed(False)
            await self._release()
        return not term.expired()

    async def _keep(self, term: asyncio.Timeout) -> None:
        """Renew the Lease, and push on the end of the term with it, until somebody else holds it."""
        asked = self._until - self._deadline
        while True:
            # From the beginning of the last attempt: a slow API server leaves no time for pauses.
            await asyncio.sleep(max(0.0, asked + self._retry - _now()))
            if term.expired() or not self.leading:
                return  # the body may still work: the Lease is given back when it has ended
            asked = _now()
            renewed = await self._attempt()
            if term.expired():
                self._until = 0.0
                return
            if renewed is False:
                self._until = 0.0
                term.reschedule(_now())  # somebody else holds it: now, not at the deadline
                return
            term.reschedule(self._until)

    async def _enforce(self, term: asyncio.Timeout) -> None:
        """See to it that the body ends with its term: others may lead `lease - deadline` later."""
        while not term.expired():
            left = (term.when() or 0.0) - _now()  # grows with every renewal
            await asyncio.sleep(min(self._retry, max(0.0, left)))
        await asyncio.sleep(self._duration - self._deadline)
        log.critical("the work of the leader did not end with its term: ending the process")
        self._overstayed()

    async def _attempt(self) -> bool | None:
        """Get or renew the Lease: True when it is ours (`_until` is moved), False another's, None without an answer."""
        asked = _now()
        limit = self._until if self.leading else asked + self._deadline
        try:
            async with asyncio.timeout_at(limit):
                taken = await self._take()
        except Conflict:
            return None  # lost the race for this write: look again
        except TimeoutError:
            self._note(f"the API server did not answer within {max(0.0, limit - asked):.1f} s")
            return None
        except ClusterError as error:
            self._note(str(error))
            return None
        self._note(None)
        return taken

    def _note(self, problem: str | None) -> None:
        """Keep the problem, and log it when it is a new one or has gone."""
        if problem and problem != self._problem:
            log.warning("the Lease %s cannot be had: %s", self._lease, problem)
        elif self._problem and not problem:
            log.info("the Lease %s can be reached again", self._lease)
        self._problem = problem

    async def _take(self) -> bool:
        """Write ourselves into the Lease, unless its holder may still lead."""
        if self._held and self.leading:
            try:
                return await self._hold(self._held)  # without a read: a renewal is one call
            except (Conflict, NotFound):
                log.debug("somebody else wrote to the Lease %s", self._lease)
        lease = await self._lease.read()
        self._observe(lease)
        holder = self._holder.identity if self._holder else ""
        if lease and holder == self.identity and not self.leading:
            log.info("the Lease %s is given back: the reply to the last write did not come in time", self._lease)
            await self._give_back(lease)
            return False
        if holder not in ("", self.identity) and _now() < self._free_at:
            return False
        return await self._hold(lease)

    async def _hold(self, lease: Body) -> bool:
        """Write ourselves into that Lease. The term counts from the moment before the write."""
        spec = spec_of(lease)
        now = (self._record.now() if self._record else datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = {"holderIdentity": self.identity, "renewTime": now, "leaseDurationSeconds": math.ceil(self._duration)}
        if spec.get("holderIdentity") != self.identity:
            ours |= {"acquireTime": now, "leaseTransitions": (spec.get("leaseTransitions") or 0) + bool(spec)}
            self._found = lease
            if self._record:
                self._record.acquired(annotations_of(lease).get(ANNOTATION), _time(spec.get("renewTime")))
        not_led = {ANNOTATION: self._record.current.annotation()} if self._record else {}
        self._held = None
        written = _now()
        held = await self._lease.write(lease, {**spec, **ours}, not_led)
        self._observe(held)
        self._held, self._found = held, None
        self._until = written + self._deadline
        return True

    def _observe(self, lease: Body) -> None:
        """Note who holds the Lease and until when at most. A Lease that is missing says nothing new."""
        if not lease:
            return
        spec = spec_of(lease)
        holder = _Holder(spec.get("holderIdentity") or "", spec.get("renewTime"), lease["metadata"]["uid"])
        if holder != self._holder:
            self._holder = holder
            self._free_at = _now() + float(spec.get("leaseDurationSeconds") or self._duration)

    async def _give_back(self, lease: Body) -> None:
        """Take ourselves out of that Lease.

        If we never led, it says again since when nobody leads. Others are faster then: they get the time to go first.
        """
        changes: Body = {"holderIdentity": "", "leaseDurationSeconds": 1}
        annotations: dict[str, str | None] = {}
        if self._found is not None:
            changes["renewTime"] = spec_of(self._found).get("renewTime")
            annotations[ANNOTATION] = annotations_of(self._found).get(ANNOTATION)
        elif self._record:
            annotations[ANNOTATION] = self._record.current.annotation()
        spec = {key: value for key, value in {**spec_of(lease), **changes}.items() if value is not None}
        await self._lease.write(lease, spec, annotations)
        self._stands_aside_until = _now() + self._retry

    async def _release(self) -> None:
        """Give the Lease back if it is ours; where that fails, others wait until it runs out."""
        held, self._held = self._held, None
        with contextlib.suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(self._deadline):
                while not await self._released(held):
                    held = None

    async def _released(self, held: Body | None) -> bool:
        """False when somebody wrote meanwhile, which may be a renewal of ours that was on its way."""
        lease = held or await self._lease.read()
        if spec_of(lease).get("holderIdentity") != self.identity:
            return True
        try:
            await self._give_back(lease)
        except (Conflict, NotFound):
            return False
        return True

    def _changed(self, leading: bool) -> None:
        if self._on_change:
            self._on_change(leading)


def _time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo else None


def _now() -> float:
    return asyncio.get_running_loop().time()
