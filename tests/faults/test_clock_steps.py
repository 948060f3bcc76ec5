"""The wall clock is set at any moment, by minutes to a year: no slot is sent twice, and none is lost."""

import itertools

import pytest

from tests.faults import mutants
from tests.faults.clock_steps import (
    DURATIONS,
    MOMENTS,
    SIZES,
    ClockStep,
    ClockStepScenario,
    Moment,
    all_steps,
    select,
)
from tests.faults.scenario import Scenario
from tests.faults.tally import Tally
from tests.support.stage import Stage

ATTACK = "clock steps"
QUICK = select(
    all_steps(),
    [
        ("idle", "a day", True, "a minute"),
        ("waiting for a slot", "12 hours", True, "an hour"),
        ("in a run", "400 days", False, "good"),
        ("in a look-up", "a day", False, "a minute"),
        ("at a restart", "12 hours", True, "good"),
    ],
)
AHEAD_FOR_AN_HOUR = ClockStep("12 hours", forward=True, duration="an hour", moment="idle", schedule="every hour")
REPEATED_HOURS = "every slot of the wrong time falls due again"


def start_scenario(stage: Stage, mutant: mutants.Mutant | None = None) -> Scenario:
    """An operator without exporters."""
    scenario = Scenario(stage, mutant=mutant)
    scenario.start()
    scenario.exporter.delete()
    return scenario


def play(stage: Stage, tally: Tally, steps: list[ClockStep]) -> None:
    """Play all of these steps, one after the other, with the same operator."""
    scenario = start_scenario(stage)
    for step in steps:
        violations = ClockStepScenario(scenario, step).play()
        tally.add(ATTACK, f"{step.moment}, for {step.duration}", str(step), violations)
    tally.add(ATTACK, "logs, metrics and files", "after all steps", scenario.leaks())


def test_exporter_sends_each_slot_once_when_the_clock_is_set(stage: Stage, tally: Tally) -> None:
    assert len(QUICK) == len(MOMENTS)
    play(stage, tally, QUICK)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
def test_exporter_sends_each_slot_once_after_any_clock_step(stage: Stage, tally: Tally, moment: Moment) -> None:
    steps = [step for step in all_steps() if step.moment == moment]
    assert len(steps) == len(list(itertools.product(SIZES, DURATIONS, (True, False))))
    play(stage, tally, steps)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
def test_slots_that_ran_early_by_a_wrong_clock_do_not_run_again(stage: Stage, tally: Tally) -> None:
    violations = ClockStepScenario(start_scenario(stage), AHEAD_FOR_AN_HOUR).play(hour_by_hour=True)
    tally.add(ATTACK, REPEATED_HOURS, str(AHEAD_FOR_AN_HOUR), violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("mutant", [mutants.UNCLAIMED_SLOTS, mutants.HISTORY_ONLY])
def test_clock_that_was_ahead_for_an_hour_catches_each_mutant(
    stage: Stage, tally: Tally, mutant: mutants.Mutant
) -> None:
    violations = ClockStepScenario(start_scenario(stage, mutant), AHEAD_FOR_AN_HOUR).play(hour_by_hour=True)
    tally.add(ATTACK, REPEATED_HOURS, str(AHEAD_FOR_AN_HOUR), violations, mutant=mutant)
    assert tally.caught, f"the clock step does not find this bug: {mutant}"
