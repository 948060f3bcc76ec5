"""The journal in an exporter's status, where the API server takes no writes."""

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
from tests.controller.exporters import ZONE, at, body, planned, seen
from tests.environment.clock import SteeredClock

ME = ProcessIdentity.new(lease=None, pod="me", instance="me")
NOW = at("2026-11-24 12:00")
RUN = ActiveRun(id="run1", trigger="Request", start_time=NOW, holder="me", step="Sending", batch_id="BT_1")
REFUSED = RUN.model_copy(update={"refused_until": NOW + timedelta(minutes=1), "refused_reason": "RemoteUnavailable"})
DOUBTED = REFUSED.model_copy(update={"refused_reason": "RateLimited"})
SENT = RUN.model_copy(update={"step": "Sent", "distribution_id": "EMD_1"})


def store_of(cluster: Any, clock: SteeredClock, *, unsure: bool = False) -> StatusStore:
    """The store as the operator wires it."""
    return StatusStore(cast("ClusterApi", cluster), clock, lambda found: repaired(found, clock.now(), unsure=unsure))


def ended_in_zone(exporter: Exporter, ended: Ended, now: datetime) -> Status:
    return finished(exporter, ended, now, ZONE)


class Deaf:
    """A cluster that shows everything and takes nothing."""

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        status = Status(active_run=RUN).model_dump(by_alias=True, exclude_none=True, mode="json")
        return {"metadata": {"namespace": namespace, "name": name, "uid": "uid"}, "spec": {}, "status": status}

    async def replace_status(self, *_: object) -> None:
        raise Forbidden("it may not")


@pytest.mark.parametrize(
    ("run", "error"),
    [
        # What is known of a send stays known to this process.
        (REFUSED, NotWritten),
        (SENT, NotWritten),
        # Nothing may happen that is not written down.
        (RUN.model_copy(update={"attempt": 2}), Abandoned),
    ],
)
async def test_a_run_is_left_when_a_step_cannot_be_written_but_not_when_it_is_known_what_became_of_its_send(
    run: ActiveRun, error: type[Exception]
) -> None:
    clock = SteeredClock(start=NOW)
    journal = StatusJournal(store_of(Deaf(), clock), Key("dex", "teams", "uid"), clock, ended_in_zone)
    with pytest.raises(error):
        await journal.write(run)


@pytest.mark.parametrize(
    ("run", "result"), [(RUN, "Unknown"), (REFUSED, "Failed"), (DOUBTED, "Unknown"), (SENT, "Succeeded")]
)
def test_a_run_that_cannot_talk_to_anybody_ends_by_what_its_journal_knows(run: ActiveRun, result: str) -> None:
    entry = without_clients(run, Permanent(Reason.SECRET_NOT_FOUND, "Secret dex/qualtrics is gone"), NOW).entry
    assert entry.result == result
    assert ("Nobody was mailed." in entry.message) is (result == "Failed")


class Stored:
    """A cluster with one exporter, whose run is stored. `conflicts` writers come first."""

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
            raise Conflict("somebody else wrote first", 409)
        self.run = Status.model_validate(status).active_run
        self.written += [self.run] if self.run else []
        return await self.get(namespace, name)


def journal_in(cluster: Stored, clock: SteeredClock) -> StatusJournal:
    return StatusJournal(store_of(cluster, clock), Key("dex", "teams", "uid"), clock, ended_in_zone)


async def beats(clock: SteeredClock, number: int) -> None:
    """Let the heart beat so many times."""
    for _ in range(number):
        await clock.asleep()
        clock.advance(HEARTBEAT_SECONDS)
        for _ in range(20):
            await asyncio.sleep(0)


async def test_while_a_step_takes_long_the_journal_shows_that_its_holder_is_alive() -> None:
    clock, cluster = SteeredClock(start=NOW), Stored(RUN)
    async with journal_in(cluster, clock).heartbeat(RUN):
        await beats(clock, 3)
    times = [run.heartbeat_time for run in cluster.written]
    assert len(set(times)) == 3
    assert {(run.step, run.holder, run.batch_id) for run in cluster.written} == {(RUN.step, RUN.holder, RUN.batch_id)}


