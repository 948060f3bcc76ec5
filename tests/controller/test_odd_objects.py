"""Nothing that the API server can hold ends the watch, the sweep or the work queue, and nothing of it sends twice."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.controller.crd_strategies import ANNOTATIONS, ANYTHING, METADATA, SPEC, STATUS, changed, values
from tests.controller.odd_world import HEALTHY, ODD, OddWorld

HOURS = 2.2
# More examples: QUALTRICS_EXPORTER_TEST_EXAMPLES=500 pytest tests/controller/test_odd_objects.py
SETTINGS = settings(
    max_examples=int(os.environ.get("QUALTRICS_EXPORTER_TEST_EXAMPLES", "12")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@contextlib.contextmanager
def world() -> Iterator[OddWorld]:
    made = OddWorld()
    try:
        yield made
    finally:
        made.close()


def _real_status() -> dict[str, Any]:
    """The status of an exporter that has worked for some hours."""
    with world() as made:
        made.run(2.5)
        return made.status(ODD)


REAL = _real_status()
WORKS: dict[str, Any] = {}
with world() as _made:
    WORKS = _made.spec(ODD)


def judged(made: OddWorld, hours: float = HOURS) -> None:
    """Let time pass, a sweep and a change of the healthy exporter included, and see that all is well."""
    made.run(hours)
    assert made.ends == [], "the operator ended"
    assert made.loop.errors == []
    assert made.sent_twice() == []
    healthy = made.status(HEALTHY)
    slots = int((made.loop.time() - 1320) // 3600) + 1  # twenty minutes past each hour, and two for the run
    assert made.sent(HEALTHY) == slots
    assert len(healthy["history"]) == made.sent(HEALTHY)
    assert made.sent(ODD) <= slots + 3, "more surveys than slots and requests"
    assert made.internal_errors() == []
    if "deletionTimestamp" not in made.body(ODD)["metadata"]:
        assert [c for c in made.status(ODD).get("conditions", []) if c["type"] == "Ready"], "nothing is reported"


def odd(at_start: bool, **parts: Any) -> None:
    with world() as made:
        if at_start:
            made.put(**parts)
            judged(made)
        else:
            made.run(0.6)
            made.put(**parts)
            judged(made)


@given(st.booleans(), values(STATUS) | changed(REAL, STATUS))
@SETTINGS
def test_any_status_that_the_crd_accepts(at_start: bool, status: Any) -> None:
    odd(at_start, status=status)


@given(st.booleans(), values(STATUS, loose=True) | changed(REAL, STATUS, loose=True) | ANYTHING)
@SETTINGS
def test_any_status_that_another_crd_accepted(at_start: bool, status: Any) -> None:
    odd(at_start, status=status)


@given(st.booleans(), values(SPEC) | changed(WORKS, SPEC) | changed(WORKS, SPEC, loose=True) | ANYTHING)
@SETTINGS
def test_any_spec(at_start: bool, spec: Any) -> None:
    odd(at_start, spec=spec)


@given(st.booleans(), ANNOTATIONS, METADATA)
@SETTINGS
def test_any_annotation_and_metadata(at_start: bool, annotations: dict[str, str], metadata: dict[str, Any]) -> None:
    odd(at_start, metadata={**metadata, "annotations": annotations})


@given(
    changed(WORKS, SPEC) | st.just(WORKS),
    changed(REAL, STATUS) | changed(REAL, STATUS, loose=True),
    ANNOTATIONS,
    METADATA,
)
@SETTINGS
def test_everything_at_once(spec: Any, status: Any, annotations: dict[str, str], metadata: dict[str, Any]) -> None:
    odd(False, spec=spec, status=status, metadata={**metadata, "annotations": annotations})
