"""Request tokens that people and tools set, replace, restore and replay, and the violations that they cause.

A scenario is a list of steps. A tool such as Argo CD restores what Git holds, at any time and any number of times. So a
token can appear in an annotation again after any number of other requests.
"""

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from qualtrics_exporter.export.run_ids import request_run_id, test_run_id
from qualtrics_exporter.resource.names import RUN_REQUESTED_AT, SETTLE_RUN, TEST_MODE, TEST_REQUESTED_AT
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.in_process_controller import MAX_RECONCILIATIONS, InProcessController


class Requester:
    """Sets annotations of one exporter, lets the controller act after each change, and records what was requested."""

    def __init__(self, controller: InProcessController, install_crd: Callable[[str], None]) -> None:
        self.controller = controller
        self._install_crd = install_crd
        self._dry = 0
        self._requested: dict[str, str] = {}
        """A description of each run and test that was requested, by the id of its run."""
        self.lost_receipts = False
        """Whether receipts may be lost. Then a second entry may say that a run was already sent."""

    # Steps

    async def run(self, token: str) -> None:
        """Set `run-requested-at`."""
        self._requested[request_run_id(self.controller.uid, token)] = f"run {token}"
        await self._annotate({RUN_REQUESTED_AT: token})

    async def test(self, token: str, mode: str = "Dry") -> None:
        """Set `test-requested-at` and `test-mode`."""
        self._requested[test_run_id(self.controller.uid, token)] = f"test {token}"
        await self._annotate({TEST_REQUESTED_AT: token, TEST_MODE: mode})

    async def set_mode(self, mode: str) -> None:
        """Set only `test-mode`."""
        await self._annotate({TEST_MODE: mode})

    async def dry_tests(self, number: int) -> None:
        """Request so many dry tests, one after the other."""
        for _ in range(number):
            self._dry += 1
            await self.test(f"number-{self._dry}")

    async def settle(self, outcome: str, token: str) -> None:
        """Set `settle-run` for the run of this token."""
        await self._annotate({SETTLE_RUN: f"{request_run_id(self.controller.uid, token)}={outcome}"})

    async def remove(self) -> None:
        """Remove the annotations of requests."""
        await self._annotate({RUN_REQUESTED_AT: None, TEST_REQUESTED_AT: None, TEST_MODE: None})

    async def suspend(self) -> None:
        await self._patch(spec={"suspend": True})

    async def resume(self) -> None:
        await self._patch(spec={"suspend": False})

    async def edit(self) -> None:
        await self._patch(spec={"qualtrics": {"subject": f"Subject {self._dry}"}})

    async def restart(self) -> None:
        """Restart the operator."""
        self.controller.restart()
        await self._reconcile()

    async def older_crd(self) -> None:
        """Install the CRD of the version before: the API server drops the status fields that it does not know."""
        self.lost_receipts = True
        self._install_crd("older")

    async def newer_crd(self) -> None:
        self._install_crd("newer")

    async def wipe_status(self) -> None:
        """Lose the status, as after a restore from a backup without it."""
        self.lost_receipts = True
        await self.controller.user.patch(self.controller.name, subresource="status", status=None)
        await self._reconcile()

    async def lose_the_reply(self) -> None:
        """Lose the reply of the next send, and let Qualtrics not show which batch it was for."""
        self.controller.change_sandbox(batch_echo="never")
        self.controller.faults.add("qualtrics.create_distribution", drop="before")

    # Afterwards

    def violations(self) -> list[Violation]:
        """What the tokens did wrong."""
        return [*self._send_violations(), *self._entry_violations(), *self._settlement_violations()]

    def _send_violations(self) -> Iterator[Violation]:
        sends = Counter(run for one in self.controller.sent for run in one.run_ids)
        for error in self.controller.errors:
            description = f"the controller raised {error.strip().splitlines()[-1]}"
            yield Violation(ViolationKind.SILENT_SLOT, description)
        for run, number in sends.items():
            if number > 1:
                yield Violation(ViolationKind.DOUBLE_SEND, f"{self._requested.get(run, run)} was sent {number} times")
            if run not in self._requested:
                yield Violation(ViolationKind.WRONG_MAIL, f"{run} was sent, and nobody requested it")

    def _entry_violations(self) -> Iterator[Violation]:
        entries: dict[str, dict[str, str]] = {}
        for status in self.controller.cluster.statuses:
            tests = [status["lastTest"]] if "lastTest" in status else []
            for entry in [*status.get("history", []), *tests]:
                if not (self.lost_receipts and entry["reason"] == "AlreadySent"):
                    # A settlement changes the entry of its run, but not its times.
                    entries.setdefault(entry["id"], {})[entry["completionTime"]] = entry["result"]
        for run, what in self._requested.items():
            if run not in entries and not self.lost_receipts:
                yield Violation(ViolationKind.SILENT_SLOT, f"{what} has no entry")
            if len(results := entries.get(run, {})) > 1:
                description = f"{what} has {len(results)} entries: {', '.join(results.values())}"
                yield Violation(ViolationKind.UNTRUE_ENTRY, description)

    def _settlement_violations(self) -> Iterator[Violation]:
        handled: dict[str, set[str]] = {}
        for status in self.controller.cluster.statuses:
            if value := status.get("lastHandledSettlement"):
                handled.setdefault(value, set()).add(status["lastSettlement"]["handledTime"])
        for value, times in handled.items():
            if len(times) > 1:
                yield Violation(ViolationKind.UNTRUE_ENTRY, f"settle-run {value} acted {len(times)} times")

    async def _annotate(self, annotations: Mapping[str, str | None]) -> None:
        await self._patch(metadata={"annotations": dict(annotations)})

    async def _patch(self, **parts: Any) -> None:
        await self.controller.user.patch(self.controller.name, **parts)
        await self._reconcile()

    async def _reconcile(self) -> None:
        """Reconcile until nothing is due. Each request gets its own time."""
        self.controller.clock.advance(2)
        for _ in range(2 * MAX_RECONCILIATIONS):
            if await self.controller.reconcile() > self.controller.clock.now():
                return
        raise AssertionError(f"something is still due after {2 * MAX_RECONCILIATIONS} reconciliations")


