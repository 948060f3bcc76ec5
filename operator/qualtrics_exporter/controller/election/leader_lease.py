"""One replica's claim to the Lease of the leader election: acquiring, renewing and releasing it.

`leader_election` has the rules that this module follows.
"""

import asyncio
import contextlib
import logging
import math
from datetime import datetime
from typing import NamedTuple

from qualtrics_exporter.controller.election.leadership import ANNOTATION, LeaderRecord
from qualtrics_exporter.controller.kube.errors import ClusterError, Conflict, NotFound
from qualtrics_exporter.controller.kube.lease import Body, Lease, annotations_of, spec_of

log = logging.getLogger(__name__)


class _Holder(NamedTuple):
    """What the Lease says about its holder."""

    identity: str
    renew_time: str | None
    uid: str


class LeaderLease:
    """The Lease as the replica `identity` sees it, and until when this replica leads.

    All times are in seconds, on the monotonic clock of the event loop. `record` is what this replica knows about the
    times without a leader; the Lease passes it on.
    """

    def __init__(
        self,
        lease: Lease,
        identity: str,
        *,
        duration: float,
        deadline: float,
        retry: float,
        record: LeaderRecord,
    ) -> None:
        self._lease = lease
        self._identity = identity
        self._duration, self._deadline, self._retry = duration, deadline, retry
        self._record = record
        self.term_ends = 0.0
        """When this replica stops leading unless it renews the Lease; 0 after the end of a term."""
        self.aside_until = 0.0
        """Until then this replica does not try to acquire the Lease, so that others can."""
        self.problem: str | None = None
        """Why the last attempt got no usable response; None if it got one."""
        self._written: Body | None = None
        """The Lease as this replica wrote it last; None if another replica may have written since."""
        self._unconfirmed: Body | None = None
        """The Lease before this replica wrote itself into it, while there is no response to that write."""
        self._holder: _Holder | None = None
        """The holder when the Lease changed for the last time …"""
        self._expires = 0.0
        """… and when that holder has lost the Lease, counted from that moment."""

    @property
    def leading(self) -> bool:
        return now() < self.term_ends

    async def acquire_or_renew(self) -> bool | None:
        """Acquire or renew the Lease.

        True if this replica holds it (`term_ends` is moved), False if another one does, None without an answer.
        """
        asked = now()
        limit = self.term_ends if self.leading else asked + self._deadline
        try:
            async with asyncio.timeout_at(limit):
                held = await self._take()
        except Conflict:
            return None  # another replica wrote first: read again
        except TimeoutError:
            self.report(f"the API server did not answer within {max(0.0, limit - asked):.1f} s")
            return None
        except ClusterError as error:
            self.report(str(error))
            return None
        self.report(None)
        return held

    async def release(self) -> None:
        """Release the Lease if this replica holds it. If that fails, the others wait until it expires."""
        written, self._written = self._written, None
        with contextlib.suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(self._deadline):
                while not await self._try_release(written):
                    written = None

    def report(self, problem: str | None) -> None:
        """Keep the problem, and log it if it is new or over."""
        if problem and problem != self.problem:
            log.warning("the Lease %s cannot be acquired or renewed: %s", self._lease, problem)
        elif self.problem and not problem:
            log.info("the Lease %s is available again", self._lease)
        self.problem = problem

    async def _take(self) -> bool:
        """Write this replica into the Lease, unless its holder may still lead."""
        if self._written and self.leading:
            try:
                return await self._write(self._written)  # without a read: a renewal is one call
            except (Conflict, NotFound):
                log.debug("another client wrote to the Lease %s", self._lease)
        lease = await self._lease.read()
        self._observe(lease)
        holder = self._holder.identity if self._holder else ""
        if lease and holder == self._identity and not self.leading:
            log.info("releasing the Lease %s: the response to the last write did not arrive in time", self._lease)
            await self._write_release(lease)
            return False
        if holder not in ("", self._identity) and now() < self._expires:
            return False
        return await self._write(lease)

    async def _write(self, lease: Body) -> bool:
        """Write this replica into that Lease. The term counts from the moment before the write."""
        spec = spec_of(lease)
        time = self._record.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = {"holderIdentity": self._identity, "renewTime": time, "leaseDurationSeconds": math.ceil(self._duration)}
        if spec.get("holderIdentity") != self._identity:
            ours |= {"acquireTime": time, "leaseTransitions": (spec.get("leaseTransitions") or 0) + bool(spec)}
            self._unconfirmed = lease
            self._record.acquired(annotations_of(lease).get(ANNOTATION), _parse_time(spec.get("renewTime")))
        self._written = None
        started = now()
        annotations = {ANNOTATION: self._record.current.annotation()}
        written = await self._lease.write(lease, {**spec, **ours}, annotations)
        self._observe(written)
        self._written, self._unconfirmed = written, None
        self.term_ends = started + self._deadline
        return True

    def _observe(self, lease: Body) -> None:
        """Note who holds the Lease and until when at most. A missing Lease says nothing new."""
        if not lease:
            return
        spec = spec_of(lease)
        holder = _Holder(spec.get("holderIdentity") or "", spec.get("renewTime"), lease["metadata"]["uid"])
        if holder != self._holder:
            self._holder = holder
            self._expires = now() + float(spec.get("leaseDurationSeconds") or self._duration)

    async def _write_release(self, lease: Body) -> None:
        """Remove this replica from that Lease.

        If this replica never led, the Lease says again since when there is no leader. Other replicas are faster then,
        so this one steps aside.
        """
        changes: Body = {"holderIdentity": "", "leaseDurationSeconds": 1}
        not_led: str | None = self._record.current.annotation()
        if self._unconfirmed is not None:
            changes["renewTime"] = spec_of(self._unconfirmed).get("renewTime")
            not_led = annotations_of(self._unconfirmed).get(ANNOTATION)
        spec = {key: value for key, value in {**spec_of(lease), **changes}.items() if value is not None}
        await self._lease.write(lease, spec, {ANNOTATION: not_led})
        self.aside_until = now() + self._retry

    async def _try_release(self, written: Body | None) -> bool:
        """False if another write came first. That may be a renewal of this replica that was still on its way."""
        lease = written or await self._lease.read()
        if spec_of(lease).get("holderIdentity") != self._identity:
            return True
        try:
            await self._write_release(lease)
        except (Conflict, NotFound):
            return False
        return True


def now() -> float:
    """The time of the event loop."""
    return asyncio.get_running_loop().time()


def _parse_time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo else None
