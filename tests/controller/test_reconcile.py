"""What the operator does where the cluster does not take what it writes: in memory, by a clock that is steered."""

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from qualtrics_exporter.controller.app import build
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, Refused
from qualtrics_exporter.controller.plan.wake import NEVER
from qualtrics_exporter.controller.reconciler import Reconciler
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.work_item import Turn
from qualtrics_exporter.telemetry.metrics import Metrics
from tests.controller.exporters import body, exporter
from tests.controller.test_resolution import ENDED_AT, after_unknown
from tests.environment.clock import SteeredClock


class OneObject:
    """An API server with one exporter. `write` is what becomes of each status: it changes it, or raises."""

    def __init__(self, body: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
        self.body, self.write = body, write
        self.events: list[dict[str, Any]] = []
        self.written = 0
        self.no_events: ClusterError | None = None

    async def get(self, *_: str) -> dict[str, Any]:
        return copy.deepcopy(self.body)

    async def replace_status(
        self, _namespace: str, _name: str, _uid: str, _version: str, status: dict[str, Any]
    ) -> dict[str, Any]:
        self.write(status)
        self.written += 1
        self.body["status"] = status
        return copy.deepcopy(self.body)

    async def secret_version(self, *_: str) -> str | None:
        return "1"

    async def create_event(self, event: dict[str, Any]) -> None:
        if self.no_events:
            raise self.no_events
        self.events.append(event)


class OneSide:
    """Credentials that lead to a Qualtrics which knows of no distribution. `asked` counts the looks."""

    def __init__(self) -> None:
        self.asked = 0

    async def versions(self, *_: object) -> tuple[str, str]:
        return "1", "1"

    async def qualtrics(self, *_: object) -> "OneSide":
        return self

    async def find_distribution(self, *_: object) -> str | None:
        self.asked += 1
        return None


def reconciler(cluster: OneObject, clock: SteeredClock, side: OneSide | None = None) -> Reconciler:
    return build(
        Settings(leader_election=False),
        cast("ClusterApi", cluster),
        clock,
        clients=cast("ClientFactory", side or OneSide()),
        metrics=Metrics(),
        instance="me",
        pod="me",
    ).reconciler


TURN = Turn(first=False, waited=timedelta(0), waiting=0, in_progress=1)
KEY = Key("dex", "teams-rollout", exporter().uid)
REFUSALS = [
    Refused("update of the status was refused (HTTP 422): see spec.schedule", 422),
    Forbidden("the operator may not update the status (HTTP 403): its role lacks that rule", 403),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_that_the_status_cannot_be_written_is_told_by_an_event(error: ClusterError) -> None:
    def write(_: dict[str, Any]) -> None:
        raise error

    cluster = OneObject(body(), write)
    with pytest.raises(type(error)):
        await reconciler(cluster, SteeredClock()).reconcile(KEY, TURN)
    (event,) = cluster.events
    assert (event["type"], event["reason"]) == ("Warning", "StatusRefused")
    assert str(error) in event["note"]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_that_not_even_an_event_can_be_written_changes_nothing(error: ClusterError) -> None:
    def write(_: dict[str, Any]) -> None:
        raise error

    cluster = OneObject(body(), write)
    cluster.no_events = Forbidden("no Events either", 403)
    with pytest.raises(type(error), match="the status"):
        await reconciler(cluster, SteeredClock()).reconcile(KEY, TURN)


async def looks(cluster: OneObject, clock: SteeredClock, hours: int) -> tuple[int, int]:
    """How often Qualtrics is asked, and a status written, when the exporter is tended as it wishes for so long."""
    side = OneSide()
    tending = reconciler(cluster, clock, side)
    end = clock.now() + timedelta(hours=hours)
    cluster.written = 0
    while clock.now() < end:
        wake = await tending.reconcile(KEY, TURN)
        clock.advance(max(2 * 60.0, (min(wake.at, end) - clock.now()).total_seconds() + 1))
    return side.asked, cluster.written


def prunes(status: dict[str, Any]) -> None:
    """As an API server whose CRD does not have that field yet."""
    for entry in [*status.get("history", []), *([status["lastTest"]] if "lastTest" in status else [])]:
        entry.pop("lookedForTime", None)


@pytest.mark.parametrize("write", [prunes, lambda _: None], ids=["older CRD", "CRD of this version"])
async def test_whether_or_not_the_crd_keeps_the_time_it_is_looked_for_three_times(
    write: Callable[[dict[str, Any]], None],
) -> None:
    cluster = OneObject(body(after_unknown(suspend=True), suspend=True), write)
    asked, written = await looks(cluster, SteeredClock(start=ENDED_AT), 12)
    assert asked == 3
    assert written <= 4


async def test_while_the_spec_is_invalid_qualtrics_is_not_asked_and_once_it_is_corrected_it_is() -> None:
    cluster = OneObject(body(after_unknown(), frequency="Fortnightly"), lambda _: None)
    clock, side = SteeredClock(start=ENDED_AT + timedelta(minutes=15)), OneSide()
    tending = reconciler(cluster, clock, side)
    assert await tending.reconcile(KEY, TURN) == NEVER
    assert side.asked == 0
    cluster.body["spec"] = body(suspend=True)["spec"]
    await tending.reconcile(KEY, TURN)
    assert side.asked == 1
