"""Every outside effect of a run, and a kill at each of them.

A recording run lists the effects: each call to Nexthink and Qualtrics, each write to the API server. Then, one slot
after the other, the operator gets SIGKILL while that effect is held: before it happened, or when it had happened and
nobody had been told; or it happens when its sender is long gone. The next process goes on, and serves as the victim of
the next kill: it is as old or as young as operators are.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tests.environment.api_gate import ApiGate
from tests.environment.sandbox import SandboxThread
from tests.faults.oracle import Finding, Found
from tests.faults.story import Slot, Story, Trigger

Moment = Literal["never happens", "happens unseen", "happens late"]
MOMENTS: tuple[Moment, ...] = get_args(Moment)
WRITES = ("api.status", "api.event")


@dataclass(frozen=True, slots=True)
class KillPoint:
    """The `number`th effect of that name since the process began or the slot fell due, and what becomes of it."""

    operation: str
    moment: Moment
    number: int = 1
    resumes: bool = False
    """Whether nothing can have been sent by then: the run has to begin again, and to succeed."""

    def __str__(self) -> str:
        number = f" (no. {self.number})" if self.number > 1 else ""
        return f"killed at {self.operation}{number}, which {self.moment}"


def recorded(story: Story, trigger: Trigger) -> list[str]:
    """The effects of one undisturbed run, in order."""
    slot = story.due(trigger)
    since = story.stage.clock.now()
    entry = story.over(slot)
    assert entry, f"the recording run ends: {story.exporter.status()}"
    assert (entry["result"], story.judged(slot)) == ("Succeeded", []), "the recording run is good"
    effects = [(call.operation, call.at) for call in story.stage.sandbox.ledger.calls]
    effects += [(call.operation, call.at) for call in story.gate.calls if call.operation.startswith(WRITES)]
    return [operation for operation, at in sorted(effects, key=lambda effect: effect[1]) if at >= since]


def points(effects: Sequence[str], moments: Iterable[Moment] = MOMENTS) -> list[KillPoint]:
    """The kill points of a recorded run."""
    counted: Counter[str] = Counter()
    found = []
    for operation in effects:
        counted[operation] += 1
        before = "api.status.Sending" not in counted
        found += [KillPoint(operation, moment, counted[operation], before) for moment in moments]
    return found


def killed(
    story: Story,
    trigger: Trigger,
    *kills: KillPoint,
    down: Callable[[Slot], None] | None = None,
    meanwhile: Callable[[Slot], None] | None = None,
) -> list[Found]:
    """One slot whose operator is killed there, the next operator there, and so on; what was wrong with the slot.

    `down` is what somebody does while no operator is there; `meanwhile` while the last one has just brought all
    recipients into their batch.
    """
    slot: Slot | None = None
    for nth, kill in enumerate(kills):
        side = _side(story, kill.operation)
        side.fault(kill.operation, after=kill.number - 1, hold="after" if kill.moment == "happens unseen" else "before")
        if slot is None:
            slot = story.due(trigger)
        else:
            story.operator.start()
        # Another process does not do everything again, and how often something is polled is a matter of time: where
        # it does not come to this, it is killed right after the slot is over.
        stands = story.stands_at(kill.operation, slot, for_sure=nth == 0 and kill.number == 1)
        story.operator.kill()
        if stands and kill.moment != "happens late":
            side.release(kill.operation, drop=True)
    assert slot is not None
    if down:
        down(slot)
    if meanwhile:
        story.stage.sandbox.fault("qualtrics.import_status", hold="after")
    story.operator.start()
    if meanwhile:
        story.stands_at("qualtrics.import_status", slot)
        meanwhile(slot)
    for side in (story.gate, story.stage.sandbox):
        side.clear_faults()
    story.over(slot)
    found = story.judged(slot)
    untouched = down is None and meanwhile is None and trigger != "a delivering test"
    if untouched and all(kill.resumes for kill in kills) and slot.entry and slot.entry["result"] != "Succeeded":
        found.append(Found(Finding.UNTRUE, f"it ended as {slot.entry['result']}, and nothing was in its way"))
    return found


def _side(story: Story, operation: str) -> ApiGate | SandboxThread:
    return story.gate if operation.startswith("api.") else story.stage.sandbox
