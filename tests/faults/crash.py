"""Records every outside effect of a run, and kills the operator at each of them.

The effects are the calls to Nexthink and Qualtrics and the writes to the API server. A first, undisturbed run records
them. Then, in one slot after the other, an effect is held, and the operator gets SIGKILL: before the effect, after the
effect but before its reply, or before an effect that comes when its sender is gone. The next process resumes, and is
itself killed at the next effect. So the killed processes are as old or as young as operators are.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tests.faults.assertions import Violation, ViolationKind
from tests.faults.scenario import Scenario, Slot, Trigger
from tests.support.fault_proxy import FaultProxy
from tests.support.sandbox import SandboxThread

Moment = Literal["before its effect", "after its effect", "before a delayed effect"]
BEFORE, AFTER, DELAYED = MOMENTS = get_args(Moment)
WRITES = ("api.status", "api.event")


@dataclass(frozen=True, slots=True)
class KillPoint:
    """The `number`th call of this operation since the process began or the slot fell due, and the moment in it."""

    operation: str
    moment: Moment
    number: int = 1
    must_succeed: bool = False
    """Whether nothing can have been sent by then, so that the run must begin again and succeed."""

    def __str__(self) -> str:
        number = f" (no. {self.number})" if self.number > 1 else ""
        return f"killed at {self.operation}{number}, {self.moment}"


def record_effects(scenario: Scenario, trigger: Trigger) -> list[str]:
    """The effects of one undisturbed run, in order."""
    slot = scenario.make_due(trigger)
    since = scenario.stage.clock.now()
    entry = scenario.wait_for_end(slot)
    assert entry, f"the undisturbed run has no entry: {scenario.exporter.status()}"
    assert (entry["result"], scenario.violations(slot)) == ("Succeeded", []), "the undisturbed run fails"
    effects = [(call.operation, call.at) for call in scenario.stage.sandbox.recorder.calls]
    effects += [(call.operation, call.at) for call in scenario.fault_proxy.calls if call.operation.startswith(WRITES)]
    return [operation for operation, at in sorted(effects, key=lambda effect: effect[1]) if at >= since]


def kill_points(effects: Sequence[str], moments: Iterable[Moment] = MOMENTS) -> list[KillPoint]:
    """The kill points of a recorded run."""
    counted: Counter[str] = Counter()
    points = []
    for operation in effects:
        counted[operation] += 1
        before_send = "api.status.Sending" not in counted
        points += [KillPoint(operation, moment, counted[operation], before_send) for moment in moments]
    return points


def kill_at(
    scenario: Scenario,
    trigger: Trigger,
    *kills: KillPoint,
    while_down: Callable[[Slot], None] | None = None,
    while_resuming: Callable[[Slot], None] | None = None,
) -> list[Violation]:
    """The violations of one slot whose operator is killed at the first point, the next operator at the next one, etc.

    `while_down` is called while no operator runs. `while_resuming` is called when the last operator has imported all
    recipients into their batch.
    """
    slot: Slot | None = None
    for nth, kill in enumerate(kills):
        side = _side(scenario, kill.operation)
        side.fault(kill.operation, after=kill.number - 1, hold="after" if kill.moment == AFTER else "before")
        if slot is None:
            slot = scenario.make_due(trigger)
        else:
            scenario.operator.start()
        # The next process does not repeat everything, and the number of polls depends on the time. If it does not
        # reach this point, it is killed right after the slot has ended.
        held = scenario.wait_until_held(kill.operation, slot, required=nth == 0 and kill.number == 1)
        scenario.operator.kill()
        if held and kill.moment != DELAYED:
            side.release(kill.operation, drop=True)
    assert slot is not None
    if while_down:
        while_down(slot)
    if while_resuming:
        scenario.stage.sandbox.fault("qualtrics.import_status", hold="after")
    scenario.operator.start()
    if while_resuming:
        scenario.wait_until_held("qualtrics.import_status", slot)
        while_resuming(slot)
    for side in (scenario.fault_proxy, scenario.stage.sandbox):
        side.clear_faults()
    scenario.wait_for_end(slot)
    violations = scenario.violations(slot)
    undisturbed = while_down is None and while_resuming is None and trigger != "a delivering test"
    must_succeed = undisturbed and all(kill.must_succeed for kill in kills)
    if must_succeed and slot.entry and slot.entry["result"] != "Succeeded":
        description = f"it ended as {slot.entry['result']}, although nothing prevented it from succeeding"
        violations.append(Violation(ViolationKind.UNTRUE_ENTRY, description))
    return violations


def _side(scenario: Scenario, operation: str) -> FaultProxy | SandboxThread:
    return scenario.fault_proxy if operation.startswith("api.") else scenario.stage.sandbox
