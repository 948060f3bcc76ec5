"""A failing world is shrunk to the events that the violation needs."""

from types import SimpleNamespace

import pytest

from tests.support.waiting import HANG_SECONDS

from . import plan, simulation
from .records import Violation
from .shrink import Shrinker
from .world import Event, Plan

SEED, NEEDED = 4, "edit"
"""The seed of a world with many classes of faults, and the class that the violation needs."""

SIZE = {"exporters": 3, "days": 2}
EXPORTER = "e01"


@pytest.fixture(params=[(EXPORTER, EXPORTER), (EXPORTER, "e02")], ids=["of one exporter", "of two exporters"])
def needed(request: pytest.FixtureRequest) -> list[int]:
    """The numbers of the two events that the violation needs. They are far from each other."""
    first, last = request.param
    others = plan.make(SEED, **SIZE).enabled - {NEEDED}
    events = plan.make(SEED, without=others, **SIZE).events

    def numbers(target: str) -> list[int]:
        return [event.number for event in events if event.target == target]

    return sorted({numbers(first)[0], numbers(last)[-1]})


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch, needed: list[int]) -> list[list[Event]]:
    """The events of each world that runs. Without the needed events, a world violates another invariant."""
    assert len(needed) == 2
    played: list[list[Event]] = []

    class World:
        def __init__(self, made: Plan, *, stop_at: tuple[str, ...]) -> None:
            assert stop_at == ("sent twice",)
            self._plan = made

        def run(self) -> SimpleNamespace:
            played.append(self._plan.events)
            fails = NEEDED in self._plan.enabled and set(needed) <= {event.number for event in self._plan.events}
            kind = "sent twice" if fails else "no entry"
            return SimpleNamespace(violations=[Violation(kind, EXPORTER, "", 0.0)])

    monkeypatch.setattr(simulation, "Simulation", World)
    return played


@pytest.mark.parametrize("exporter", [EXPORTER, ""])
def test_shrinker_keeps_only_the_events_that_the_violation_needs(
    worlds: list[list[Event]], needed: list[int], exporter: str
) -> None:
    messages: list[str] = []
    shrinker = Shrinker(SEED, "sent twice", SIZE, HANG_SECONDS, messages.append)
    changes = shrinker.shrink(exporter)
    smallest = plan.make(SEED, **changes)
    assert [event.number for event in smallest.events] == needed
    assert smallest.enabled == {NEEDED}
    assert messages == [f"classes that matter: {NEEDED}", f"2 events matter, after {shrinker.runs} runs"]
    assert shrinker.runs == len(worlds)
    assert shrinker.runs < len(plan.make(SEED, **SIZE).events), "events are left out in groups"


@pytest.mark.usefixtures("needed")
def test_shrinker_without_time_returns_the_whole_plan(worlds: list[list[Event]]) -> None:
    messages: list[str] = []
    changes = Shrinker(SEED, "sent twice", SIZE, -1, messages.append).shrink("")
    assert worlds == []
    assert plan.make(SEED, **changes).events == plan.make(SEED, **SIZE).events
    assert len(messages) == 2
