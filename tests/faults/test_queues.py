"""One tenant hangs while the queue is full: the others are sent, and each slot that waited too long has an entry."""

import pytest

from tests.faults import mutants
from tests.faults.queues import HANGING, MAX_IN_PROGRESS, QueueScenario, Tenant, another_namespace
from tests.faults.scenario import Scenario
from tests.faults.tally import Tally
from tests.support.stage import Stage

ATTACK = "queues"


def start_queues(stage: Stage, tenants: list[Tenant], mutant: mutants.Mutant | None = None) -> QueueScenario:
    """An operator for these tenants, without other exporters."""
    slow = stage.another_sandbox()  # started first, so that it ends after the operator
    scenario = Scenario(stage, mutant=mutant)
    namespaces = {tenant.namespace for tenant in tenants} - {stage.namespace}
    more = [argument for namespace in namespaces for argument in ("--namespace", namespace)]
    scenario.start("--max-concurrent-runs", str(MAX_IN_PROGRESS), *more, in_progress=MAX_IN_PROGRESS)
    scenario.exporter.delete()
    return QueueScenario(stage, tenants, slow, scenario)


def test_tenant_that_hangs_does_not_delay_another_one(stage: Stage, tally: Tally) -> None:
    queues = start_queues(stage, [Tenant(stage.namespace, HANGING, 9), Tenant(stage.namespace, "nexthink", 4)])
    violations = [*queues.play(), *queues.scenario.leaks()]
    tally.add(ATTACK, "one tenant hangs", "Secrets of one namespace", violations)
    assert tally.violations == [], tally.how_to_repeat
    assert queues.overtaken, "no slot was overtaken, so the queue was not full"


@pytest.mark.long
@pytest.mark.parametrize("hanging", [6, 12, 40])
@pytest.mark.parametrize("separation", ["by Secret", "by namespace"])
def test_tenant_of_any_size_that_hangs_does_not_delay_three_others(
    stage: Stage, tally: Tally, hanging: int, separation: str
) -> None:
    other = another_namespace(stage) if separation == "by namespace" else stage.namespace
    sizes = {"nexthink": 12, "nexthink-b": 5, "nexthink-c": 1}
    healthy = [Tenant(other, name, size) for name, size in sizes.items()]
    queues = start_queues(stage, [Tenant(stage.namespace, HANGING, hanging), *healthy])
    violations = [*queues.play(), *queues.scenario.leaks()]
    tally.add(ATTACK, f"one tenant of four hangs, {separation}", f"{hanging} hanging exporters", violations)
    assert tally.violations == [], tally.how_to_repeat
    assert queues.overtaken, "no slot was overtaken, so the queue was not full"


@pytest.mark.long
def test_tenant_that_hangs_catches_the_mutant_in_which_waiting_makes_slots_late(stage: Stage, tally: Tally) -> None:
    tenants = [Tenant(stage.namespace, HANGING, 40), Tenant(stage.namespace, "nexthink", 4)]
    mutant = mutants.QUEUE_IS_LATENESS
    violations = start_queues(stage, tenants, mutant).play()
    tally.add(ATTACK, "one tenant hangs", "Secrets of one namespace", violations, mutant=mutant)
    assert tally.caught, f"a full queue does not find this bug: {mutant}"
