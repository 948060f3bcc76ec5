"""What a plan depends on besides the exporter itself."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from qualtrics_exporter.controller.election.leadership import Leadership

LONGEST_WAIT = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances of a plan."""

    now: datetime
    holder: str
    """The holder of a run that this plan claims or takes over."""
    default_zone: str
    leadership: Leadership | None = None
    """None: the operator leads from now on."""
    first: bool = True
    """Whether this operator reconciles the exporter for the first time since it leads."""
    waited: timedelta = timedelta(0)
    """How long the exporter has waited for its turn, as far as this process knows."""
    orphaned: bool = False
    """Whether no process works on the active run any more."""
    clock_unsure: bool = False
    """Whether the wall clock was set forward a moment ago. Then the plan concludes nothing about slots from it."""
    waiting: int = 0
    """How many exporters wait for their turn."""
    in_progress: int = 0
    """How many exporters are reconciled now."""

    def lateness(self, due: datetime) -> timedelta:
        """How late a slot is: the time since it was due, without the time in which it only waited for its turn.

        An exporter that waited for the previous operator waited while that operator was leading. At most `LONGEST_WAIT`
        counts as waiting: a status restored from a backup looks as if its newest slots were still waiting.
        """
        since = self.now - due
        waited = self.waited
        if self.first and self.leadership:
            waited = max(waited, min(since - self.leadership.lateness(due, self.now), LONGEST_WAIT))
        return max(timedelta(0), since - waited)

    def led_since(self) -> datetime | None:
        return self.leadership.since(self.now) if self.leadership else self.now
