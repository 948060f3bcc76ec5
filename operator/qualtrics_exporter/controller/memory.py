"""What one process remembers about exporters that are not at rest. Losing it costs a check, nothing else."""

from dataclasses import dataclass, field
from typing import NamedTuple

from qualtrics_exporter.controller.plan.wake import Question
from qualtrics_exporter.controller.status.store import Key
from qualtrics_exporter.export.guards import CheckWarning


class Well(NamedTuple):
    """A check found nothing wrong."""

    what: tuple[object, ...]
    """The generation of the spec, and the version of the Secret."""
    until: float
    """Until when that counts, on the monotonic clock."""
    warnings: tuple[CheckWarning, ...] = ()
    """The warnings of that check."""


class Retry(NamedTuple):
    """A question that had no answer; times of the monotonic clock."""

    after: float
    """When it is asked again."""
    since: float
    """When it first had none."""


@dataclass(slots=True)
class Memory:
    """What is remembered about one exporter."""

    failures: int = 0
    """Checks in a row that found an error."""
    secrets: tuple[str | None, str | None] | None = None
    """The versions of its Secrets at the last check that found an error."""
    qualtrics_well: Well | None = None
    """Qualtrics' side was found well, while Nexthink's was not."""
    foreign_run: tuple[object, ...] | None = None
    """A run in other hands, as it was last seen, ..."""
    foreign_since: float = 0.0
    """... and since when it has not moved, on the monotonic clock."""
    retries: dict[Question, Retry] = field(default_factory=dict)
    """When Qualtrics is asked again what it did not answer."""


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
