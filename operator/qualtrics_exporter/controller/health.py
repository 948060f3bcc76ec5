"""Whether this replica works: the answers to the probes `/livez` and `/readyz`.

Both answers are None if all is well, otherwise a sentence that says what is wrong.
"""

from dataclasses import dataclass

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.election.leader_election import LeaderElection
from qualtrics_exporter.controller.queue.work_queue import WorkQueue
from qualtrics_exporter.controller.watch import Watch

TICK_SECONDS = 180.0
"""After this time without a look at the work queue, it hangs: there is a look at least every half minute."""


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one replica."""

    queue: WorkQueue
    watch: Watch
    election: LeaderElection | None
    clock: Clock

    def not_live(self) -> str | None:
        """Why the kubelet should restart this process."""
        if self.queue.leading and self.clock.monotonic() - self.queue.ticked > TICK_SECONDS:
            return "the work queue has not been looked at for minutes"
        return self.watch.problem

    def not_ready(self) -> str | None:
        """Why this replica cannot work. A replica without a permission would otherwise wait without a message."""
        if problem := self.watch.blind:
            return f"nothing is watched: {problem}"
        if problem := self.watch.listing:
            return problem
        if self.election and self.election.problem:
            return f"the Lease cannot be acquired or renewed: {self.election.problem}"
        return self.queue.problem
