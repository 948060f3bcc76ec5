"""Who holds a run: which election, which pod, which process, which attempt."""

import hashlib
import secrets
from dataclasses import dataclass

from qualtrics_exporter.export.run_ids import new_holder

ALONE = "-"
"""The election of a replica that takes part in none."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process. `pod` is its namespace and name; it is empty where none is known: a host name is not unique."""

    election: str
    pod: str
    process: str

    @classmethod
    def new(cls, *, lease: tuple[str, str] | None, pod: str, instance: str) -> "ProcessIdentity":
        """A process that takes part in the election for that Lease (namespace, name), or in none."""
        election = hashlib.sha256("/".join(lease).encode()).hexdigest()[:8] if lease else ALONE
        return cls(election, pod.replace("/", "."), f"{instance}-{secrets.token_hex(4)}")

    def new_holder(self) -> str:
        """A holder that was never used before: one process, one attempt."""
        return f"{self.election}:{self.pod}:{self.process}/{new_holder()}"

    def is_own(self, holder: str) -> bool:
        """Whether this process took the run."""
        return holder.startswith(f"{self.election}:{self.pod}:{self.process}/")

    def succeeds(self, holder: str) -> bool:
        """Whether the holder is certainly gone, because this process leads.

        Its election was won by this process, and a leader that loses its term ends before the next one begins. Or it
        ran in this very pod, which runs one process at a time.
        """
        election, _, rest = holder.partition(":")
        pod, colon, _ = rest.partition(":")
        if not colon:
            return False  # written by an older version
        same_election = election == self.election and election != ALONE
        return same_election or bool(pod and pod == self.pod)
