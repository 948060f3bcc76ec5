"""How often checks call Nexthink and Qualtrics, and how they report warnings."""

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from qualtrics_exporter.qualtrics import client
from tests.controller.virtual_operator import CHANGED, HEALTHY, NAMESPACE, VirtualOperator

NEXTHINK = "t0.api.eu.nexthink.cloud"


def count_calls(operator: VirtualOperator) -> Counter[str]:
    """Count the calls of each operation from now on."""
    count: Counter[str] = Counter()

    def effect(_replica: str, request: Any, *_: object) -> None:
        count[request.operation] += 1

    operator.network._effect = effect
    return count


def suspend_exporters(operator: VirtualOperator) -> None:
    """Suspend both exporters, so that only checks make calls, and no runs."""
    for name in (HEALTHY, CHANGED):
        body = operator.server.exporters[NAMESPACE, name]
        operator.server.exporters[NAMESPACE, name] = {**body, "spec": {**body["spec"], "suspend": True}}


@pytest.fixture
def operator() -> Iterator[VirtualOperator]:
    """An operator to which Nexthink does not respond."""
    operator = VirtualOperator()
    operator.faults.hanging[NEXTHINK] = float("inf")
    operator.faults.manner[NEXTHINK] = "hang"
    yield operator
    operator.close()


def test_check_that_is_repeated_because_of_nexthink_does_not_repeat_calls_to_qualtrics(
    operator: VirtualOperator,
) -> None:
    count = count_calls(operator)
    operator.run(5.9)
    # There are two exporters with six slots each. A run reads the survey, and so does the check after a failed run.
    assert 0 < count["read_survey"] <= 2 * (1 + 6 * 2)
    conditions = {one["type"]: one["status"] for one in operator.status(HEALTHY)["conditions"]}
    assert (conditions["Ready"], conditions["QualtricsReady"]) == ("False", "True")


def test_check_calls_qualtrics_again_after_its_secret_has_changed(operator: VirtualOperator) -> None:
    suspend_exporters(operator)
    operator.run(0.5)
    count = count_calls(operator)
    operator.server.put_secret(NAMESPACE, "qualtrics", operator.brand.secret())
    operator.run(0.5)
    assert count["read_survey"] >= 2


def test_check_calls_qualtrics_again_after_some_hours(operator: VirtualOperator) -> None:
    suspend_exporters(operator)
    operator.run(1)
    count = count_calls(operator)
    operator.run(4)
    assert count["read_survey"] == 0
    operator.run(3)
    assert count["read_survey"] == 2


def test_check_calls_qualtrics_again_before_the_exporter_becomes_ready(operator: VirtualOperator) -> None:
    suspend_exporters(operator)
    operator.run(1)
    count = count_calls(operator)
    operator.faults.hanging.clear()
    operator.run(0.5)
    assert count["read_survey"] == 2


def test_check_calls_qualtrics_again_if_another_process_wrote_another_result(operator: VirtualOperator) -> None:
    suspend_exporters(operator)
    operator.run(1.05)  # no check is in progress
    status = copy.deepcopy(operator.status(CHANGED))
    for condition in status["conditions"]:
        if condition["type"] == "QualtricsReady":
            condition |= {"status": "False", "reason": "SurveyNotFound"}
    operator.change(status=status)
    count = count_calls(operator)
    operator.run(0.5)
    assert count["read_survey"] >= 1


def test_proxied_requests_are_reported_once_and_qualtrics_stays_ready(
    operator: VirtualOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "proxied_by", lambda _: "use https://co1.qualtrics.com")
    suspend_exporters(operator)
    operator.run(8)
    conditions = {one["type"]: one for one in operator.status(HEALTHY)["conditions"]}
    assert conditions["QualtricsReady"]["status"] == "True"
    assert conditions["Ready"]["message"].count("RequestsProxied: use https://co1.qualtrics.com.") == 1
    assert list(operator.server.events.values()).count("RequestsProxied") == 2, "one for each exporter"
    proxied = {"reason": "RequestsProxied", "message": "use https://co1.qualtrics.com."}
    assert operator.status(HEALTHY)["warnings"].count(proxied) == 1


def test_warnings_are_in_ready_and_have_no_events_if_the_crd_drops_them(
    operator: VirtualOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = operator.server.replace_status

    def replace_without_warnings(*args: Any) -> Any:
        *call, status = args
        return replace(*call, {name: value for name, value in status.items() if name != "warnings"})

    monkeypatch.setattr(operator.server, "replace_status", replace_without_warnings)
    operator.run(8)
    ready = next(one for one in operator.status(CHANGED)["conditions"] if one["type"] == "Ready")
    assert ready["message"].count("QueryWithoutCondition: ") == 1
    assert "warnings" not in operator.status(CHANGED)
    assert "QueryWithoutCondition" not in operator.server.events.values()


@pytest.mark.parametrize(
    "damage",
    [7, "damaged", [], {}, [None, {"reason": 7}], [{"reason": "Odd", "message": "Odd."}]],
    ids=["a number", "a text", "an empty list", "an empty object", "invalid elements", "an unknown reason"],
)
def test_next_check_restores_damaged_warnings_without_a_second_event(operator: VirtualOperator, damage: Any) -> None:
    suspend_exporters(operator)
    operator.run(1)
    warnings, events = operator.status(CHANGED)["warnings"], set(operator.server.events)
    assert [one["reason"] for one in warnings] == ["QueryWithoutCondition"]
    operator.change(status={**operator.status(CHANGED), "warnings": damage})
    operator.run(0.5)
    assert operator.status(CHANGED)["warnings"] == warnings
    assert set(operator.server.events) == events
    assert operator.internal_errors() == []
