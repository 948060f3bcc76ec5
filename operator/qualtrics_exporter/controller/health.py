"""Whether this replica works: the answers to the probes `/livez` and `/readyz`.

Both answers are None if all is well, otherwise a sentence that says what is wrong.
"""

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.leader_election import LeaderElection
from qualtrics_exporter.controller.watch import Watch
from qualtrics_exporter.controller.work_queue import WorkQueue

TICK_SECONDS = 180.0
"""If nobody has looked at the work queue for so long, it hangs: there is a look at least every half minute."""


class Health:
    """The health of one replica."""

    def __init__(self, queue: WorkQueue, watch: Watch, election: LeaderElection | None, clock: Clock) -> None:
        self._queue = queue
        self._watch = watch
        self._election = election
        self._clock = clock

    def not_live(self) -> str | None:
        """Why the kubelet should restart this process."""
        if self._queue.leading and self._clock.monotonic() - self._queue.ticked > TICK_SECONDS:
            return "the work queue has not been looked at for minutes"
        return self._watch.problem

    def not_ready(self) -> str | None:
        """Why this replica cannot work. A replica without a permission would otherwise wait without a message."""
        if problem := self._watch.blind:
            return f"nothing is watched: {problem}"
        if problem := self._watch.listing:
            return problem
        if self._election and self._election.problem:
            return f"the Lease cannot be had: {self._election.problem}"
        return self._queue.problem
