"""The invalid objects of the simulation are invalid, and every kind of damage and misleading reply occurs."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from qualtrics_exporter.resource.exporter import read_spec
from qualtrics_exporter.resource.lenient import read_status
from tests.controller.each_damage import RUN, complete_status, damaged_everywhere
from tests.controller.virtual_operator import HEALTHY, VirtualOperator
from tests.simulation import invalid_input_events, invariants, plan
from tests.simulation.api_server import Body
from tests.simulation.damage import HOW, INVALID_SPECS, MEMORY, damaged, invalid_spec
from tests.simulation.faults import INVALID_INPUT
from tests.simulation.simulation import Simulation
from tests.simulation.tenants import QUERY_TEXT, People


@pytest.fixture(scope="module")
def manifest() -> tuple[dict[str, Any], dict[str, Any]]:
    """The spec and the status of an exporter after some hours."""
    world = VirtualOperator()
    try:
        world.run(2.5)
        return world.body(HEALTHY)["spec"], world.status(HEALTHY)
    finally:
        world.close()


@pytest.mark.parametrize("number", range(INVALID_SPECS))
def test_invalid_spec_is_not_read(manifest: tuple[dict[str, Any], dict[str, Any]], number: int) -> None:
    assert read_spec(manifest[0])[0]
    assert read_spec(invalid_spec(manifest[0], number))[0] is None


def test_damage_to_the_memory_of_a_status_is_always_an_invalid_value(manifest: tuple[Any, dict[str, Any]]) -> None:
    for draw in range(300):
        made, what = damaged(manifest[1], "memory", Random(draw))
        assert {path.partition(".")[0] for path in what.split(", ")} <= set(MEMORY)
        assert read_status(made)[1], what
        assert read_status(manifest[1])[1] == (), "the damage changes a copy"


def test_status_with_lists_can_be_damaged_in_every_way() -> None:
    """If an element of a list is removed, the index of the later ones changes. This failed in one world of 700."""
    status = {"activeRun": {"parts": [0, 1, 2]}}
    for how in HOW:
        for draw in range(100):
            damaged(status, how, Random(draw))


def test_status_of_a_newer_version_is_read_without_loss(manifest: tuple[Any, dict[str, Any]]) -> None:
    made, _ = damaged(manifest[1], "newer", Random(1))
    assert made != manifest[1]
    assert read_status(made) == read_status(manifest[1])


def test_plans_have_every_kind_of_damage_and_misleading_reply() -> None:
    events = [event for seed in range(40) for event in plan.make(seed, only=INVALID_INPUT).events]
    assert {event.arguments["how"] for event in events if event.kind == "damage_status"} == set(HOW)
    assert {event.arguments["manner"] for event in events if event.kind == "mislead"} == {"mixup", "endless"}
    assert {"damage_spec", "damage_metadata", "finalize"} <= {event.kind for event in events}


def test_events_of_other_classes_do_not_change_with_invalid_input() -> None:
    for seed in range(5):
        enabled = sorted(plan.make(seed).enabled - set(INVALID_INPUT))
        before = [(e.time, e.kind, e.target, e.arguments) for e in plan.make(seed, only=enabled).events]
        both = [
            (e.time, e.kind, e.target, e.arguments) for e in plan.make(seed, only=[*enabled, *INVALID_INPUT]).events
        ]
        assert [event for event in before if event not in both] == []
    assert len(invalid_input_events.EVENTS) == 4


class Damaged:
    """A world in which a tool damages the status of an exporter, and then the operator writes one."""

    def __init__(self, spec: Body) -> None:
        self._world = Simulation(plan.make(1))
        self._spec = spec

    def mail_violations(self, written: Body, damage: Any, query: str) -> list[str]:
        """Return the kinds of the violations if the active run that the operator wrote mails people of this query."""
        self.violations({}, written)
        body, invariants = self._world.server.get("team-0", "e"), self._world.invariants
        self._world.actors._invalid_input._put(body, {**body, "status": damage})
        people = People(query, 1, QUERY_TEXT, frozenset({"ana@example.com"}), ())
        invariants.mails._imports["BT_1"] = [[people]]
        record = invariants._records[body["metadata"]["uid"]]
        batch = SimpleNamespace(id="BT_1", addresses=people.addresses)
        invariants.mails._check_people(record, written["activeRun"]["id"], "a slot", batch)
        return [violation.kind for violation in invariants.violations]

    def violations(self, damage: Any, written: Body) -> list[str]:
        """Return the kinds of the violations by that write."""
        server, invariants = self._world.server, self._world.invariants
        invariants.violations.clear()
        invariants._reported.clear()
        server.delete("team-0", "e")
        old = server.create("team-0", "e", self._spec, labels={}, annotations={})
        new = {**old, "status": damage}
        invariants.damages.damaged(old, new, surely_lost=False)
        self._world.actors._invalid_input._put(old, new)
        metadata = server.get("team-0", "e")["metadata"]
        server.replace_status("a0.1", "team-0", "e", metadata["uid"], metadata["resourceVersion"], written)
        assert server.get("team-0", "e")["status"] == written
        return [violation.kind for violation in invariants.violations]


@pytest.fixture
def world(manifest: tuple[Body, Body]) -> Damaged:
    return Damaged(manifest[0])


def test_write_after_each_damage_can_be_checked(world: Damaged) -> None:
    """An object in place of the time of an entry made a check fail, in one world of a thousand."""
    status = complete_status()
    assert world.violations({}, status) == []
    for what, damage in damaged_everywhere(status):
        assert "an invariant cannot be checked" not in world.violations(damage, status), what


def test_check_that_fails_with_an_exception_is_a_violation_and_not_an_error_of_the_cluster(
    world: Damaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invariants, "unforeseen", lambda before, after: 1 / 0)
    assert world.violations({}, complete_status()) == ["an invariant cannot be checked"]


def test_write_that_keeps_an_invalid_value_is_a_violation(world: Damaged) -> None:
    assert world.violations({}, {**complete_status(), "sentRuns": {}}) == ["a write keeps invalid values"]


@pytest.mark.parametrize("damage", [{}, {"activeRun": 7}, {"activeRun": {"id": RUN, "generation": {}}}])
def test_people_of_a_run_are_checked_although_its_journal_is_damaged_before_the_send(
    world: Damaged, manifest: tuple[Body, Body], damage: Any
) -> None:
    status, query = complete_status(), manifest[0]["nexthink"]["queryId"]
    assert world.mail_violations(status, damage, query) == []
    assert world.mail_violations(status, damage, "#other") == ["people of another query are mailed"]
