"""Injects faults of Nexthink and Qualtrics into the runs, checks and delivery figures of an in-process controller."""

from collections.abc import Callable
from typing import Any

from tests.faults.assertions import Violation, ViolationKind
from tests.faults.controller_factory import ControllerFactory, ReusedController
from tests.faults.in_process_controller import InProcessController, condition
from tests.faults.remote_faults import (
    EXPORT_OPERATIONS,
    LOOK_UP_OPERATIONS,
    SUCCEEDED,
    Outcome,
    RemoteFault,
)
from tests.faults.run_violations import SEND, outcome_violations, promise_violations

TOKENS_EXPIRED = 4000.0
"""Seconds after which the tokens of both services have expired."""
DELIVERY_STOPPED = "stopped"


class InjectedFaults:
    """The faults of a scenario. Afterwards, `all_occurred` reports whether they occurred."""

    def __init__(self, controller: InProcessController, *faults: RemoteFault) -> None:
        self._controller = controller
        self._occurred = [self._inject(fault) for fault in faults]

    def _inject(self, fault: RemoteFault) -> Callable[[], bool]:
        controller, operation, type_ = self._controller, fault.operation, fault.type
        if type_.closed:
            controller.transport_faults.close_port(operation, once=fault.once)
            return lambda: operation in controller.transport_faults.refused
        if type_.late:
            controller.transport_faults.give_up(operation, drop=type_.late == "dropped")
        controller.change_sandbox(**type_.account)
        for other, also in type_.also.items():
            controller.faults.add(other, times=None, **also)
        order = type_.order(controller.clock.now(), controller.canary.url)
        injected = controller.faults.add(operation, times=1 if fault.once else None, after=fault.after, **order)
        return lambda: injected.hits > 0

    def all_occurred(self) -> bool:
        """Whether every fault occurred. Otherwise the scenario shows nothing."""
        return all(occurred() for occurred in self._occurred)


def inject(controller: InProcessController, *faults: RemoteFault) -> InjectedFaults:
    """Inject faults into the next run, and make the run reach them."""
    if any(fault.operation.endswith(".token") for fault in faults):
        controller.clock.advance(TOKENS_EXPIRED)
    if any(fault.operation in LOOK_UP_OPERATIONS for fault in faults):
        controller.faults.add(SEND, drop="after")
    return InjectedFaults(controller, *faults)


def requirements(*faults: RemoteFault) -> dict[str, Any]:
    """The arguments of a controller that reaches the operations of these faults."""
    exports = any(fault.operation in EXPORT_OPERATIONS for fault in faults)
    return {"people": 1000 if exports else None}


async def run_with(reused: ReusedController, fault: RemoteFault, expected: Outcome) -> list[Violation]:
    """Run once with a fault. Returns the violations."""
    # If Qualtrics shows less, that applies to the sends of earlier scenarios too.
    controller = await reused.ready(**requirements(fault), fresh=bool(fault.type.account))
    if fault.operation == "nexthink.execute":
        # After an earlier scenario, a run may begin with an export. After an edit it does not.
        await controller.user.patch(controller.name, spec={"description": str(fault)})
    faults = inject(controller, fault)
    entry = await controller.run()
    assert faults.all_occurred(), fault
    violations = [
        *outcome_violations(controller, entry, expected),
        *await promise_violations(controller, entry),
    ]
    if violations:
        print(f"--- {fault}: {violations}\n{entry}\n{controller.log}")
    return violations


async def check_with(controllers: ControllerFactory, fault: RemoteFault, expected: Outcome) -> list[Violation]:
    """Check an exporter for the first time with a fault, and again without it. Returns the violations."""
    async with controllers.create(**requirements(fault)) as controller:
        faults = InjectedFaults(controller, fault)
        ready = await controller.apply()
        assert faults.all_occurred(), fault
        violations = []
        reported = (ready["status"], ready["reason"])
        documented = ("True", "Checked") if expected.result == "Succeeded" else ("False", expected.reason)
        if reported != documented:
            description = f"Ready is {reported}, not {documented}: {ready['message']}"
            violations.append(Violation(ViolationKind.UNTRUE_ENTRY, description))
        if ready["reason"] not in {event["reason"] for event in await controller.user.events(controller.name)}:
            violations.append(Violation(ViolationKind.SILENT_SLOT, f"no Event reports {reported}"))
        await controller.remove_faults()
        status = await controller.reconcile_until(lambda status: condition(status, "Ready")["status"] == "True")
        if condition(status, "Ready")["status"] != "True":
            description = "the exporter does not become ready after the fault"
            violations.append(Violation(ViolationKind.SILENT_SLOT, description))
        violations += await promise_violations(controller, None, may_send=False, expects_entry=False)
        if violations:
            print(f"--- {fault}: {violations}\n{controller.log}")
        return violations


async def delivery_with(reused: ReusedController, fault: RemoteFault, expected: Outcome) -> list[Violation]:
    """Read the delivery figures of a run with a fault, and again without it. Returns the violations."""
    controller = await reused.ready(**requirements(fault))
    controller.account.suppression_hours = 0  # so that Qualtrics mails the same people each time
    before = await controller.run()
    assert before
    assert before["result"] == "Succeeded"
    faults = InjectedFaults(controller, fault)
    controller.clock.advance(130)
    await controller.reconcile()
    assert faults.all_occurred(), fault
    entry = (await controller.status())["history"][0]
    violations = [
        *outcome_violations(controller, entry, SUCCEEDED),
        *await promise_violations(controller, entry),
    ]
    figures = entry.get("delivery", {})
    stopped = expected.reason == DELIVERY_STOPPED
    if ("sent" in figures) is not (expected.result == "Succeeded") or ("stoppedReason" in figures) is not stopped:
        violations.append(Violation(ViolationKind.UNTRUE_ENTRY, f"the figures are {figures}"))
    await controller.remove_faults()
    status = await controller.reconcile_until(lambda status: "delivery" in status["history"][0])
    entry = status["history"][0]
    if ("sent" in entry.get("delivery", {})) is stopped:
        violations.append(Violation(ViolationKind.SILENT_SLOT, f"the figures are {figures} after the fault"))
    if violations:
        print(f"--- {fault}: {violations}\n{entry}\n{controller.log}")
    return violations
