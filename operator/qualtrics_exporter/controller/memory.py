"""What one process remembers about exporters that are not at rest. Losing it costs a check, nothing else."""

from dataclasses import dataclass, field

from qualtrics_exporter.controller.status import Key
from qualtrics_exporter.export.guards import Remark


@dataclass(slots=True)
class Memory:
    """What is remembered about one exporter."""

    failures: int = 0
    """Checks in a row that found an error."""
    secrets: tuple[str | None, str | None] | None = None
    """The versions of its Secrets at the last check that found an error."""
    qualtrics_well: tuple[object, ...] | None = None
    """The spec and the Secret for which Qualtrics' side was found well, while the other side was not, ..."""
    qualtrics_well_until: float = 0.0
    """... and until when that counts, on the monotonic clock."""
    advice: tuple[Remark, ...] = ()
    """Warnings from the last check of Qualtrics. They stay valid until the next check."""
    foreign_run: tuple[object, ...] | None = None
    """A run in other hands, as it was last seen, ..."""
    foreign_since: float = 0.0
    """... and since when it has not moved, on the monotonic clock."""
    retry_after: dict[str, float] = field(default_factory=dict)
    """When Qualtrics is asked again what it did not answer, by the id of the run; on the monotonic clock."""


class Memories:
    """The memory of each exporter; there is one from the first question on."""

    def __init__(self) -> None:
        self._known: dict[Key, Memory] = {}

    def of(self, key: Key) -> Memory:
        """The memory of that exporter."""
        return self._known.setdefault(key, Memory())

    def forget(self, key: Key) -> None:
        """The exporter is gone."""
        self._known.pop(key, None)

    def tidy(self, key: Key) -> None:
        """Let go of a memory with nothing in it: there are ten thousand exporters."""
        if self._known.get(key) == Memory():
            del self._known[key]
