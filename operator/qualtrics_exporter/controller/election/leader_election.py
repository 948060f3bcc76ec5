"""Leader election with a Lease: a replica leads until a deadline that only confirmed renewals move.

`kubernetes.aio.leaderelection` let two replicas lead for as long as the API server hung for one of them. Here a leader
needs no response to stop: it leads until *written + deadline* on its own monotonic clock, and each confirmed renewal
moves that moment. Other replicas take over no earlier than `lease` after they saw the record change for the last time,
on their own clocks; the clocks of two nodes are never compared. The leader's work has `lease - deadline` to end.

    written      confirmed      written + deadline         written + lease
      |-------------|-- leading ------|-- work cancelled -----|-- others may lead

- The work is cancelled at the deadline. If it still runs when others may lead, it is a second leader: the process is
  ended (`on_deadline_missed`). client-go ends it right at the deadline. A process that was paused wakes up after its
  deadline: timers fire before anything else runs.
- If `run` is cancelled, the work may take its time: the Lease is renewed until the work has ended, then released, so
  that the next replica leads within half a second.
- A deleted Lease is a mistake and not a release: replicas that saw its last record wait as if it still existed.
- An attempt may use all the time that is left: `deadline` for a candidate, the rest of its term for a leader. So a slow
  API server does not leave the operator without a leader.
- A replica that finds itself in the Lease without leading wrote it and never got the response. It must not renew: it
  would keep healthy replicas out, and not lead either. It releases the Lease and lets others go first.

Two cases cannot be prevented: a machine whose clocks stand still while it is paused (some hypervisors), and a replica
that starts within the seconds in which a user deletes the Lease. The compare-and-set of the journal is the lock for
these cases: two leaders still send once.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable

from qualtrics_exporter.controller.election.leader_lease import LeaderLease, now
from qualtrics_exporter.controller.election.leadership import LeaderRecord
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.lease import Lease

log = logging.getLogger(__name__)


def end_process() -> None:
    """End the process immediately. The journals have its unfinished work, as after any crash."""
    os._exit(70)


class LeaderElection:
    """One replica in the election for one Lease.

    `identity` (the pod's name) gets a random suffix: a process that restarts with the same name must not mistake the
    Lease of its predecessor for its own. `on_deadline_missed` is called if the work does not end before others may
    lead. `record` is what this replica knows about the times without a leader; the Lease passes it on.
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
        on_change: Callable[[bool], None] = lambda leading: None,
        on_deadline_missed: Callable[[], None] = end_process,
        record: LeaderRecord,
    ) -> None:
        if not 0 < retry < deadline < lease:
            raise ValueError("an election needs retry < deadline < lease")
        self.identity = f"{identity}_{secrets.token_hex(4)}"
        self._lease = LeaderLease(
            Lease(cluster, namespace, name, repeat_seconds=retry),
            self.identity,
            duration=lease,
            deadline=deadline,
            retry=retry,
            record=record,
        )
        self._duration, self._deadline, self._retry = lease, deadline, retry
        self._on_change, self._on_deadline_missed = on_change, on_deadline_missed

    @property
    def leading(self) -> bool:
        """Whether this replica leads at this moment. Ask right before an action that only a leader may do."""
        return self._lease.leading

    @property
    def problem(self) -> str | None:
        """Why the last attempt to acquire or renew the Lease got no usable response; None if it got one."""
        return self._lease.problem

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Run `lead` in every term that this replica wins, and return when `lead` returns. Cancel it to leave.

        `lead` is cancelled when a term ends, and must end soon then. Its errors are raised here.
        """
        task = asyncio.current_task()
        while True:
            await self._win()
            ended = await self._term(lead)
            if task and task.cancelling():  # `run` was cancelled, and `lead` suppressed that
                raise asyncio.CancelledError
            if ended:
                return

    async def _win(self) -> None:
        """Return when this replica holds the Lease. Asks often, to acquire a released Lease at once."""
        pause = 0.0
        while True:
            await asyncio.sleep(max(pause, self._lease.aside_until - now()))
            if await self._lease.acquire_or_renew() and self.leading:  # a process that was paused may be too late
                return
            pause = self._retry / 4

    async def _term(self, lead: Callable[[], Awaitable[None]]) -> bool:
        """One term. True if the work ended by itself, False if the term ended."""
        keepers: list[asyncio.Task[None]] = []
        log.info("started leading as %s", self.identity)
        self._on_change(True)
        try:
            async with asyncio.timeout_at(self._lease.term_ends) as term:
                keepers = [asyncio.create_task(self._renew(term)), asyncio.create_task(self._enforce(term))]
                await lead()
        except TimeoutError:
            if not term.expired():  # an error of `lead`
                raise
            if self._lease.term_ends:
                self._lease.report("no renewal was confirmed before the end of the term")
        finally:
            for keeper in keepers:
                keeper.cancel()
            for outcome in await asyncio.gather(*keepers, return_exceptions=True):
                if isinstance(outcome, Exception):
                    log.error("an unexpected error ended the renewal of the Lease", exc_info=outcome)
            self._lease.term_ends = 0.0
            log.info("stopped leading")
            self._on_change(False)
            await self._lease.release()
        return not term.expired()

    async def _renew(self, term: asyncio.Timeout) -> None:
        """Renew the Lease, which moves the end of the term, until another replica holds it."""
        asked = self._lease.term_ends - self._deadline
        while True:
            # Counted from the beginning of the last attempt: a slow API server leaves no time for pauses.
            await asyncio.sleep(max(0.0, asked + self._retry - now()))
            if term.expired() or not self.leading:
                return  # the work may still run: the Lease is released when it has ended
            asked = now()
            renewed = await self._lease.acquire_or_renew()
            if term.expired():
                self._lease.term_ends = 0.0
                return
            if renewed is False:
                self._lease.term_ends = 0.0
                term.reschedule(now())  # another replica holds it: end now, not at the deadline
                return
            term.reschedule(self._lease.term_ends)

    async def _enforce(self, term: asyncio.Timeout) -> None:
        """Call `on_deadline_missed` if the work still runs `lease - deadline` after its term, when others may lead."""
        while not term.expired():
            left = (term.when() or 0.0) - now()  # grows with every renewal
            await asyncio.sleep(min(self._retry, max(0.0, left)))
        await asyncio.sleep(self._duration - self._deadline)
        log.critical("the leader's work did not end with its term: ending the process")
        self._on_deadline_missed()