Step = Callable[[Requester], Awaitable[None]]
Pattern = Callable[..., list[Step]]


def run(token: str) -> Step:
    return lambda requester: requester.run(token)


def delivering_test(requester: Requester) -> Awaitable[None]:
    return requester.test("T", "Deliver")


def dry_test(requester: Requester) -> Awaitable[None]:
    return requester.test("T", "Dry")


def mode_deliver(requester: Requester) -> Awaitable[None]:
    return requester.set_mode("Deliver")


def dry_tests(number: int) -> Step:
    return lambda requester: requester.dry_tests(number)


def settle(outcome: str, token: str) -> Step:
    return lambda requester: requester.settle(outcome, token)


A, B, C = run("A"), run("B"), run("C")


def restored(number: int, *between: Step) -> list[Step]:
    """Git holds A, a user annotates B, and self-heal restores A. Then follow so many tests, another run, and A."""
    return [A, B, A, *between, dry_tests(number), C, A]


def displaced(number: int, *between: Step) -> list[Step]:
    """B stays in the annotation during so many tests. Only then does self-heal restore A."""
    return [A, B, *between, dry_tests(number), A]


def removed(number: int, *between: Step) -> list[Step]:
    """The annotation is removed, and a later sync restores A."""
    return [A, Requester.remove, *between, dry_tests(number), A]


def delivered(number: int, *between: Step) -> list[Step]:
    """The token of a delivering test is restored, in either mode."""
    return [delivering_test, *between, dry_tests(number), dry_test, delivering_test, mode_deliver]


def changed_mode(number: int, *between: Step) -> list[Step]:
    """The mode of a dry test becomes `Deliver`, at once and when its token is restored."""
    return [dry_test, mode_deliver, *between, dry_tests(number), delivering_test, mode_deliver]


def settled(number: int, *between: Step) -> list[Step]:
    """A settlement of an unknown run is restored after another settlement."""
    first, second = settle("NotSent", "A"), settle("Sent", "B")
    return [Requester.lose_the_reply, A, first, B, second, *between, first, dry_tests(number), second, first]


PATTERNS: tuple[Pattern, ...] = (restored, displaced, removed, delivered, changed_mode, settled)
WITH_THE_TOKEN_IN_PLACE: tuple[Pattern, ...] = (restored, delivered, changed_mode)
"""Here the annotation holds the token when the status is lost. Other tokens are lost with the status."""
NUMBERS = (19, 20, 21, 40, 60)
FEW = 15
"""The older CRD keeps only a list of 20 receipts."""


def _scenarios() -> Iterator[tuple[str, list[Step]]]:
    numbers = itertools.cycle(NUMBERS)
    for pattern in PATTERNS:
        name = pattern.__name__.replace("_", " ")
        yield name, pattern(next(numbers))
        yield f"{name}, the operator restarts", pattern(next(numbers), Requester.restart)
        yield f"{name}, suspended and resumed", pattern(next(numbers), Requester.suspend, A, Requester.resume)
        yield f"{name}, suspended in between", [*pattern(next(numbers), Requester.suspend), Requester.resume]
        yield f"{name}, the spec is edited", pattern(next(numbers), Requester.edit)
        older = [Requester.older_crd, *pattern(FEW), Requester.restart, Requester.newer_crd]
        yield f"{name}, the CRD is older", older
        yield f"{name}, the CRD is upgraded", [Requester.older_crd, *pattern(next(numbers), Requester.newer_crd)]
        rolled_back = [*pattern(FEW, Requester.older_crd), Requester.newer_crd, Requester.restart]
        yield f"{name}, the CRD is rolled back", rolled_back
        if pattern in WITH_THE_TOKEN_IN_PLACE:
            yield f"{name}, the status is lost", pattern(next(numbers), Requester.wipe_status)


SCENARIOS = dict(_scenarios())
