"""Request tokens that people and tools set, replace, restore and replay, and what each of them may cause.

A scenario is a list of steps. A tool such as Argo CD restores what Git holds, at any time and as often as it likes, so
a token can appear in an annotation again after any number of other requests.
"""

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from qualtrics_exporter.export.run_ids import request_run_id, test_run_id
from qualtrics_exporter.resource.exporter import RUN_REQUESTED_AT, SETTLE_RUN, TEST_MODE, TEST_REQUESTED_AT
from tests.faults.desk import TENDS, Desk
from tests.faults.oracle import Finding, Found

LOOKS = TENDS * 2


class Player:
    """Sets annotations of one exporter, lets the controller act after each change, and remembers what was asked."""

    def __init__(self, desk: Desk, crd: Callable[[str], None]) -> None:
        self.desk = desk
        self._crd = crd
        self._dry = 0
        self._asked: dict[str, str] = {}
        """A description of each run and test that was requested, by the id of its run."""
        self.lossy = False
        """Whether receipts were lost on the way: then a second entry may say that a run was already sent."""

    # Steps

    async def run(self, token: str) -> None:
        """Set `run-requested-at`."""
        self._asked[request_run_id(self.desk.uid, token)] = f"run {token}"
        await self._annotate({RUN_REQUESTED_AT: token})

    async def test(self, token: str, mode: str = "Dry") -> None:
        """Set `test-requested-at` and `test-mode`."""
        self._asked[test_run_id(self.desk.uid, token)] = f"test {token}"
        await self._annotate({TEST_REQUESTED_AT: token, TEST_MODE: mode})

    async def mode(self, mode: str) -> None:
        """Set `test-mode` alone."""
        await self._annotate({TEST_MODE: mode})

    async def dry(self, number: int) -> None:
        """Request so many dry tests, one after the other."""
        for _ in range(number):
            self._dry += 1
            await self.test(f"number-{self._dry}")

    async def settle(self, outcome: str, token: str) -> None:
        """Set `settle-run` for the run of that token."""
        await self._annotate({SETTLE_RUN: f"{request_run_id(self.desk.uid, token)}={outcome}"})

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
        self.desk.restart()
        await self._settled()

    async def older_crd(self) -> None:
        """Install the CRD of the version before: the API server drops the status fields that it does not know."""
        self.lossy = True
        self._crd("older")

    async def newer_crd(self) -> None:
        self._crd("newer")

    async def wipe(self) -> None:
        """Lose the status, as by a restore from a backup without it."""
        self.lossy = True
        await self.desk.user.patch(self.desk.name, subresource="status", status=None)
        await self._settled()

    async def lose_the_reply(self) -> None:
        """The next send gets no reply, and Qualtrics does not show which batch it was for."""
        self.desk.shows(batch_echo="never")
        self.desk.faults.add("qualtrics.create_distribution", drop="before")

    # Afterwards

    def found(self) -> list[Found]:
        """What is wrong with what the tokens caused."""
        return [*self._sends(), *self._entries(), *self._settlements()]

    def _sends(self) -> Iterator[Found]:
        sends = Counter(run for one in self.desk.sent for run in one.run_ids)
        for error in self.desk.raised:
            yield Found(Finding.SILENT, f"the controller raised {error.strip().splitlines()[-1]}")
        for run, number in sends.items():
            if number > 1:
                yield Found(Finding.DOUBLE, f"{self._asked.get(run, run)} was sent {number} times")
            if run not in self._asked:
                yield Found(Finding.WRONG_MAIL, f"nobody asked for {run}, which was sent")

    def _entries(self) -> Iterator[Found]:
        entries: dict[str, dict[str, str]] = {}
        for status in self.desk.cluster.statuses:
            tests = [status["lastTest"]] if "lastTest" in status else []
            for entry in [*status.get("history", []), *tests]:
                if not (self.lossy and entry["reason"] == "AlreadySent"):
                    # A person's report changes the entry of its run, and no other time of it.
                    entries.setdefault(entry["id"], {})[entry["completionTime"]] = entry["result"]
        for run, what in self._asked.items():
            if run not in entries and not self.lossy:
                yield Found(Finding.SILENT, f"{what} has no entry")
            if len(results := entries.get(run, {})) > 1:
                yield Found(Finding.UNTRUE, f"{what} has {len(results)} entries: {', '.join(results.values())}")

    def _settlements(self) -> Iterator[Found]:
        handled: dict[str, set[str]] = {}
        for status in self.desk.cluster.statuses:
            if value := status.get("lastHandledSettlement"):
                handled.setdefault(value, set()).add(status["lastSettlement"]["handledTime"])
        for value, times in handled.items():
            if len(times) > 1:
                yield Found(Finding.UNTRUE, f"settle-run {value} was acted on {len(times)} times")

    # Inside

    async def _annotate(self, annotations: Mapping[str, str | None]) -> None:
        await self._patch(metadata={"annotations": dict(annotations)})

    async def _patch(self, **parts: Any) -> None:
        await self.desk.user.patch(self.desk.name, **parts)
        await self._settled()

    async def _settled(self) -> None:
        """Let the controller act until it waits for a later time. Each request has a time of its own."""
        self.desk.clock.advance(2)
        for _ in range(LOOKS):
            if await self.desk.tend() > self.desk.clock.now():
                return
        raise AssertionError(f"the controller is not at rest after {LOOKS} looks")


