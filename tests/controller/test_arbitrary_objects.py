"""No content of an exporter stops the operator, delays a healthy exporter or causes a second send."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qualtrics_exporter.controller import reconciler as reconciler_module
from qualtrics_exporter.controller import watch as watch_module
from qualtrics_exporter.resource.exporter import Exporter
from tests.controller.crd_strategies import ANNOTATIONS, ANYTHING, METADATA, SPEC, STATUS, changed, values
from tests.controller.virtual_operator import CHANGED, GROUP, HEALTHY, VirtualOperator

# A failure shows a list of five thousand receipts in full.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

HOURS = 2.2
FEW, MANY = 8, int(os.environ.get("QUALTRICS_EXPORTER_TEST_EXAMPLES", "200"))
"""Examples of each test, in `make test` and in `make test-long`."""


def property_test(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """Run a property with few examples and, as a long test, with many."""

    def decorate(test: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.long)], ids=["few", "many"])
        def parametrized(examples: int) -> None:
            limits = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
            limits(given(*strategies)(test))()

        parametrized.__name__, parametrized.__doc__ = test.__name__, test.__doc__
        return parametrized

    return decorate


@contextlib.contextmanager
def virtual_operator() -> Iterator[VirtualOperator]:
    """A real operator on virtual time, with a healthy exporter and one whose content a test changes."""
    operator = VirtualOperator()
    try:
        yield operator
    finally:
        operator.close()


@cache
def real_status() -> dict[str, Any]:
    """The status of an exporter that has worked for some hours."""
    with virtual_operator() as operator:
        operator.run(2.5)
        return operator.status(CHANGED)


REAL_STATUS: st.SearchStrategy[Any] = st.deferred(lambda: changed(real_status(), STATUS))
REAL_STATUS_LOOSE: st.SearchStrategy[Any] = st.deferred(lambda: changed(real_status(), STATUS, loose=True))
"""That status with changes. Deferred, because it takes most of a second to make."""

WORKING_SPEC: dict[str, Any] = {}
with virtual_operator() as _operator:
    WORKING_SPEC = _operator.spec(CHANGED)


def run_and_check(operator: VirtualOperator, hours: float = HOURS) -> None:
    """Run the operator, including a sweep, and assert that it works for both exporters."""
    operator.run(hours)
    assert operator.ends == [], "the operator ended"
    assert operator.loop.errors == []
    assert operator.sent_twice() == []
    healthy = operator.status(HEALTHY)
    slots = (
        int((operator.loop.time() - 1320) // 3600) + 1
    )  # a slot 20 minutes past each hour, and 2 minutes for its run
    assert operator.sent(HEALTHY) == slots
    assert len(healthy["history"]) == operator.sent(HEALTHY)
    assert operator.sent(CHANGED) <= slots + 3, "more surveys than slots and requests"
    assert operator.internal_errors() == []
    if "deletionTimestamp" not in operator.body(CHANGED)["metadata"]:
        assert [c for c in operator.status(CHANGED).get("conditions", []) if c["type"] == "Ready"], (
            "nothing is reported"
        )


def put_and_check(before_start: bool, **parts: Any) -> None:
    """Replace parts of the other exporter, before the operator starts or while it runs."""
    with virtual_operator() as operator:
        if not before_start:
            operator.run(0.6)
        operator.change(**parts)
        run_and_check(operator)


@property_test(st.booleans(), values(STATUS) | REAL_STATUS)
def test_operator_survives_any_status_that_the_crd_accepts(before_start: bool, status: Any) -> None:
    put_and_check(before_start, status=status)


def test_conditions_that_a_tool_removes_are_back_after_a_check() -> None:
    put_and_check(False, status={**real_status(), "conditions": [], "history": []})


@property_test(st.booleans(), values(STATUS, loose=True) | REAL_STATUS_LOOSE | ANYTHING)
def test_operator_survives_any_status_that_another_crd_accepted(before_start: bool, status: Any) -> None:
    put_and_check(before_start, status=status)


@property_test(
    st.booleans(), values(SPEC) | changed(WORKING_SPEC, SPEC) | changed(WORKING_SPEC, SPEC, loose=True) | ANYTHING
)
def test_operator_survives_any_spec(before_start: bool, spec: Any) -> None:
    put_and_check(before_start, spec=spec)


@property_test(st.booleans(), ANNOTATIONS, METADATA)
def test_operator_survives_any_annotations_and_metadata(
    before_start: bool, annotations: dict[str, str], metadata: dict[str, Any]
) -> None:
    put_and_check(before_start, metadata={**metadata, "annotations": annotations})


@property_test(
    changed(WORKING_SPEC, SPEC) | st.just(WORKING_SPEC),
    REAL_STATUS | REAL_STATUS_LOOSE,
    ANNOTATIONS,
    METADATA,
)
def test_operator_survives_any_combination_of_spec_status_and_metadata(
    spec: Any, status: Any, annotations: dict[str, str], metadata: dict[str, Any]
) -> None:
    put_and_check(False, spec=spec, status=status, metadata={**metadata, "annotations": annotations})


def _failing_for_one_exporter(
    function: Callable[..., Any], calls: list[float], operator: VirtualOperator
) -> Callable[..., Any]:
    def failing(exporter: Exporter, *arguments: Any) -> Any:
        if exporter.name == CHANGED:
            calls.append(operator.loop.time())
            raise ZeroDivisionError("unexpected; ana@example.com")
        return function(exporter, *arguments)

    return failing


def test_unexpected_error_is_reported_on_its_exporter_and_retried_with_backoff() -> None:
    calls: list[float] = []
    with virtual_operator() as operator:
        with mock.patch.object(
            reconciler_module, "plan", _failing_for_one_exporter(reconciler_module.plan, calls, operator)
        ):
            operator.run(1.5)
        assert operator.ends == []
        assert operator.sent(HEALTHY) == 2
        ready = next(c for c in operator.status(CHANGED)["conditions"] if c["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "InternalError")
        assert "ZeroDivisionError" in ready["message"]
        assert "ana" not in ready["message"]
        assert list(operator.server.events.values()).count("InternalError") == 1
        assert 20 < len(calls) < 70, "it is retried every two minutes, and not in a hot loop"
        assert any("internal_errors" in line for line in operator.internal_errors())
        operator.run(1.0)  # the error is over
        ready = next(c for c in operator.status(CHANGED)["conditions"] if c["type"] == "Ready")
        assert ready["status"] == "True"
        assert operator.sent(CHANGED) == 1


def test_exporter_is_reconciled_although_the_watch_fails_to_process_it() -> None:
    with virtual_operator() as operator:
        failing = _failing_for_one_exporter(watch_module.next_wake, [], operator)
        with mock.patch.object(watch_module, "next_wake", failing):
            operator.run(1.5)
        assert operator.ends == []
        assert any('part="observe"' in line for line in operator.internal_errors())
        assert (operator.sent(HEALTHY), operator.sent(CHANGED)) == (2, 2), "the reconciler does not depend on the watch"
        assert operator.sent_twice() == []


def test_error_that_recurs_after_each_success_does_not_cause_a_hot_loop() -> None:
    """Each report changes the status, and each change makes the exporter due again."""
    calls: list[float] = []
    with virtual_operator() as operator:
        original_plan = reconciler_module.plan

        def fail_every_other_time(exporter: Exporter, *arguments: Any) -> Any:
            if exporter.name == CHANGED:
                calls.append(operator.loop.time())
                if len(calls) % 2:
                    raise OverflowError("date value out of range")
            return original_plan(exporter, *arguments)

        with mock.patch.object(reconciler_module, "plan", fail_every_other_time):
            operator.run(1.5)
        assert operator.ends == []
        assert len(calls) < 200
        assert operator.sent(HEALTHY) == 2
        assert operator.sent_twice() == []


def test_slots_missed_since_2001_become_one_entry_without_a_long_computation() -> None:
    status = {**real_status(), "scheduleSince": "2001-01-01T00:00:00Z", "schedule": "every 2 hours at :20, UTC"}
    status["nextScheduleTime"] = "2001-01-01T02:20:00Z"
    for name in ("lastScheduleTime", "claimedSlots", "claimedSlotsSince", "history"):
        status.pop(name, None)
    with virtual_operator() as operator:
        spec = {**WORKING_SPEC, "schedule": {"frequency": "Hourly", "everyHours": 2, "timeZone": "UTC"}}
        operator.change(spec=spec, status=status)
        began = time.process_time()
        operator.run(0.2)
        assert time.process_time() - began < 5
        (entry,) = operator.status(CHANGED)["history"]
        assert (entry["result"], entry["reason"]) == ("Missed", "DeadlineExceeded")
        assert operator.sent(CHANGED) == 0


@pytest.mark.parametrize(("step", "result"), [("Claimed", "Failed"), ("Finalizing", "Unknown"), (None, "Unknown")])
def test_run_written_by_another_version_ends_in_an_entry(step: str | None, result: str) -> None:
    run = {"id": "aaaaaaaaaaaaaaaaaaaa", "trigger": "Schedule", "startTime": "2026-10-19T05:20:03Z", "step": step}
    unreadable = {**run, "attempt": "first", "batchId": "BT_1", "sendTime": "2026-10-19T05:21:00Z", "surveyId": "SV_1"}
    with virtual_operator() as operator:
        operator.run(0.1)
        operator.change(
            status={**operator.status(CHANGED), "activeRun": unreadable if step != "Claimed" else {**run, "id": 7}}
        )
        operator.run(0.1)
        status = operator.status(CHANGED)
        assert "activeRun" not in status
        assert status["history"][-1]["result"] == result
        assert operator.sent(CHANGED) == 0
        if result == "Unknown":
            assert status["history"][-1]["id"] == run["id"]
            assert run["id"] in status["sentRuns"], "a run with that id never starts again"
        operator.run(0.5)
        assert operator.sent(CHANGED) == 1, "the next slot runs"
        assert operator.sent_twice() == []


def test_damaged_status_is_repaired_at_once_and_the_next_slot_runs() -> None:
    with virtual_operator() as operator:
        operator.run(0.6)
        assert operator.sent(CHANGED) == 1
        requests = {f"{GROUP}/run-requested-at": "A", f"{GROUP}/test-requested-at": "T"}
        damaged = {**operator.status(CHANGED), "sentRuns": [7], "handledTestRequests": "none"}
        operator.change(status=damaged, metadata={"annotations": requests})
        operator.run(0.1)
        status = operator.status(CHANGED)
        assert status["sentRuns"] == []
        assert (status["history"][0]["reason"], status["lastTest"]["reason"]) == ("StatusNotUnderstood",) * 2
        assert list(operator.server.events.values()).count("StatusNotUnderstood") == 2
        assert any("status.sentRuns" in line for line in operator.lines), "the log names the field"
        assert operator.sent(CHANGED) == 1
        operator.run(1.0)
        assert operator.sent(CHANGED) == 2, "the slot after the repair runs"


@pytest.mark.parametrize("value", [7, None], ids=["damaged", "removed"])
def test_exporter_is_checked_at_once_if_the_time_of_its_last_check_is_lost(value: int | None) -> None:
    """Six hours from now, it would still be six hours from now."""
    with virtual_operator() as operator:
        operator.run(0.6)
        operator.change(status={**operator.status(CHANGED), "lastCheckTime": value})
        operator.run(0.1)
        assert operator.status(CHANGED)["lastCheckTime"] == "2026-10-19T06:36:00Z"
        assert operator.internal_errors() == []


@pytest.mark.parametrize("step", ["Claimed", "Sending", None])
def test_run_with_an_oversized_id_ends_in_an_entry(step: str | None) -> None:
    run = {"id": "x" * 4096, "trigger": "Schedule", "startTime": "2026-10-19T06:00:00Z", "step": step}
    with virtual_operator() as operator:
        operator.run(0.1)
        operator.change(status={**operator.status(CHANGED), "activeRun": run if step else {"id": "x" * 4096}})
        operator.run(0.1)
        status = operator.status(CHANGED)
        assert operator.internal_errors() == []
        assert "activeRun" not in status
        assert status["history"][0]["result"] == ("Failed" if step == "Claimed" else "Unknown")
        assert len(status["history"][0]["id"]) == 20


def test_ready_is_set_although_other_tools_fill_the_conditions() -> None:
    foreign = [
        {"type": f"team.example.com/{n}", "status": "True", "lastTransitionTime": "2026-10-19T05:00:00Z", "reason": "A",
         "message": ""}
        for n in range(16)
    ]  # fmt: skip
    with virtual_operator() as operator:
        operator.change(status={"conditions": foreign})
        operator.run(0.2)
        types = [condition["type"] for condition in operator.status(CHANGED)["conditions"]]
        assert "Ready" in types
        assert "team.example.com/0" in types
        assert len(types) <= 16
