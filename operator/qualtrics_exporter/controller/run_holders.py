"""Who holds a run, and whether that process can still be working on it.

A holder names an election, a pod, a process and an attempt. `plan/takeover.py` says what happens to an orphaned run.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.controller.memory import ForeignRun, Memories
from qualtrics_exporter.controller.plan.takeover import ABANDONED
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.export.run_ids import new_holder
from qualtrics_exporter.resource.status import ActiveRun

NO_ELECTION = "-"
"""The election of a replica that takes part in none."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process. `pod` is its namespace and name; it is empty if they are unknown: host names are not unique."""

    election: str
    pod: str
    process: str

    @classmethod
    def new(cls, *, lease: tuple[str, str] | None, pod: str, instance: str) -> "ProcessIdentity":
        """A process that takes part in the election for that Lease (namespace, name), or in no election."""
        election = hashlib.sha256("/".join(lease).encode()).hexdigest()[:8] if lease else NO_ELECTION
        return cls(election, pod.replace("/", "."), f"{instance}-{secrets.token_hex(4)}")

    def new_holder(self) -> str:
        """A holder that was never used before: one process, one attempt."""
        return f"{self.election}:{self.pod}:{self.process}/{new_holder()}"

    def is_own(self, holder: str) -> bool:
        """Whether this process took the run."""
        return holder.startswith(f"{self.election}:{self.pod}:{self.process}/")

    def succeeds(self, holder: str) -> bool:
        """Whether the holder is certainly gone, because this process leads.

        Either this process won the election of the holder: a leader that loses its term ends before the next term
        begins. Or the holder ran in this very pod, which runs one process at a time.
        """
        election, _, rest = holder.partition(":")
        pod, colon, _ = rest.partition(":")
        if not colon:
            return False  # an older version wrote it
        same_election = election == self.election and election != NO_ELECTION
        return same_election or bool(pod and pod == self.pod)


@dataclass(frozen=True, slots=True)
class RunHolders:
    """Decides which runs are orphaned, and remembers since when the runs of other processes have not moved."""

    identity: ProcessIdentity
    memories: Memories
    clock: Clock

    def is_orphaned(self, key: Key, run: ActiveRun | None) -> bool:
        """Whether no process can be working on the run. This process is not: it works on an exporter in one task."""
        memory = self.memories.of(key)
        if run is None or self.identity.is_own(run.holder) or self.identity.succeeds(run.holder):
            memory.foreign_run = None
            return run is not None
        now = self.clock.monotonic()
        state = (run.id, run.holder, run.step, run.attempt, run.heartbeat_time)
        if memory.foreign_run is None or memory.foreign_run.state != state:
            memory.foreign_run = ForeignRun(state, now)
        return timedelta(seconds=now - memory.foreign_run.since) >= ABANDONED
