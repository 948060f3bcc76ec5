"""Queues fill while one tenant hangs: the others are sent, and every slot that did not get its turn has an entry."""

import pytest

from tests.environment.stage import Stage
from tests.faults import broken
from tests.faults.queues import AT_ONCE, HANGING, Queues, Tenant, another_namespace
from tests.faults.story import Story
from tests.faults.tally import Tally

MATRIX = "queues"


def queues(stage: Stage, tenants: list[Tenant], build: broken.Build | None = None) -> Queues:
    """An operator for these tenants, without other exporters."""
    slow = stage.another_sandbox()  # it outlives the operator
    story = Story(stage, broken=build)
    namespaces = {tenant.namespace for tenant in tenants} - {stage.namespace}
    more = [word for namespace in namespaces for word in ("--namespace", namespace)]
    story.start("--max-concurrent-runs", str(AT_ONCE), *more, in_progress=AT_ONCE)
    story.exporter.delete()
    return Queues(stage, tenants, slow, story)


def test_a_tenant_that_hangs_does_not_delay_another(stage: Stage, tally: Tally) -> None:
    played = queues(stage, [Tenant(stage.namespace, HANGING, 9), Tenant(stage.namespace, "nexthink", 4)])
    tally.add(MATRIX, "one tenant hangs", "Secrets of one namespace", [*played.play(), *played.story.leaks()])
    assert played.overtaken, "an attack that does not strike proves nothing"


@pytest.mark.long
@pytest.mark.parametrize("hanging", [6, 12, 40])
@pytest.mark.parametrize("apart", ["by Secret", "by namespace"])
def test_tenants_of_any_size(stage: Stage, tally: Tally, hanging: int, apart: str) -> None:
    other = another_namespace(stage) if apart == "by namespace" else stage.namespace
    numbers = {"nexthink": 12, "nexthink-b": 5, "nexthink-c": 1}
    healthy = [Tenant(other, name, number) for name, number in numbers.items()]
    played = queues(stage, [Tenant(stage.namespace, HANGING, hanging), *healthy])
    found = [*played.play(), *played.story.leaks()]
    tally.add(MATRIX, f"one tenant of four hangs, {apart}", f"{hanging} hanging exporters", found)
    assert played.overtaken, "an attack that does not strike proves nothing"


@pytest.mark.long
def test_a_broken_build_is_caught(stage: Stage, tally: Tally) -> None:
    tenants = [Tenant(stage.namespace, HANGING, 40), Tenant(stage.namespace, "nexthink", 4)]
    found = queues(stage, tenants, broken.IMPATIENT).play()
    tally.add(MATRIX, "one tenant hangs", "Secrets of one namespace", found, broken=broken.IMPATIENT)
    assert found
