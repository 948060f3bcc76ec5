"""The invalid objects and misleading replies of the simulation are what they claim to be."""

from random import Random
from typing import Any

import pytest

from qualtrics_exporter.resource.exporter import read_spec
from qualtrics_exporter.resource.lenient import read_status
from tests.controller.virtual_operator import HEALTHY, VirtualOperator
from tests.simulation import odd_events, plan
from tests.simulation.damage import HOW, MEMORY, ODD_SPECS, damaged, odd_spec
from tests.simulation.faults import ODD


@pytest.fixture(scope="module")
def real() -> tuple[dict[str, Any], dict[str, Any]]:
    """The spec and the status of an exporter that has worked for some hours."""
    world = VirtualOperator()
    try:
        world.run(2.5)
        return world.body(HEALTHY)["spec"], world.status(HEALTHY)
    finally:
        world.close()


@pytest.mark.parametrize("number", range(ODD_SPECS))
def test_an_odd_spec_cannot_be_used(real: tuple[dict[str, Any], dict[str, Any]], number: int) -> None:
    assert read_spec(real[0])[0]
    assert read_spec(odd_spec(real[0], number))[0] is None


def test_damage_to_what_is_remembered_is_never_only_another_value(real: tuple[Any, dict[str, Any]]) -> None:
    for draw in range(300):
        made, what = damaged(real[1], "memory", Random(draw))
        assert {place.partition(".")[0] for place in what.split(", ")} <= set(MEMORY)
        assert read_status(made)[1], what
        assert read_status(real[1])[1] == (), "the status itself is never changed"


def test_any_status_can_be_damaged_in_every_way() -> None:
    """Elements of one list that go one after the other moved the later ones out of reach (seen in one world of 700)."""
    status = {"activeRun": {"parts": [0, 1, 2]}}
    for how in HOW:
        for draw in range(100):
            damaged(status, how, Random(draw))


def test_a_status_of_another_version_loses_nothing(real: tuple[Any, dict[str, Any]]) -> None:
    made, _ = damaged(real[1], "newer", Random(1))
    assert made != real[1]
    assert read_status(made) == read_status(real[1])


def test_every_kind_of_damage_happens() -> None:
    events = [event for seed in range(40) for event in plan.make(seed, only=ODD).events]
    assert {event.arguments["how"] for event in events if event.kind == "damage_status"} == set(HOW)
    assert {event.arguments["manner"] for event in events if event.kind == "mislead"} == {"mixup", "endless"}
    assert {"damage_spec", "damage_metadata", "finalize"} <= {event.kind for event in events}


def test_the_events_of_the_other_classes_stay_as_they_are() -> None:
    for seed in range(5):
        enabled = sorted(plan.make(seed).enabled - set(ODD))
        before = [(e.time, e.kind, e.target, e.arguments) for e in plan.make(seed, only=enabled).events]
        both = [(e.time, e.kind, e.target, e.arguments) for e in plan.make(seed, only=[*enabled, *ODD]).events]
        assert [event for event in before if event not in both] == []
    assert len(odd_events.EVENTS) == 4