Step = Callable[[Player], Awaitable[None]]
Shape = Callable[..., list[Step]]


def run(token: str) -> Step:
    return lambda player: player.run(token)


def delivering(player: Player) -> Awaitable[None]:
    return player.test("T", "Deliver")


def dry_first(player: Player) -> Awaitable[None]:
    return player.test("T", "Dry")


def deliver(player: Player) -> Awaitable[None]:
    return player.mode("Deliver")


def dry(number: int) -> Step:
    return lambda player: player.dry(number)


def settle(outcome: str, token: str) -> Step:
    return lambda player: player.settle(outcome, token)


A, B, C = run("A"), run("B"), run("C")


def restored(number: int, *between: Step) -> list[Step]:
    """Git holds A, somebody annotates B, and self-heal restores A; then come so many tests, another run, and A."""
    return [A, B, A, *between, dry(number), C, A]


def displaced(number: int, *between: Step) -> list[Step]:
    """B stays in the annotation while so many tests come; only then does self-heal restore A."""
    return [A, B, *between, dry(number), A]


def removed(number: int, *between: Step) -> list[Step]:
    """The annotation is removed, and A comes back with a later sync."""
    return [A, Player.remove, *between, dry(number), A]


def delivered(number: int, *between: Step) -> list[Step]:
    """The token of a delivering test comes back, in either mode."""
    return [delivering, *between, dry(number), dry_first, delivering, deliver]


def changed_mode(number: int, *between: Step) -> list[Step]:
    """The mode of a dry test becomes `Deliver`, at once and when its token comes back."""
    return [dry_first, deliver, *between, dry(number), delivering, deliver]


def settled(number: int, *between: Step) -> list[Step]:
    """A report on a run whose outcome was unknown comes back after another report."""
    first, second = settle("NotSent", "A"), settle("Sent", "B")
    return [Player.lose_the_reply, A, first, B, second, *between, first, dry(number), second, first]


SHAPES: tuple[Shape, ...] = (restored, displaced, removed, delivered, changed_mode, settled)
WITH_THE_TOKEN_IN_PLACE: tuple[Shape, ...] = (restored, delivered, changed_mode)
"""Here the annotation holds the token when the status is lost. Other tokens are lost with the status."""
NUMBERS = (19, 20, 21, 40, 60)
FEW = 15
"""With the older CRD all that is left of a receipt is a list of 20."""


def _scenarios() -> Iterator[tuple[str, list[Step]]]:
    numbers = itertools.cycle(NUMBERS)
    for shape in SHAPES:
        name = shape.__name__.replace("_", " ")
        yield name, shape(next(numbers))
        yield f"{name}, the operator restarts", shape(next(numbers), Player.restart)
        yield f"{name}, suspended and resumed", shape(next(numbers), Player.suspend, A, Player.resume)
        yield f"{name}, suspended in between", [*shape(next(numbers), Player.suspend), Player.resume]
        yield f"{name}, the spec is edited", shape(next(numbers), Player.edit)
        yield f"{name}, the CRD is older", [Player.older_crd, *shape(FEW), Player.restart, Player.newer_crd]
        yield f"{name}, the CRD is upgraded", [Player.older_crd, *shape(next(numbers), Player.newer_crd)]
        yield f"{name}, the CRD is rolled back", [*shape(FEW, Player.older_crd), Player.newer_crd, Player.restart]
        if shape in WITH_THE_TOKEN_IN_PLACE:
            yield f"{name}, the status is lost", shape(next(numbers), Player.wipe)


SCENARIOS = dict(_scenarios())
