"""What this process remembers about exporters that need attention. Losing it only costs a check."""

from dataclasses import dataclass, field
from typing import NamedTuple

from qualtrics_exporter.controller.plan.wake import Question
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.export.guards import CheckWarning


class PassedCheck(NamedTuple):
    """A check found no error."""

    what: tuple[object, ...]
    """The generation of the spec, and the version of the Secret."""
    until: float
    """Until when that counts, on the monotonic clock."""
    warnings: tuple[CheckWarning, ...] = ()
    """The warnings of that check."""


class Retry(NamedTuple):
    """A question without an answer; times of the monotonic clock."""

    after: float
    """When to ask it again."""
    since: float
    """When it first had no answer."""


class ForeignRun(NamedTuple):
    """A run that another process holds."""

    state: tuple[object, ...]
    """What changes when the run moves."""
    since: float
    """Since when it has not moved, on the monotonic clock."""


@dataclass(slots=True)
class Memory:
    """What is remembered about one exporter."""

    failures: int = 0
    """How many checks in a row found an error."""
    secrets: tuple[str | None, str | None] | None = None
    """The versions of its Secrets at the last check that found an error."""
    qualtrics_passed: PassedCheck | None = None
    """A check found no error on the side of Qualtrics, but one on the side of Nexthink."""
    foreign_run: ForeignRun | None = None
    """The run that another process held when this process last planned."""
    retries: dict[Question, Retry] = field(default_factory=dict)
    """When to ask Qualtrics again what it did not answer."""


class Memories:
    """The memory of each exporter, from the first question about it on."""

    def __init__(self) -> None:
        self._known: dict[Key, Memory] = {}

    def of(self, key: Key) -> Memory:
        return self._known.setdefault(key, Memory())

    def forget(self, key: Key) -> None:
        """Remove the memory of an exporter that is gone."""
        self._known.pop(key, None)

    def tidy(self, key: Key) -> None:
        """Remove an empty memory: there are ten thousand exporters."""
        if self._known.get(key) == Memory():
            del self._known[key]
