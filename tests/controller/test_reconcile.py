"""Reconciliation when the cluster rejects or prunes a status, in memory and with a steered clock."""

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from qualtrics_exporter.clock import SystemClock
from qualtrics_exporter.controller.app import build
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.kube.api import ClusterApi, SecretMetadata
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, Refused
from qualtrics_exporter.controller.plan.wake import NEVER
from qualtrics_exporter.controller.queue.work_item import Turn
from qualtrics_exporter.controller.reconciler import Reconciler
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.remote.waits import Waits
from qualtrics_exporter.telemetry.metrics import Metrics
from tests.controller.exporters import at, body, exporter, initial_status
from tests.controller.test_resolution import ENDED_AT, after_unknown
from tests.support.clock import SteeredClock


class FakeCluster:
    """An API server with one exporter. `write` changes or rejects each new status."""

    def __init__(self, body: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
        self.body, self.write = body, write
        self.events: list[dict[str, Any]] = []
        self.writes = 0
        self.event_error: ClusterError | None = None

    async def get(self, *_: str) -> dict[str, Any]:
        return copy.deepcopy(self.body)

    async def replace_status(
        self, _namespace: str, _name: str, _uid: str, _version: str, status: dict[str, Any]
    ) -> dict[str, Any]:
        self.write(status)
        self.writes += 1
        self.body["status"] = status
        return copy.deepcopy(self.body)

    async def secret_metadata(self, *_: str) -> SecretMetadata | None:
        return SecretMetadata("1")

    async def create_event(self, event: dict[str, Any]) -> None:
        if self.event_error:
            raise self.event_error
        self.events.append(event)


class FakeClients:
    """A factory of clients whose Qualtrics has no distributions. `look_ups` counts the requests."""

    def __init__(self) -> None:
        self.look_ups = 0
        self.waits = Waits(SystemClock())

    async def versions(self, *_: object) -> tuple[str, str]:
        return "1", "1"

    async def qualtrics(self, *_: object) -> "FakeClients":
        return self

    async def find_distribution(self, *_: object) -> str | None:
        self.look_ups += 1
        return None


def make_reconciler(
    cluster: FakeCluster, clock: SteeredClock, clients: FakeClients | None = None, metrics: Metrics | None = None
) -> Reconciler:
    return build(
        Settings(leader_election=False),
        cast("ClusterApi", cluster),
        clock,
        clients=cast("ClientFactory", clients or FakeClients()),
        metrics=metrics or Metrics(),
        instance="me",
        pod="me",
    ).reconciler


TURN = Turn(first=False, urgent=False, waited=timedelta(0), waiting=0, in_progress=1)
KEY = Key("dex", "teams-rollout", exporter().uid)
REFUSALS = [
    Refused("update of the status was refused (HTTP 422): see spec.schedule", 422),
    Forbidden("the operator may not update the status (HTTP 403): its role lacks that rule", 403),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_refused_status_write_creates_an_event(error: ClusterError) -> None:
    def write(_: dict[str, Any]) -> None:
        raise error

    cluster = FakeCluster(body(), write)
    with pytest.raises(type(error)):
        await make_reconciler(cluster, SteeredClock()).reconcile(KEY, TURN)
    (event,) = cluster.events
    assert (event["type"], event["reason"]) == ("Warning", "StatusRefused")
    assert str(error) in event["note"]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_refused_event_does_not_hide_the_refused_status_write(error: ClusterError) -> None:
    def write(_: dict[str, Any]) -> None:
        raise error

    cluster = FakeCluster(body(), write)
    cluster.event_error = Forbidden("Events are forbidden", 403)
    with pytest.raises(type(error), match="the status"):
        await make_reconciler(cluster, SteeredClock()).reconcile(KEY, TURN)


async def count_requests(cluster: FakeCluster, clock: SteeredClock, hours: int) -> tuple[int, int]:
    """Reconcile at each wake time for some hours; return the number of look-ups and of status writes."""
    clients = FakeClients()
    reconciler = make_reconciler(cluster, clock, clients)
    end = clock.now() + timedelta(hours=hours)
    cluster.writes = 0
    while clock.now() < end:
        wake = await reconciler.reconcile(KEY, TURN)
        clock.advance(max(2 * 60.0, (min(wake.at, end) - clock.now()).total_seconds() + 1))
    return clients.look_ups, cluster.writes


def prune_looked_for_time(status: dict[str, Any]) -> None:
    """Remove the field, as an API server with an older CRD does."""
    for entry in [*status.get("history", []), *([status["lastTest"]] if "lastTest" in status else [])]:
        entry.pop("lookedForTime", None)


@pytest.mark.parametrize("write", [prune_looked_for_time, lambda _: None], ids=["older CRD", "CRD of this version"])
async def test_unknown_run_is_looked_up_three_times_also_if_the_crd_prunes_the_times(
    write: Callable[[dict[str, Any]], None],
) -> None:
    cluster = FakeCluster(body(after_unknown(suspend=True), suspend=True), write)
    look_ups, writes = await count_requests(cluster, SteeredClock(start=ENDED_AT), 12)
    assert look_ups == 3
    assert writes <= 4


async def test_unknown_run_with_an_invalid_spec_is_looked_up_after_the_spec_is_corrected() -> None:
    cluster = FakeCluster(body(after_unknown(), frequency="Fortnightly"), lambda _: None)
    clock, clients = SteeredClock(start=ENDED_AT + timedelta(minutes=15)), FakeClients()
    reconciler = make_reconciler(cluster, clock, clients)
    assert await reconciler.reconcile(KEY, TURN) == NEVER
    assert clients.look_ups == 0
    cluster.body["spec"] = body(suspend=True)["spec"]
    await reconciler.reconcile(KEY, TURN)
    assert clients.look_ups == 1


@pytest.mark.parametrize(
    ("annotations", "count", "waited"),
    [
        ({}, 1, 40 * 60),
        ({"run-requested-at": "now"}, 1, 7),
        ({"test-requested-at": "now", "test-mode": "Deliver"}, 0, 0),
    ],
    ids=["slot", "request", "test"],
)
async def test_claimed_run_is_counted_with_the_time_for_which_it_was_due(
    annotations: dict[str, str], count: int, waited: float
) -> None:
    """A slot was due at 00:20. A request waited for the turn of its exporter. A test does not count."""
    start = at("2026-11-24 00:20") if annotations else at("2026-11-23 12:00")
    cluster = FakeCluster(body(initial_status(start), annotations), lambda _: None)
    metrics, clock = Metrics(), SteeredClock(start=at("2026-11-24 01:00"))
    reconciler = make_reconciler(cluster, clock, metrics=metrics)
    await reconciler._plan(KEY, TURN._replace(waited=timedelta(seconds=7)))
    assert cluster.body["status"]["activeRun"]["step"] == "Claimed"
    page = b"".join(metrics.text()).decode()
    assert f"qualtrics_exporter_run_queue_wait_seconds_count {float(count)}\n" in page
    (total,) = [float(line.split()[1]) for line in page.splitlines() if "run_queue_wait_seconds_sum " in line]
    assert total == waited if annotations else total >= waited
