"""Every invalid value at every place of a status is repaired by the first write, and stops nothing."""

import json
from itertools import islice
from typing import Any

import jsonschema
import pytest

from qualtrics_exporter.controller.plan.repair import repaired
from qualtrics_exporter.controller.plan.wake import next_wake
from qualtrics_exporter.controller.status import events, store
from qualtrics_exporter.controller.status.entry_log import Change
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.lenient import read_status
from qualtrics_exporter.telemetry.metrics import Metrics
from tests.controller.crd_strategies import STATUS
from tests.controller.each_damage import RUN, complete_status, damaged_everywhere
from tests.controller.exporters import ZONE, at, body, planned

DUE = at("2026-11-24 00:20")
CRD = jsonschema.Draft202012Validator(STATUS)
REQUESTS = {"run-requested-at": "r1", "test-requested-at": "t1", "test-mode": "Deliver", "settle-run": f"{RUN}=Sent"}


def written(found: dict[str, Any], metrics: Metrics) -> dict[str, Any]:
    """Return the status that the operator writes for this object, after everything that it computes around a write."""
    before = Exporter.from_object(found)
    next_wake(before, DUE, ZONE)
    store._dump(repaired(before, DUE).status)  # from here on, another write than that of the plan
    status = planned(before, DUE, orphaned=True).status
    dumped = store._dump(status)
    after = Exporter.from_object({**found, "status": dumped})
    change = Change([])
    change.writing(before, status)
    change.written(after)
    next_wake(after, DUE, ZONE)
    events.events(before, after)
    for entry in events.new_entries(before.status, after.status):
        metrics.run_ended(after, entry)
    for exporter in (before, after):
        metrics.exporter(exporter, ready=True)
    return dumped


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.long)], ids=["some values", "all values"])
@pytest.mark.parametrize("running", [False, True], ids=["at rest", "during a run"])
def test_first_write_repairs_every_invalid_value(running: bool, step: int) -> None:
    """In `make test`, each place has one or two of the values, and each value occurs, because 11 is a prime number."""
    whole = complete_status()
    status = {"activeRun": whole.pop("activeRun")} if running else whole
    metrics, damages = Metrics(), 0
    for what, damaged in islice(damaged_everywhere(status), 0, None, step):
        found = body(annotations=REQUESTS)
        found["status"] = {**whole, **damaged}
        after = written(found, metrics)
        json.dumps(after, allow_nan=False)
        assert next(CRD.iter_errors(after), None) is None, what
        assert read_status(after)[1] == (), what
        damages += read_status(found["status"])[1] != ()
    assert damages > 200 / step
