"""Several operators, of which one should work: killed, paused and cut off at every step, and two that both work."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from tests.environment.operator import Operator
from tests.environment.stage import Stage
from tests.environment.waiting import eventually
from tests.faults import broken
from tests.faults.oracle import Found
from tests.faults.story import Slot, Story, Trigger
from tests.faults.tally import Tally

MATRIX = "several replicas"
SLOT: Trigger = "a slot of the schedule"
STEPS = (
    ("api.status.Claimed", "after"),
    ("nexthink.execute", "before"),
    ("qualtrics.create_batch", "after"),
    ("api.status.Importing", "after"),
    ("qualtrics.import_contacts", "after"),
    ("qualtrics.import_status", "after"),
    ("api.status.Sending", "before"),
    ("api.status.Sending", "after"),
    ("qualtrics.create_distribution", "before"),
    ("qualtrics.create_distribution", "after"),
    ("api.status.Sent", "before"),
    ("api.status.ended", "before"),
)
IMPORTED = STEPS[5]
Pair = Callable[..., Story]


@pytest.fixture
def pair(stage: Stage) -> Pair:
    """An exporter, and two replicas."""

    def begin(build: broken.Build | None = None, *, election: bool = True, steered_lease: bool = True) -> Story:
        story = Story(stage, broken=build)
        for _ in range(2):
            story.start(election=election, steered_lease=steered_lease)
        story.exporter.checked()
        return story

    return begin


def leads(operator: Operator) -> bool:
    """Whether this replica says that it works."""
    return says(operator, "qualtrics_exporter_leader 1.0")


def leader(story: Story) -> int:
    """The replica that works."""

    def look() -> list[int]:
        return [n for n in range(len(story.operators)) if follows(story, n)]

    return eventually(look, "somebody leads")[0]


def lost(story: Story, how: str, operation: str, when: str, *, elected: bool = False) -> list[Found]:
    """One slot whose worker is lost to the others at that step, and comes back when they are done."""
    sandbox = story.stage.sandbox
    if operation.startswith("api."):
        for gate in story.gates:
            gate.fault(operation, hold=when)
    else:
        sandbox.fault(operation, hold=when)
    slot = story.due(SLOT)
    working = stuck(story, operation, slot)
    gate, operator = story.gates[working], story.operators[working]
    story.gates[1 - working].clear_faults()
    if how == "killed":
        operator.kill()
        gate.release(drop=True)
        sandbox.release(drop=True)
    elif how == "paused":
        operator.send(signal.SIGSTOP)
    else:
        gate.cut()
        gate.release()
        sandbox.release()
    if elected:
        story.stage.until_lease_runs_out(partial(follows, story, 1 - working), "the other one leads")
    else:
        story.stage.let_a_lease_pass()  # for the one that is paused: without a Lease, it has no other limit
    story.over(slot, pace=60)
    gate.clear_faults()
    sandbox.clear_faults()
    if how == "killed":
        operator.start()
    elif how == "paused":
        operator.send(signal.SIGCONT)
        # What it still does has been done when it answers again, and has written or found that it may not.
        eventually(lambda: not operator.alive or operator.get("/livez") == 200, "it has woken")
        eventually(lambda: not operator.alive or letting_go(operator), "it has let go of the run")
        if not operator.alive:  # it ended itself: its term was over
            operator.start()
    else:
        gate.mend()
        eventually(lambda: not operator.alive or letting_go(operator), "it has let go of the run")
        if not operator.alive:
            operator.start()
    return story.judged(slot)


def follows(story: Story, other: int) -> bool:
    """Whether the other replica leads by now."""
    story.kubelet()
    return leads(story.operators[other])


def stuck(story: Story, operation: str, slot: Slot) -> int:
    """Which replica stands at that operation."""
    if not operation.startswith("api."):
        assert story.stands_at(operation, slot)
        claims = [(call.at, n) for n, gate in enumerate(story.gates) for call in gate.calls if call.run and call.taken]
        return max(claims)[1]

    def look() -> list[int]:
        return [n + 1 for n, gate in enumerate(story.gates) if gate.held(operation)]

    return story.stage.while_time_passes(lambda: eventually(look, f"{operation} is reached"), seconds=1)[0] - 1


def letting_go(operator: Operator) -> bool:
    """Whether it is at rest: no run is in its hands."""
    return says(operator, "qualtrics_exporter_active_runs 0.0")


def says(operator: Operator, metric: str) -> bool:
    """Whether its metrics have this line. A replica that was lost may end itself at any moment."""
    with suppress(OSError):
        return operator.alive and metric in operator.metrics()
    return False


@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
def test_a_leader_that_is_lost_in_a_run_is_followed_and_the_survey_goes_out_once(
    pair: Pair, tally: Tally, how: str
) -> None:
    story = pair()
    leader(story)
    operation, when = IMPORTED
    tally.add(MATRIX, f"leader {how}", f"{when} {operation}", lost(story, how, operation, when, elected=True))


@pytest.mark.long
@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
def test_a_leader_that_is_lost_in_any_step(pair: Pair, tally: Tally, how: str) -> None:
    story = pair()
    for operation, when in STEPS:
        leader(story)
        tally.add(MATRIX, f"leader {how}", f"{when} {operation}", lost(story, how, operation, when, elected=True))
    assert not story.end()


@pytest.mark.long
@pytest.mark.parametrize("how", ["killed", "paused", "cut off"])
def test_of_two_that_both_lead_one_is_lost_in_any_step(pair: Pair, tally: Tally, how: str) -> None:
    story = pair(election=False)
    for operation, when in STEPS:
        tally.add(MATRIX, f"two leaders, one {how}", f"{when} {operation}", lost(story, how, operation, when))
    assert not story.end()


@pytest.mark.long
def test_two_that_both_lead_send_once_slot_after_slot(pair: Pair, tally: Tally) -> None:
    story = pair(election=False)
    for number in range(30):
        slot = story.due(SLOT)
        story.over(slot)
        tally.add(MATRIX, "two leaders", f"slot {number}", story.judged(slot))
    assert not story.end()


@pytest.mark.long
@pytest.mark.parametrize("build", broken.BUILDS)
def test_a_broken_build_is_caught(pair: Pair, tally: Tally, build: broken.Build) -> None:
    story = pair(build, election=False)
    caught = []
    for how, operation, when in (
        ("killed", "qualtrics.create_distribution", "after"),
        ("paused", "qualtrics.import_status", "after"),
    ):
        found = lost(story, how, operation, when)
        tally.add(MATRIX, f"one {how}", operation, found, broken=build)
        caught += found
    assert caught


@pytest.mark.long
def test_a_leader_that_was_killed_is_followed_and_so_is_one_that_was_asked_to_stop(pair: Pair, tally: Tally) -> None:
    story = pair(steered_lease=False)
    killed = leader(story)
    story.operators[killed].kill()
    began = time.monotonic()
    eventually(lambda: leads(story.operators[1 - killed]), "the other one leads")
    tally.note(f"A leader that was killed is followed after {time.monotonic() - began:.1f} s.")
    story.operators[killed].start()
    story.operators[1 - killed].terminate()
    began = time.monotonic()
    eventually(lambda: leads(story.operators[killed]), "the first one leads again")
    tally.note(f"A leader that was asked to stop is followed after {time.monotonic() - began:.1f} s.")
    assert story.operators[1 - killed].wait() == 0
