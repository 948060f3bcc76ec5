"""What the reconciler does for an exporter after it has written the plan. `app.build` has the ordered table of actions.

run.py           takes a claimed run to its end
dry_test.py      the test that e-mails nobody
check.py         checks: whether the exporter could work
check_inputs.py  what only the controller contributes to checks and dry tests
look_up.py       looks for the distribution of a run whose outcome is unknown
delivery.py      reads what became of the mails of a run
questions.py     what the last two share: when to ask Qualtrics, and when to ask again
followed.py      reads it also for runs whose entries left the history
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import ActiveRun

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Situation:
    """An exporter whose turn it is, after its plan was written."""

    key: Key
    exporter: Exporter
    claimed: ActiveRun | None = None
    """The run that this process has claimed and has to do now."""
    ended: ActiveRun | None = None
    """The run that this process has just done."""
    urgent: bool = False
    """Whether it is the turn for a slot, a request or a first plan. Checks have turns of their own."""

    @property
    def at_rest(self) -> bool:
        """Whether no run needs this turn."""
        return not (self.claimed or self.ended or self.exporter.status.active_run)


class Action(Protocol[T]):
    """One kind of action."""

    ends_turn: ClassVar[bool]
    """Whether the exporter then waits for its next turn."""

    async def due(self, now: Situation) -> T | None:
        """What to do now; None if there is nothing to do."""

    async def do(self, now: Situation, what: T) -> Exporter:
        """Do it. Returns the exporter as it is afterwards."""
