"""How often a check asks the remote sides, in the real operator on virtual time."""

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from qualtrics_exporter.qualtrics import client
from tests.controller.odd_world import NAMESPACE, ODD, OddWorld

NEXTHINK = "t0.api.eu.nexthink.cloud"


def asked(world: OddWorld) -> Counter[str]:
    """How often each operation reached a remote side, from now on."""
    count: Counter[str] = Counter()

    def effect(_replica: str, request: Any, *_: object) -> None:
        count[request.operation] += 1

    world.network._effect = effect
    return count


def suspend(world: OddWorld) -> None:
    """Let nothing but checks ask: a run asks as well."""
    for name in ("healthy", "odd"):
        body = world.server.exporters[NAMESPACE, name]
        world.server.exporters[NAMESPACE, name] = {**body, "spec": {**body["spec"], "suspend": True}}


@pytest.fixture
def world() -> Iterator[OddWorld]:
    """A world in which Nexthink does not answer."""
    world = OddWorld()
    world.faults.hanging[NEXTHINK] = float("inf")
    world.faults.manner[NEXTHINK] = "hang"
    yield world
    world.close()


def test_a_check_that_is_repeated_for_nexthink_asks_qualtrics_once(world: OddWorld) -> None:
    count = asked(world)
    world.run(5.9)
    # Two exporters with six slots each. A run asks, and so does the check after a run that failed.
    assert 0 < count["read_survey"] <= 2 * (1 + 6 * 2)
    conditions = {one["type"]: one["status"] for one in world.status("healthy")["conditions"]}
    assert (conditions["Ready"], conditions["QualtricsReady"]) == ("False", "True")


def test_it_asks_again_when_the_secret_of_qualtrics_changes(world: OddWorld) -> None:
    suspend(world)
    world.run(0.5)
    count = asked(world)
    world.server.put_secret(NAMESPACE, "qualtrics", world.brand.secret())
    world.run(0.5)
    assert count["read_survey"] >= 2


def test_it_asks_again_after_some_hours(world: OddWorld) -> None:
    suspend(world)
    world.run(1)
    count = asked(world)
    world.run(4)
    assert count["read_survey"] == 0
    world.run(3)
    assert count["read_survey"] == 2


def test_it_asks_again_before_the_exporter_is_ready(world: OddWorld) -> None:
    suspend(world)
    world.run(1)
    count = asked(world)
    world.faults.hanging.clear()
    world.run(0.5)
    assert count["read_survey"] == 2


def test_it_asks_again_after_another_process_has_found_something_else(world: OddWorld) -> None:
    suspend(world)
    world.run(1.05)  # no check is in progress
    status = copy.deepcopy(world.status(ODD))
    for condition in status["conditions"]:
        if condition["type"] == "QualtricsReady":
            condition |= {"status": "False", "reason": "SurveyNotFound"}
    world.put(status=status)
    count = asked(world)
    world.run(0.5)
    assert count["read_survey"] >= 1


def test_a_proxied_request_is_reported_once_and_stops_nothing(world: OddWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "proxied_by", lambda _: "use https://co1.qualtrics.com")
    suspend(world)
    world.run(8)
    conditions = {one["type"]: one for one in world.status("healthy")["conditions"]}
    assert conditions["QualtricsReady"]["status"] == "True"
    assert conditions["Ready"]["message"].count("RequestsProxied: use https://co1.qualtrics.com.") == 1
    assert list(world.server.events.values()).count("RequestsProxied") == 2, "one for each exporter"
    proxied = {"reason": "RequestsProxied", "message": "use https://co1.qualtrics.com."}
    assert world.status("healthy")["warnings"].count(proxied) == 1


def test_with_a_crd_that_drops_warnings_ready_shows_them_and_they_have_no_events(
    world: OddWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = world.server.replace_status

    def dropping(*args: Any) -> Any:
        *call, status = args
        return replace(*call, {name: value for name, value in status.items() if name != "warnings"})

    monkeypatch.setattr(world.server, "replace_status", dropping)
    world.run(8)
    ready = next(one for one in world.status(ODD)["conditions"] if one["type"] == "Ready")
    assert ready["message"].count("QueryWithoutCondition: ") == 1
    assert "warnings" not in world.status(ODD)
    assert "QueryWithoutCondition" not in world.server.events.values()


@pytest.mark.parametrize(
    "damage", [7, "damaged", [], {}, [None, {"reason": 7}], [{"reason": "Odd", "message": "Odd."}]]
)
def test_damaged_warnings_are_written_again_by_the_next_check_and_have_no_second_event(
    world: OddWorld, damage: Any
) -> None:
    suspend(world)
    world.run(1)
    warnings, names = world.status(ODD)["warnings"], set(world.server.events)
    assert [one["reason"] for one in warnings] == ["QueryWithoutCondition"]
    world.put(status={**world.status(ODD), "warnings": damage})
    world.run(0.5)
    assert world.status(ODD)["warnings"] == warnings
    assert set(world.server.events) == names
    assert world.internal_errors() == []
