"""The operator is killed at every effect of a run; the next one goes on."""

import random
from collections.abc import Callable

import pytest

from tests.environment.stage import Stage
from tests.faults import broken, crash
from tests.faults import tally as tallies
from tests.faults.crash import KillPoint
from tests.faults.oracle import Finding, Found
from tests.faults.story import Slot, Story, Trigger
from tests.faults.tally import Tally

MATRIX = "killed at an effect"
PAIRS = 40
SLOT: Trigger = "a slot of the schedule"
TRIGGERS: dict[str, tuple[Trigger, int]] = {
    SLOT: (SLOT, 6),
    "a slot with a large result": (SLOT, 1200),
    "a run request": ("a run request", 6),
    "a delivering test": ("a delivering test", 30),
}
# What `make test` has time for: both ways around the send, and a third of the others.
AROUND_THE_SEND = ("api.status.Sending", "qualtrics.create_distribution", "api.status.Sent", "api.status.ended")
NEW_SUBJECT = "The new subject"
Begun = Callable[..., Story]


@pytest.fixture
def begun(stage: Stage) -> Begun:
    """An exporter that was checked, and its operator."""

    def begin(people: int = 6, build: broken.Build | None = None, trigger: Trigger = SLOT) -> Story:
        story = Story(stage, people=people, broken=build, slots=trigger == SLOT)
        story.start()
        story.exporter.checked()
        return story

    return begin


def test_a_kill_at_any_effect_of_a_slot_sends_at_most_once_and_ends_in_an_entry(begun: Begun, tally: Tally) -> None:
    story = begun()
    effects = crash.recorded(story, SLOT)
    points = crash.points(effects, ["happens unseen", "never happens"])
    kills = [kill for kill in points if kill.operation in AROUND_THE_SEND]
    assert len(kills) == len(AROUND_THE_SEND) * 2
    kills += [kill for kill in points if kill.operation not in AROUND_THE_SEND][::3]
    for kill in kills:
        tally.add(MATRIX, SLOT, str(kill), crash.killed(story, SLOT, kill))
    assert not story.end()


@pytest.mark.long
@pytest.mark.parametrize("subject", TRIGGERS)
def test_whatever_becomes_of_an_effect_and_whatever_began_the_run(begun: Begun, tally: Tally, subject: str) -> None:
    trigger, people = TRIGGERS[subject]
    story = begun(people, trigger=trigger)
    effects = crash.recorded(story, trigger)
    for kill in crash.points(effects):
        tally.add(MATRIX, subject, str(kill), crash.killed(story, trigger, kill))
    assert not story.end()


@pytest.mark.long
def test_the_process_that_goes_on_may_be_killed_as_well(begun: Begun, tally: Tally) -> None:
    story = begun()
    chance = random.Random(tallies.seed())
    kills = crash.points(crash.recorded(story, SLOT))
    for _ in range(PAIRS):
        pair = chance.choices(kills, k=2)
        tally.add(
            MATRIX, "a slot, killed twice at random", ", then ".join(map(str, pair)), crash.killed(story, SLOT, *pair)
        )


@pytest.mark.long
@pytest.mark.parametrize("act", ["suspends", "edits", "deletes"])
def test_what_the_user_does_while_a_run_is_taken_up_again_counts(begun: Begun, tally: Tally, act: str) -> None:
    for operation in ("nexthink.execute", "api.status.Importing", "qualtrics.import_status", "api.status.Sending"):
        story = begun()
        kill = KillPoint(operation, "never happens")
        found = crash.killed(story, SLOT, kill, meanwhile=lambda slot: _acts(story, slot, act))  # noqa: B023
        found += [*_old_subject(story, act), *story.end()]
        tally.add(MATRIX, f"a slot, and then its user {act}", str(kill), found)


@pytest.mark.parametrize(
    "acts", [["edits"], pytest.param(["suspends", "edits", ""], marks=pytest.mark.long)], ids=["some", "all"]
)
def test_what_the_user_does_while_a_refused_send_waits_counts_after_a_kill(
    begun: Begun, tally: Tally, acts: list[str]
) -> None:
    # Its first write of `Sending` announces the send, its second one says that it was refused.
    kill = KillPoint("api.status.Sending", "happens unseen", 2)
    for act in acts:
        story = begun()
        story.stage.sandbox.fault("qualtrics.create_distribution", status=429, headers={"Retry-After": "120"})
        found = crash.killed(story, SLOT, kill, down=lambda slot: _acts(story, slot, act))  # noqa: B023
        subject = f"a slot that was refused, and then its user {act}" if act else "a slot that was refused"
        tally.add(MATRIX, subject, str(kill), [*found, *_old_subject(story, act), *story.end()])


@pytest.mark.long
@pytest.mark.parametrize("build", broken.BUILDS)
def test_a_broken_build_is_caught(begun: Begun, tally: Tally, build: broken.Build) -> None:
    story = begun(build=build)
    caught = []
    for operation in AROUND_THE_SEND[:3]:
        found = crash.killed(story, SLOT, KillPoint(operation, "happens unseen"))
        tally.add(MATRIX, SLOT, operation, found, broken=build)
        caught += found
    kill = KillPoint("nexthink.execute", "never happens")
    found = crash.killed(story, SLOT, kill, meanwhile=lambda slot: _acts(story, slot, "suspends"))
    tally.add(MATRIX, SLOT, str(kill), found, broken=build)
    assert caught + found


def _old_subject(story: Story, act: str) -> list[Found]:
    last = story.stage.sandbox.ledger.distributions[-1:]
    if act == "edits" and last and last[0].subject != NEW_SUBJECT:
        return [Found(Finding.WRONG_MAIL, "it was sent with the old subject")]
    return []


def _acts(story: Story, slot: Slot, act: str) -> None:
    if not act:
        return
    if act == "edits":
        story.exporter.change(**{"qualtrics.subject": NEW_SUBJECT})
        return
    slot.may_send = False
    if act == "suspends":
        story.exporter.change(suspend=True)
    else:
        slot.told = False
        story.exporter.delete()
