"""The operator is killed at every effect of a run, and the next process resumes the run."""

import random
from collections.abc import Callable

import pytest

from tests.faults import crash, mutants
from tests.faults import tally as tallies
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.crash import AFTER, BEFORE, KillPoint
from tests.faults.scenario import Scenario, Slot, Trigger
from tests.faults.tally import Tally
from tests.support.stage import Stage

ATTACK = "killed at an effect"
PAIRS = 40
SLOT: Trigger = "a slot of the schedule"
TRIGGERS: dict[str, tuple[Trigger, int]] = {
    SLOT: (SLOT, 6),
    "a slot with a large result": (SLOT, 1200),
    "a run request": ("a run request", 6),
    "a delivering test": ("a delivering test", 30),
}
# `make test` has time for these on both sides of their effect, and for a third of the others.
AROUND_THE_SEND = ("api.status.Sending", "qualtrics.create_distribution", "api.status.Sent", "api.status.ended")
NEW_SUBJECT = "The new subject"
StartScenario = Callable[..., Scenario]


@pytest.fixture
def start_scenario(stage: Stage) -> StartScenario:
    """Starts an operator, with an exporter that was checked."""

    def start(people: int = 6, mutant: mutants.Mutant | None = None, trigger: Trigger = SLOT) -> Scenario:
        scenario = Scenario(stage, people=people, mutant=mutant, slots=trigger == SLOT)
        scenario.start()
        scenario.exporter.checked()
        return scenario

    return start


def test_operator_killed_at_an_effect_sends_at_most_once_and_ends_in_an_entry(
    start_scenario: StartScenario, tally: Tally
) -> None:
    scenario = start_scenario()
    effects = crash.record_effects(scenario, SLOT)
    points = crash.kill_points(effects, [AFTER, BEFORE])
    kills = [kill for kill in points if kill.operation in AROUND_THE_SEND]
    assert len(kills) == len(AROUND_THE_SEND) * 2
    kills += [kill for kill in points if kill.operation not in AROUND_THE_SEND][::3]
    for kill in kills:
        tally.add(ATTACK, SLOT, str(kill), crash.kill_at(scenario, SLOT, kill))
    assert tally.violations == [], tally.how_to_repeat
    assert scenario.end() == [], "something was sent after the last slot"


@pytest.mark.long
@pytest.mark.parametrize("target", TRIGGERS)
def test_operator_killed_at_any_effect_of_any_run_sends_at_most_once_and_ends_in_an_entry(
    start_scenario: StartScenario, tally: Tally, target: str
) -> None:
    trigger, people = TRIGGERS[target]
    scenario = start_scenario(people, trigger=trigger)
    effects = crash.record_effects(scenario, trigger)
    for kill in crash.kill_points(effects):
        tally.add(ATTACK, target, str(kill), crash.kill_at(scenario, trigger, kill))
    assert tally.violations == [], tally.how_to_repeat
    assert scenario.end() == [], "something was sent after the last slot"


@pytest.mark.long
def test_operator_killed_twice_in_one_slot_sends_at_most_once_and_ends_in_an_entry(
    start_scenario: StartScenario, tally: Tally
) -> None:
    scenario = start_scenario()
    chance = random.Random(tallies.seed())
    kills = crash.kill_points(crash.record_effects(scenario, SLOT))
    for _ in range(PAIRS):
        pair = chance.choices(kills, k=2)
        violations = crash.kill_at(scenario, SLOT, *pair)
        tally.add(ATTACK, "a slot, killed twice at random", ", then ".join(map(str, pair)), violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("action", ["suspends", "edits", "deletes"])
def test_resumed_run_obeys_what_the_user_did_before_its_send(
    start_scenario: StartScenario, tally: Tally, action: str
) -> None:
    for operation in ("nexthink.execute", "api.status.Importing", "qualtrics.import_status", "api.status.Sending"):
        scenario = start_scenario()
        kill = KillPoint(operation, BEFORE)
        violations = crash.kill_at(
            scenario,
            SLOT,
            kill,
            while_resuming=lambda slot: _act(scenario, slot, action),  # noqa: B023
        )
        violations += [*_sent_with_the_old_subject(scenario, action), *scenario.end()]
        tally.add(ATTACK, f"a slot, and then its user {action}", str(kill), violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.parametrize(
    "actions", [["edits"], pytest.param(["suspends", "edits", ""], marks=pytest.mark.long)], ids=["some", "all"]
)
def test_refused_send_obeys_what_the_user_did_while_no_operator_ran(
    start_scenario: StartScenario, tally: Tally, actions: list[str]
) -> None:
    # The first write of `Sending` announces the send, and the second one records that Qualtrics refused it.
    kill = KillPoint("api.status.Sending", AFTER, 2)
    for action in actions:
        scenario = start_scenario()
        scenario.stage.sandbox.fault("qualtrics.create_distribution", status=429, headers={"Retry-After": "120"})
        violations = crash.kill_at(scenario, SLOT, kill, while_down=lambda slot: _act(scenario, slot, action))  # noqa: B023
        violations += [*_sent_with_the_old_subject(scenario, action), *scenario.end()]
        target = f"a slot that was refused, and then its user {action}" if action else "a slot that was refused"
        tally.add(ATTACK, target, str(kill), violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("mutant", mutants.GENERAL)
def test_kills_around_the_send_catch_each_mutant(
    start_scenario: StartScenario, tally: Tally, mutant: mutants.Mutant
) -> None:
    scenario = start_scenario(mutant=mutant)
    for operation in AROUND_THE_SEND[:3]:
        violations = crash.kill_at(scenario, SLOT, KillPoint(operation, AFTER))
        tally.add(ATTACK, SLOT, operation, violations, mutant=mutant)
    kill = KillPoint("nexthink.execute", BEFORE)
    violations = crash.kill_at(scenario, SLOT, kill, while_resuming=lambda slot: _act(scenario, slot, "suspends"))
    tally.add(ATTACK, SLOT, str(kill), violations, mutant=mutant)
    assert tally.caught, f"no scenario finds this bug: {mutant}"


def _sent_with_the_old_subject(scenario: Scenario, action: str) -> list[Violation]:
    last = scenario.stage.sandbox.recorder.distributions[-1:]
    if action == "edits" and last and last[0].subject != NEW_SUBJECT:
        return [Violation(ViolationKind.WRONG_MAIL, "it was sent with the old subject")]
    return []


def _act(scenario: Scenario, slot: Slot, action: str) -> None:
    if not action:
        return
    if action == "edits":
        scenario.exporter.change(**{"qualtrics.subject": NEW_SUBJECT})
        return
    slot.may_send = False
    if action == "suspends":
        scenario.exporter.change(suspend=True)
    else:
        slot.expects_entry = False
        scenario.exporter.delete()
