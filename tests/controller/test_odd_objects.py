"""Nothing that the API server can hold ends the watch, the sweep or the work queue, and nothing of it sends twice."""

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

# A list of five thousand receipts is shown in full if a test fails.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

HOURS = 2.2
FEW, MANY = 8, int(os.environ.get("QUALTRICS_EXPORTER_TEST_EXAMPLES", "200"))
"""Examples of each test, in `make test` and in `make test-long`."""


def whatever(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """A test with a few examples, and the same with many."""

    def made(test: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.long)], ids=["few", "many"])
        def both(examples: int) -> None:
            chosen = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
            chosen(given(*strategies)(test))()

        both.__name__, both.__doc__ = test.__name__, test.__doc__
        return both

    return made


@contextlib.contextmanager
def world() -> Iterator[VirtualOperator]:
    made = VirtualOperator()
    try:
        yield made
    finally:
        made.close()


@cache
def real_status() -> dict[str, Any]:
    """The status of an exporter that has worked for some hours."""
    with world() as made:
        made.run(2.5)
        return made.status(CHANGED)


REAL: st.SearchStrategy[Any] = st.deferred(lambda: changed(real_status(), STATUS))
REAL_LOOSE: st.SearchStrategy[Any] = st.deferred(lambda: changed(real_status(), STATUS, loose=True))
"""That status with changes. Making it takes most of a second, which a worker without these tests need not spend."""

WORKS: dict[str, Any] = {}
with world() as _made:
    WORKS = _made.spec(CHANGED)


