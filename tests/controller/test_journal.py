"""The journal in the status of an exporter, if writes fail or conflict, or if the status is damaged."""

import asyncio
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from qualtrics_exporter.controller.actions.run import without_clients
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import Conflict, Forbidden
from qualtrics_exporter.controller.plan.next_status import finished
from qualtrics_exporter.controller.plan.repair import repaired
from qualtrics_exporter.controller.run_holders import ProcessIdentity
from qualtrics_exporter.controller.status.journal import HEARTBEAT_SECONDS, StatusJournal
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.export.journal import Abandoned, Ended, NotWritten
from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, Status
from tests.controller.exporters import ZONE, at, body, initial_status, planned
from tests.support.clock import SteeredClock

ME = ProcessIdentity.new(lease=None, pod="me", instance="me")
NOW = at("2026-11-24 12:00")
RUN = ActiveRun(id="run1", trigger="Request", start_time=NOW, holder="me", step="Sending", batch_id="BT_1")
REFUSED = RUN.model_copy(update={"refused_until": NOW + timedelta(minutes=1), "refused_reason": "RemoteUnavailable"})
RATE_LIMITED = REFUSED.model_copy(update={"refused_reason": "RateLimited"})
SENT = RUN.model_copy(update={"step": "Sent", "distribution_id": "EMD_1"})


def store_of(cluster: Any, clock: SteeredClock, *, clock_unsure: bool = False) -> StatusStore:
    """Return a store that repairs a damaged status, as in the operator."""
    return StatusStore(
        cast("ClusterApi", cluster), clock, lambda found: repaired(found, clock.now(), clock_unsure=clock_unsure)
    )


def finished_in_zone(exporter: Exporter, ended: Ended, now: datetime) -> Status:
    return finished(exporter, ended, now, ZONE)


class ReadOnlyCluster:
    """A cluster that refuses all writes."""

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        status = Status(active_run=RUN).model_dump(by_alias=True, exclude_none=True, mode="json")
        return {"metadata": {"namespace": namespace, "name": name, "uid": "uid"}, "spec": {}, "status": status}

    async def replace_status(self, *_: object) -> None:
        raise Forbidden("missing permission")


@pytest.mark.parametrize(
    ("run", "error"),
    [
        # The process still knows the outcome of the send.
        (REFUSED, NotWritten),
        (SENT, NotWritten),
        # Nothing may happen that is not in the journal.
        (RUN.model_copy(update={"attempt": 2}), Abandoned),
    ],
    ids=["refused", "sent", "next attempt"],
)
async def test_failed_write_abandons_the_run_unless_the_outcome_of_its_send_is_known(
    run: ActiveRun, error: type[Exception]
) -> None:
    clock = SteeredClock(start=NOW)
    journal = StatusJournal(store_of(ReadOnlyCluster(), clock), Key("dex", "teams", "uid"), clock, finished_in_zone)
    with pytest.raises(error):
        await journal.write(run)


@pytest.mark.parametrize(
    ("run", "result"),
    [(RUN, "Unknown"), (REFUSED, "Failed"), (RATE_LIMITED, "Unknown"), (SENT, "Succeeded")],
    ids=["sending", "refused", "rate limited", "sent"],
)
def test_run_without_clients_ends_with_the_outcome_in_its_journal(run: ActiveRun, result: str) -> None:
    entry = without_clients(run, Permanent(Reason.SECRET_NOT_FOUND, "Secret dex/qualtrics is gone"), NOW).entry
    assert entry.result == result
    assert ("Nobody was mailed." in entry.message) is (result == "Failed")


class ClusterWithRun:
    """A cluster with one exporter that has a run. Another writer comes first for `conflicts` writes."""

    def __init__(self, run: ActiveRun, conflicts: float = 0) -> None:
        self.run: ActiveRun | None = run
        self.conflicts = conflicts
        self.written: list[ActiveRun] = []

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        status = Status(active_run=self.run).model_dump(by_alias=True, exclude_none=True, mode="json")
        return {"metadata": {"namespace": namespace, "name": name, "uid": "uid"}, "spec": {}, "status": status}

    async def replace_status(self, namespace: str, name: str, _uid: str, _version: str, status: Any) -> dict[str, Any]:
        if self.conflicts > 0:
            self.conflicts -= 1
            raise Conflict("another writer came first", 409)
        self.run = Status.model_validate(status).active_run
        self.written += [self.run] if self.run else []
        return await self.get(namespace, name)


def journal_in(cluster: ClusterWithRun, clock: SteeredClock) -> StatusJournal:
    return StatusJournal(store_of(cluster, clock), Key("dex", "teams", "uid"), clock, finished_in_zone)


async def wait_for_heartbeats(clock: SteeredClock, number: int) -> None:
    """Let this number of heartbeats become due."""
    for _ in range(number):
        await clock.asleep()
        clock.advance(HEARTBEAT_SECONDS)
        for _ in range(20):
            await asyncio.sleep(0)


