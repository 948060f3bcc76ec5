"""Judges a run of an in-process controller: the promises that hold with any fault, and the documented outcome."""

from datetime import datetime
from typing import Any, get_args

from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Result
from tests.faults import assertions
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.in_process_controller import InProcessController
from tests.faults.remote_faults import MAX_SENDS, Outcome

SEND = "qualtrics.create_distribution"


async def promise_violations(
    controller: InProcessController,
    entry: dict[str, Any] | None,
    *,
    may_send: bool = True,
    expects_entry: bool = True,
) -> list[Violation]:
    """The promises that a run with this entry broke. They hold with any fault."""
    violations = assertions.slot_violations(
        controller.sandbox.recorder,
        controller.sent,
        entry,
        controller.people,
        may_send=may_send,
        expects_entry=expects_entry,
    )
    violations += assertions.unjournaled_sends(controller.sent, controller.cluster.journal_writes)
    violations += await controller.leaks()
    if controller.canary.received_requests or controller.canary.token_requests:
        violations.append(Violation(ViolationKind.LEAK, "a redirect was followed"))
    sends = controller.count_calls(SEND)
    if sends > MAX_SENDS:
        violations.append(Violation(ViolationKind.DOUBLE_SEND, f"Qualtrics was asked {sends} times to send"))
    if entry is not None:
        violations += await _report_violations(controller, entry)
    assert not controller.errors, controller.errors
    return violations


async def _report_violations(controller: InProcessController, entry: dict[str, Any]) -> list[Violation]:
    """Entry, condition and Event must report the same, with a result and a reason that are documented."""
    result, reason = entry["result"], entry["reason"]
    violations = []

    def untrue(description: str) -> None:
        violations.append(Violation(ViolationKind.UNTRUE_ENTRY, description))

    if result not in get_args(Result) or reason not in set(Reason):
        untrue(f"{result} ({reason}) is not documented")
    if (result == "Unknown") != (reason == "DeliveryUnknown"):
        untrue(f"{result} has the reason {reason}")
    last = await controller.condition("LastRunSucceeded")
    states = {"Succeeded": "True", "Failed": "False", "Unknown": "Unknown"}
    if result in states and (last.get("status"), last.get("reason")) != (states[result], reason):
        untrue(f"LastRunSucceeded is {last.get('status')} after {result} ({reason})")
    began = datetime.fromisoformat(entry["startTime"])
    events = await controller.user.events(controller.name)
    reported = {event["reason"] for event in events if datetime.fromisoformat(event["eventTime"]) >= began}
    if reason not in reported:
        violations.append(Violation(ViolationKind.SILENT_SLOT, f"no Event reports {result} ({reason})"))
    return violations


def outcome_violations(
    controller: InProcessController, entry: dict[str, Any] | None, expected: Outcome
) -> list[Violation]:
    """How the outcome of a run differs from the documented one."""
    if entry is None:
        return []  # `promise_violations` reports that
    violations, sends = [], controller.count_calls(SEND)
    if (entry["result"], entry["reason"]) != (expected.result, expected.reason):
        ended = f"{entry['result']} ({entry['reason']})"
        description = f"it ended as {ended}, not as {expected.result} ({expected.reason})"
        violations.append(Violation(ViolationKind.UNTRUE_ENTRY, description))
    if sends != expected.sends:
        kind = ViolationKind.DOUBLE_SEND if sends > expected.sends else ViolationKind.UNTRUE_ENTRY
        violations.append(Violation(kind, f"Qualtrics was asked {sends} times to send, not {expected.sends}"))
    return violations
