"""The cluster fails during a run: each slot sends at most once, and has an entry."""

import pytest

from tests.faults import mutants
from tests.faults.cluster_attacks import LONG, ONLY_REQUESTS, QUICK, Attack, recreated, withdrawn_permission
from tests.faults.scenario import Scenario
from tests.faults.tally import Tally
from tests.support.stage import Stage

ATTACK = "the cluster"


def play(attack: Attack, name: str, stage: Stage, tally: Tally) -> Scenario:
    """Play all scenarios of an attack, one after the other, with the same operator."""
    scenario = Scenario(stage, slots=attack not in ONLY_REQUESTS)
    scenario.start()
    scenario.exporter.checked()
    for point, violations in attack(scenario):
        tally.add(ATTACK, name, point, violations)
    return scenario


@pytest.mark.parametrize("name", QUICK)
def test_slot_during_a_fault_of_the_cluster_sends_at_most_once_and_ends_in_an_entry(
    stage: Stage, tally: Tally, name: str
) -> None:
    scenario = play(QUICK[name], name, stage, tally)
    assert tally.violations == [], tally.how_to_repeat
    assert scenario.end() == [], "something was sent after the last slot"


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_slot_during_any_fault_of_the_cluster_sends_at_most_once_and_ends_in_an_entry(
    stage: Stage, tally: Tally, name: str
) -> None:
    scenario = play(LONG[name], name, stage, tally)
    assert tally.violations == [], tally.how_to_repeat
    assert scenario.end() == [], "something was sent after the last slot"


@pytest.mark.long
@pytest.mark.parametrize("mutant", mutants.GENERAL)
def test_faults_of_the_cluster_catch_each_mutant(stage: Stage, tally: Tally, mutant: mutants.Mutant) -> None:
    for name, attack in {"permission withdrawn": withdrawn_permission, "object recreated": recreated}.items():
        scenario = Scenario(stage, mutant=mutant)
        scenario.start()
        scenario.exporter.checked()
        for point, violations in attack(scenario):
            tally.add(ATTACK, name, point, violations, mutant=mutant)
        scenario.end()
    assert tally.caught, f"no fault of the cluster finds this bug: {mutant}"