async def test_heartbeat_is_written_to_the_journal_during_a_long_step() -> None:
    clock, cluster = SteeredClock(start=NOW), ClusterWithRun(RUN)
    async with journal_in(cluster, clock).heartbeat(RUN):
        await wait_for_heartbeats(clock, 3)
    times = [run.heartbeat_time for run in cluster.written]
    assert len(set(times)) == 3
    assert {(run.step, run.holder, run.batch_id) for run in cluster.written} == {(RUN.step, RUN.holder, RUN.batch_id)}


async def test_heartbeat_is_not_written_to_the_run_of_another_holder() -> None:
    clock, cluster = SteeredClock(start=NOW), ClusterWithRun(RUN)
    async with journal_in(cluster, clock).heartbeat(RUN):
        cluster.run = RUN.model_copy(update={"holder": "another"})
        await wait_for_heartbeats(clock, 1)
    assert cluster.written == []
    assert cluster.run.holder == "another"


async def test_write_of_a_step_keeps_the_newest_heartbeat() -> None:
    clock, cluster = SteeredClock(start=NOW), ClusterWithRun(RUN.model_copy(update={"heartbeat_time": NOW}))
    await journal_in(cluster, clock).write(SENT)
    assert cluster.run
    assert (cluster.run.step, cluster.run.heartbeat_time) == ("Sent", NOW)


class AdvancingClock(SteeredClock):
    """A clock that advances with every read of the monotonic time."""

    def monotonic(self) -> float:
        self.advance(7)
        return super().monotonic()


async def test_change_of_a_status_gives_up_if_its_writes_conflict_for_too_long() -> None:
    clock, cluster = AdvancingClock(start=NOW), ClusterWithRun(RUN, conflicts=float("inf"))
    store = store_of(cluster, clock)
    with pytest.raises(Conflict):
        await store.change(
            Key("dex", "teams", "uid"), lambda e: e.status.model_copy(update={"schedule": "other"}), patience=0.5
        )


async def test_write_of_a_step_succeeds_after_a_few_conflicts() -> None:
    clock, cluster = SteeredClock(start=NOW), ClusterWithRun(RUN, conflicts=3)
    await journal_in(cluster, clock).write(SENT)
    assert cluster.run == SENT


async def test_first_write_after_damage_repairs_the_status_so_that_nothing_acts_again() -> None:
    """A check or a heartbeat may write before the next plan. It must not store only the intact part of the status."""
    damage = {"sentRuns": [7], "activeRun": {"id": "x", "step": "nonsense"}}
    cluster = DamagedCluster(body(initial_status(NOW), {"run-requested-at": "A"}), damage)
    store = store_of(cluster, SteeredClock(start=NOW))
    await store.change(cluster.key, lambda found: found.status.model_copy(update={"last_check_time": NOW}))
    found = Exporter.from_object(cluster.stored)
    assert planned(found, NOW).claimed is None
    assert {(entry.result, entry.reason) for entry in found.status.history or []} == {
        ("Unknown", "DeliveryUnknown"),
        ("Skipped", "StatusNotUnderstood"),
    }


async def test_damaged_field_is_overwritten_although_the_rest_of_the_status_is_unchanged() -> None:
    """Otherwise the exporter would be planned again and again."""
    since = (NOW + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    cluster = DamagedCluster(body(initial_status(NOW)), {"sentRuns": 7, "claimedSlots": [], "claimedSlotsSince": since})
    store = store_of(cluster, SteeredClock(start=NOW))
    await store.change(cluster.key, lambda found: planned(found, NOW).status, repair=False)
    assert "sentRuns" not in cluster.stored["status"]


async def test_first_write_after_damage_does_not_use_the_time_of_a_clock_that_is_not_trusted() -> None:
    cluster = DamagedCluster(body(initial_status(NOW)), {"sentRuns": 7})
    ahead = SteeredClock(start=NOW + timedelta(days=365))
    store = store_of(cluster, ahead, clock_unsure=True)
    await store.change(cluster.key, lambda found: found.status.model_copy(update={"last_check_time": NOW}))
    status = Exporter.from_object(cluster.stored).status
    assert status.claimed_slots_since == NOW
    assert status.history is None


class DamagedCluster:
    """A cluster with one exporter, into whose status another tool has written these values."""

    def __init__(self, stored: dict[str, Any], values: dict[str, Any]) -> None:
        stored["status"] |= values
        self.stored = stored
        self.key = Key("dex", "teams-rollout", stored["metadata"]["uid"])

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        return self.stored

    async def replace_status(self, *arguments: Any) -> dict[str, Any]:
        self.stored = {**self.stored, "status": dict(arguments[-1])}
        return self.stored