def judged(made: VirtualOperator, hours: float = HOURS) -> None:
    """Let time pass, a sweep and a change of the healthy exporter included, and see that all is well."""
    made.run(hours)
    assert made.ends == [], "the operator ended"
    assert made.loop.errors == []
    assert made.sent_twice() == []
    healthy = made.status(HEALTHY)
    slots = int((made.loop.time() - 1320) // 3600) + 1  # twenty minutes past each hour, and two for the run
    assert made.sent(HEALTHY) == slots
    assert len(healthy["history"]) == made.sent(HEALTHY)
    assert made.sent(CHANGED) <= slots + 3, "more surveys than slots and requests"
    assert made.internal_errors() == []
    if "deletionTimestamp" not in made.body(CHANGED)["metadata"]:
        assert [c for c in made.status(CHANGED).get("conditions", []) if c["type"] == "Ready"], "nothing is reported"


def odd(at_start: bool, **parts: Any) -> None:
    with world() as made:
        if at_start:
            made.change(**parts)
            judged(made)
        else:
            made.run(0.6)
            made.change(**parts)
            judged(made)


@whatever(st.booleans(), values(STATUS) | REAL)
def test_any_status_that_the_crd_accepts(at_start: bool, status: Any) -> None:
    odd(at_start, status=status)


@whatever(st.booleans(), values(STATUS, loose=True) | REAL_LOOSE | ANYTHING)
def test_any_status_that_another_crd_accepted(at_start: bool, status: Any) -> None:
    odd(at_start, status=status)


@whatever(st.booleans(), values(SPEC) | changed(WORKS, SPEC) | changed(WORKS, SPEC, loose=True) | ANYTHING)
def test_any_spec(at_start: bool, spec: Any) -> None:
    odd(at_start, spec=spec)


@whatever(st.booleans(), ANNOTATIONS, METADATA)
def test_any_annotation_and_metadata(at_start: bool, annotations: dict[str, str], metadata: dict[str, Any]) -> None:
    odd(at_start, metadata={**metadata, "annotations": annotations})


@whatever(
    changed(WORKS, SPEC) | st.just(WORKS),
    REAL | REAL_LOOSE,
    ANNOTATIONS,
    METADATA,
)
def test_everything_at_once(spec: Any, status: Any, annotations: dict[str, str], metadata: dict[str, Any]) -> None:
    odd(False, spec=spec, status=status, metadata={**metadata, "annotations": annotations})


def _fails_for_odd(function: Callable[..., Any], calls: list[float], made: VirtualOperator) -> Callable[..., Any]:
    def failing(exporter: Exporter, *arguments: Any) -> Any:
        if exporter.name == CHANGED:
            calls.append(made.loop.time())
            raise ZeroDivisionError("nobody expected this; ana@example.com")
        return function(exporter, *arguments)

    return failing


def test_an_unexpected_error_is_reported_for_its_exporter_and_tried_again_with_pauses() -> None:
    calls: list[float] = []
    with world() as made:
        with mock.patch.object(reconciler_module, "plan", _fails_for_odd(reconciler_module.plan, calls, made)):
            made.run(1.5)
        assert made.ends == []
        assert made.sent(HEALTHY) == 2
        ready = next(c for c in made.status(CHANGED)["conditions"] if c["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "InternalError")
        assert "ZeroDivisionError" in ready["message"]
        assert "ana" not in ready["message"]
        assert list(made.server.events.values()).count("InternalError") == 1
        assert 20 < len(calls) < 70, "it is tried every two minutes, and not all the time"
        assert any("internal_errors" in line for line in made.internal_errors())
        made.run(1.0)  # the error is over
        ready = next(c for c in made.status(CHANGED)["conditions"] if c["type"] == "Ready")
        assert ready["status"] == "True"
        assert made.sent(CHANGED) == 1


def test_an_exporter_that_the_watch_cannot_understand_is_left_to_the_reconciler() -> None:
    with world() as made:
        failing = _fails_for_odd(watch_module.next_wake, [], made)
        with mock.patch.object(watch_module, "next_wake", failing):
            made.run(1.5)
        assert made.ends == []
        assert any('part="observe"' in line for line in made.internal_errors())
        assert (made.sent(HEALTHY), made.sent(CHANGED)) == (2, 2), "the reconciler can work with it"
        assert made.sent_twice() == []


def test_an_error_that_comes_back_after_each_success_does_not_run_hot() -> None:
    """Each report changes the status, and each change makes the exporter due again."""
    calls: list[float] = []
    with world() as made:
        plain = reconciler_module.plan

        def every_other(exporter: Exporter, *arguments: Any) -> Any:
            if exporter.name == CHANGED:
                calls.append(made.loop.time())
                if len(calls) % 2:
                    raise OverflowError("date value out of range")
            return plain(exporter, *arguments)

        with mock.patch.object(reconciler_module, "plan", every_other):
            made.run(1.5)
        assert made.ends == []
        assert len(calls) < 200
        assert made.sent(HEALTHY) == 2
        assert made.sent_twice() == []


def test_a_status_from_the_beginning_of_time_costs_no_time() -> None:
    """Slots that count since 2001 are not counted one by one."""
    status = {**real_status(), "scheduleSince": "2001-01-01T00:00:00Z", "schedule": "every 2 hours at :20, UTC"}
    status["nextScheduleTime"] = "2001-01-01T02:20:00Z"
    for name in ("lastScheduleTime", "claimedSlots", "claimedSlotsSince", "history"):
        status.pop(name, None)
    with world() as made:
        spec = {**WORKS, "schedule": {"frequency": "Hourly", "everyHours": 2, "timeZone": "UTC"}}
        made.change(spec=spec, status=status)
        began = time.process_time()
        made.run(0.2)
        assert time.process_time() - began < 5
        (entry,) = made.status(CHANGED)["history"]
        assert (entry["result"], entry["reason"]) == ("Missed", "DeadlineExceeded")
        assert made.sent(CHANGED) == 0


@pytest.mark.parametrize(("step", "result"), [("Claimed", "Failed"), ("Finalizing", "Unknown"), (None, "Unknown")])
def test_a_run_that_another_version_wrote_ends_in_an_entry(step: str | None, result: str) -> None:
    run = {"id": "aaaaaaaaaaaaaaaaaaaa", "trigger": "Schedule", "startTime": "2026-10-19T05:20:03Z", "step": step}
    unreadable = {**run, "attempt": "first", "batchId": "BT_1", "sendTime": "2026-10-19T05:21:00Z", "surveyId": "SV_1"}
    with world() as made:
        made.run(0.1)
        made.change(status={**made.status(CHANGED), "activeRun": unreadable if step != "Claimed" else {**run, "id": 7}})
        made.run(0.1)
        status = made.status(CHANGED)
        assert "activeRun" not in status
        assert status["history"][-1]["result"] == result
        assert made.sent(CHANGED) == 0
        if result == "Unknown":
            assert status["history"][-1]["id"] == run["id"]
            assert run["id"] in status["sentRuns"], "a run with that id never starts again"
        made.run(0.5)
        assert made.sent(CHANGED) == 1, "the next slot runs"
        assert made.sent_twice() == []


def test_a_damaged_status_is_repaired_at_once_and_costs_no_slot() -> None:
    with world() as made:
        made.run(0.6)
        assert made.sent(CHANGED) == 1
        asked = {f"{GROUP}/run-requested-at": "A", f"{GROUP}/test-requested-at": "T"}
        damaged = {**made.status(CHANGED), "sentRuns": [7], "handledTestRequests": "none"}
        made.change(status=damaged, metadata={"annotations": asked})
        made.run(0.1)
        status = made.status(CHANGED)
        assert status["sentRuns"] == []
        assert (status["history"][0]["reason"], status["lastTest"]["reason"]) == ("StatusNotUnderstood",) * 2
        assert list(made.server.events.values()).count("StatusNotUnderstood") == 2
        assert any("status.sentRuns" in line for line in made.lines), "the log names the field"
        assert made.sent(CHANGED) == 1
        made.run(1.0)
        assert made.sent(CHANGED) == 2, "the slot after the repair runs"


@pytest.mark.parametrize("step", ["Claimed", "Sending", None])
def test_a_run_with_an_id_of_any_length_ends_in_an_entry(step: str | None) -> None:
    run = {"id": "x" * 4096, "trigger": "Schedule", "startTime": "2026-10-19T06:00:00Z", "step": step}
    with world() as made:
        made.run(0.1)
        made.change(status={**made.status(CHANGED), "activeRun": run if step else {"id": "x" * 4096}})
        made.run(0.1)
        status = made.status(CHANGED)
        assert made.internal_errors() == []
        assert "activeRun" not in status
        assert status["history"][0]["result"] == ("Failed" if step == "Claimed" else "Unknown")
        assert len(status["history"][0]["id"]) == 20


def test_conditions_of_others_leave_room_for_ours() -> None:
    foreign = [
        {"type": f"team.example.com/{n}", "status": "True", "lastTransitionTime": "2026-10-19T05:00:00Z", "reason": "A",
         "message": ""}
        for n in range(16)
    ]  # fmt: skip
    with world() as made:
        made.change(status={"conditions": foreign})
        made.run(0.2)
        types = [condition["type"] for condition in made.status(CHANGED)["conditions"]]
        assert "Ready" in types
        assert "team.example.com/0" in types
        assert len(types) <= 16