async def test_the_heart_does_not_beat_for_a_run_in_other_hands() -> None:
    clock, cluster = SteeredClock(start=NOW), Stored(RUN)
    async with journal_in(cluster, clock).heartbeat(RUN):
        cluster.run = RUN.model_copy(update={"holder": "another"})
        await clock.asleep()
        clock.advance(HEARTBEAT_SECONDS)
        for _ in range(20):
            await asyncio.sleep(0)
    assert cluster.written == []
    assert cluster.run.holder == "another"


async def test_a_step_keeps_the_newest_heartbeat() -> None:
    clock, cluster = SteeredClock(start=NOW), Stored(RUN.model_copy(update={"heartbeat_time": NOW}))
    await journal_in(cluster, clock).write(SENT)
    assert cluster.run
    assert (cluster.run.step, cluster.run.heartbeat_time) == ("Sent", NOW)


class Hasty(SteeredClock):
    """Its monotonic clock runs on with every look."""

    def monotonic(self) -> float:
        self.advance(7)
        return super().monotonic()


async def test_a_status_that_others_write_all_the_time_is_given_up() -> None:
    clock, cluster = Hasty(start=NOW), Stored(RUN, conflicts=float("inf"))
    store = store_of(cluster, clock)
    with pytest.raises(Conflict):
        await store.change(
            Key("dex", "teams", "uid"), lambda e: e.status.model_copy(update={"schedule": "other"}), patience=0.5
        )


async def test_a_few_conflicts_do_not_matter() -> None:
    clock, cluster = SteeredClock(start=NOW), Stored(RUN, conflicts=3)
    await journal_in(cluster, clock).write(SENT)
    assert cluster.run == SENT


async def test_whoever_writes_first_after_the_status_was_damaged_keeps_what_must_not_act_again() -> None:
    """A check or a heartbeat writes before the next plan: it must not replace the status with what is left of it."""
    asked = {"run-requested-at": "A"}
    damaged = body(seen(NOW), asked)
    damaged["status"] |= {"sentRuns": [7], "activeRun": {"id": "x", "step": "nonsense"}}

    class Damaged:
        async def get(self, namespace: str, name: str) -> dict[str, Any]:
            return damaged

        async def replace_status(self, *arguments: Any) -> dict[str, Any]:
            damaged["status"] = dict(arguments[-1])
            return damaged

    store = store_of(Damaged(), SteeredClock(start=NOW))
    key = Key("dex", "teams-rollout", damaged["metadata"]["uid"])
    await store.change(key, lambda found: found.status.model_copy(update={"last_check_time": NOW}))
    found = Exporter.from_object(damaged)
    assert planned(found, NOW).claimed is None
    assert {(entry.result, entry.reason) for entry in found.status.history or []} == {
        ("Unknown", "DeliveryUnknown"),
        ("Skipped", "StatusNotUnderstood"),
    }


async def test_damage_is_written_over_also_if_the_rest_of_the_status_stays() -> None:
    """Else the exporter would be planned again and again."""
    since = (NOW + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    cluster = Kept(body(seen(NOW)), {"sentRuns": 7, "claimedSlots": [], "claimedSlotsSince": since})
    store = store_of(cluster, SteeredClock(start=NOW))
    await store.change(cluster.key, lambda found: planned(found, NOW).status, repair=False)
    assert "sentRuns" not in cluster.stored["status"]


async def test_whoever_writes_first_after_damage_does_not_trust_a_clock_that_is_in_doubt() -> None:
    cluster = Kept(body(seen(NOW)), {"sentRuns": 7})
    ahead = SteeredClock(start=NOW + timedelta(days=365))
    store = store_of(cluster, ahead, unsure=True)
    await store.change(cluster.key, lambda found: found.status.model_copy(update={"last_check_time": NOW}))
    status = Exporter.from_object(cluster.stored).status
    assert status.claimed_slots_since == NOW
    assert status.history is None


class Kept:
    """An API server with one object, into whose status something has written these values."""

    def __init__(self, stored: dict[str, Any], values: dict[str, Any]) -> None:
        stored["status"] |= values
        self.stored = stored
        self.key = Key("dex", "teams-rollout", stored["metadata"]["uid"])

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        return self.stored

    async def replace_status(self, *arguments: Any) -> dict[str, Any]:
        self.stored = {**self.stored, "status": dict(arguments[-1])}
        return self.stored
