"""The wall clock is set at any moment, by anything between minutes and a year: no slot is sent twice or lost."""

import itertools

import pytest

from tests.environment.stage import Stage
from tests.faults import broken
from tests.faults.clock_steps import BY, FOR, MOMENTS, ClockStep, Moment, Stepped, every_step, some
from tests.faults.story import Story
from tests.faults.tally import Tally

MATRIX = "clock steps"
QUICK = some(
    every_step(),
    [
        ("idle", "a day", True, "a minute"),
        ("waiting for a slot", "12 hours", True, "an hour"),
        ("in a run", "400 days", False, "good"),
        ("in a look-up", "a day", False, "a minute"),
        ("at a restart", "12 hours", True, "good"),
    ],
)
AHEAD_FOR_AN_HOUR = ClockStep("12 hours", forward=True, for_="an hour", moment="idle", schedule="every hour")


def begun(stage: Stage, build: broken.Build | None = None) -> Story:
    """An operator without exporters."""
    story = Story(stage, broken=build)
    story.start()
    story.exporter.delete()
    return story


def stepped(stage: Stage, tally: Tally, steps: list[ClockStep]) -> None:
    """All of these, one after the other, with the same operator."""
    story = begun(stage)
    for step in steps:
        tally.add(MATRIX, f"{step.moment}, for {step.for_}", str(step), Stepped(story, step).play())
    tally.add(MATRIX, "what is left behind", "after all", story.leaks())


def test_no_slot_is_lost_or_sent_twice_when_the_clock_is_set(stage: Stage, tally: Tally) -> None:
    assert len(QUICK) == len(MOMENTS)
    stepped(stage, tally, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
def test_whenever_and_however_far_it_is_set(stage: Stage, tally: Tally, moment: Moment) -> None:
    steps = [step for step in every_step() if step.moment == moment]
    assert len(steps) == len(list(itertools.product(BY, FOR, (True, False))))
    stepped(stage, tally, steps)


@pytest.mark.long
@pytest.mark.parametrize("build", [None, broken.UNCLAIMED, broken.HISTORY_ONLY])
def test_slots_that_a_clock_brought_too_early_do_not_run_again(
    stage: Stage, tally: Tally, build: broken.Build | None
) -> None:
    found = Stepped(begun(stage, build), AHEAD_FOR_AN_HOUR).play(hour_by_hour=True)
    tally.add(MATRIX, "every slot of the wrong time comes again", str(AHEAD_FOR_AN_HOUR), found, broken=build)
    assert bool(found) is (build is not None)
