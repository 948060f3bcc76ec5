"""Delivery figures are read for a week, also if the entry of the run leaves the history after ten hours."""

import json
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from qualtrics_exporter.controller.actions import Situation
from qualtrics_exporter.controller.actions.followed import FollowedFigures
from qualtrics_exporter.controller.actions.questions import Questions
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan.wake import next_wake
from qualtrics_exporter.controller.status import followed_deliveries
from qualtrics_exporter.controller.status.followed_deliveries import DELAY, MOST_READS, with_followed
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.remote.errors import ExportError, Permanent, Transient
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.lenient import read_status
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, FollowedDelivery, HistoryEntry, Status
from tests.controller.exporters import ZONE, at, body, exporter, initial_status
from tests.support.clock import SteeredClock

NOW = at("2026-11-23 12:00")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KEY = Key("dex", "teams-rollout", exporter().uid)
GONE = Permanent(Reason.SURVEY_NOT_FOUND, "not found", status=404)
DOWN = Transient(Reason.REMOTE_UNAVAILABLE, "down")


def run(number: int, sent: datetime, **more: Any) -> HistoryEntry:
    """The entry of a run with ids as long as the real ones, whose figures were read until an hour after the send."""
    facts: dict[str, Any] = {
        "trigger": "Schedule",
        "result": "Succeeded",
        "reason": "Succeeded",
        "message": "",
        "survey_id": "SV_0123456789abcde",
        "distribution_id": f"EMD_{number:015d}",
        "send_time": sent,
        "delivery": Delivery(observed_time=sent + HOUR),
    }
    return HistoryEntry(id=f"{number:020d}", completion_time=sent, **{**facts, **more})


def item(number: int, sent: datetime, **more: Any) -> FollowedDelivery:
    return followed_deliveries.item_of(run(number, sent)).model_copy(update=more)


def dumped(items: list[FollowedDelivery]) -> list[dict[str, Any]]:
    return [one.model_dump(by_alias=True, exclude_none=True, mode="json") for one in items]


class Scenario:
    """An API server with one exporter, and a Qualtrics that returns or raises `replies`, by distribution."""

    def __init__(self, status: Status | None = None) -> None:
        self.clock = SteeredClock(start=NOW)
        self.body = body(
            status or initial_status(NOW).model_copy(update={"observed_generation": 1, "last_check_time": NOW})
        )
        self.replies: dict[str, ExportError] = {}
        self.reads: dict[str, list[datetime]] = defaultdict(list)
        self.writes = 0
        self.prunes = False
        self.store = StatusStore(cast("ClusterApi", self), self.clock, lambda found: found)
        self.questions = Questions(Memories(), self.clock)
        self.action = FollowedFigures(self.store, cast("ClientFactory", self), self.questions, ZONE)

    async def get(self, *_: str) -> dict[str, Any]:
        return self.body

    async def replace_status(self, *arguments: Any) -> dict[str, Any]:
        self.writes += 1
        pruned = {
            name: value for name, value in arguments[-1].items() if name != "followedDeliveries" or not self.prunes
        }
        self.body = {**self.body, "status": json.loads(json.dumps(pruned))}
        return self.body

    async def qualtrics(self, *_: object) -> "Scenario":
        return self

    async def delivery(self, _survey: str, distribution: str) -> Delivery:
        self.reads[distribution].append(self.clock.now())
        if reply := self.replies.get(distribution):
            raise reply
        return Delivery(sent=1)

    @property
    def exporter(self) -> Exporter:
        return Exporter.from_object(self.body)

    @property
    def items(self) -> list[FollowedDelivery]:
        return self.exporter.status.followed_deliveries or []

    async def add(self, entry: HistoryEntry) -> None:
        await self.store.change(KEY, lambda found: found.status.with_entry(entry))

    async def turn(self) -> bool:
        """Do what is due; returns whether anything was."""
        due = await self.action.due(Situation(KEY, self.exporter))
        if due:
            await self.action.do(Situation(KEY, self.exporter), due)
        return bool(due)


async def test_every_distribution_of_an_hourly_exporter_is_read_daily_for_a_week() -> None:
    scenario, turns, longest, largest = Scenario(), 0, 0, 0
    hours = 14 * 24
    for number in range(hours):
        await scenario.add(run(number, scenario.clock.now()))
        longest = max(longest, len(scenario.items))
        largest = max(
            largest, len(json.dumps(scenario.body["status"].get("followedDeliveries"), separators=(",", ":")))
        )
        turns += await scenario.turn()
        scenario.clock.advance(3600)
    assert 150 <= longest <= 170
    assert largest < 32_000, "bytes"
    for number in range(10, hours - 9 * 24):
        sent, reads = NOW + number * HOUR, scenario.reads[f"EMD_{number:015d}"]
        assert [round((read - sent) / DAY) for read in reads] == [1, 2, 3, 4, 5, 6, 7], (number, reads)
        assert all(timedelta(0) <= (read - sent) % DAY <= DELAY + 2 * HOUR for read in reads)
    assert turns <= 12 * 14, "a daily turn for each distribution would be 168 in a day"
    assert scenario.writes <= hours + turns


async def test_only_distributions_with_open_figures_are_followed() -> None:
    scenario, old = Scenario(), NOW - 30 * DAY
    stopped = Delivery(observed_time=NOW, stopped_reason="DistributionNotFound")
    entries = [
        run(0, old),
        run(1, NOW, distribution_id=None),
        run(2, NOW, distribution_id="jane.doe@example.com"),
        run(3, NOW, trigger="Test"),
        run(4, NOW, delivery=stopped),
        run(5, NOW, send_time=None, distribution_id=None, result="Missed"),
        run(6, NOW, delivery=None),
    ]
    for entry in [*entries, *(run(number, NOW) for number in range(10, 20))]:
        await scenario.add(entry)
    assert [one.run_id for one in scenario.items] == [f"{6:020d}"]


async def test_missing_distribution_is_read_once_and_the_others_go_on() -> None:
    items = [item(number, NOW - 2 * DAY) for number in range(3)]
    scenario = Scenario(Status(schedule_since=NOW, last_check_time=NOW, followed_deliveries=items))
    scenario.replies[items[1].distribution_id] = GONE
    assert await scenario.turn()
    assert [(one.run_id, one.observed_time) for one in scenario.items] == [
        (items[0].run_id, NOW),
        (items[2].run_id, NOW),
    ]
    assert not await scenario.turn()


async def test_turn_ends_at_the_first_failure_and_the_next_one_comes_hours_later() -> None:
    items = [item(number, NOW - 2 * DAY + number * HOUR) for number in range(5)]
    scenario = Scenario()
    status = {**scenario.body["status"], "followedDeliveries": dumped(items)}
    scenario.body = {**scenario.body, "status": status}
    scenario.replies[items[1].distribution_id] = DOWN
    assert await scenario.turn()
    assert list(scenario.reads) == [items[0].distribution_id, items[1].distribution_id]
    assert not await scenario.turn()
    wake = next_wake(scenario.exporter, NOW, ZONE, scenario.questions.retries(KEY, scenario.exporter.status))
    assert NOW + 4 * HOUR < wake.at < NOW + 5 * HOUR, "a tenth of the time since the send"
    scenario.clock.advance(3600)
    assert not await scenario.turn()
    scenario.replies.clear()
    scenario.clock.advance(5 * 3600)
    assert await scenario.turn()
    assert len(scenario.reads) == 5
    assert scenario.questions.retries(KEY, scenario.exporter.status) == {}


async def test_distribution_that_never_answers_is_dropped_after_eight_days() -> None:
    scenario = Scenario(Status(schedule_since=NOW, last_check_time=NOW, followed_deliveries=[item(0, NOW - DAY)]))
    scenario.replies[f"EMD_{0:015d}"] = DOWN
    for _ in range(8 * 24):
        await scenario.turn()
        scenario.clock.advance(3600)
    assert scenario.items == []
    assert 5 <= len(scenario.reads[f"EMD_{0:015d}"]) <= 30


async def test_one_turn_reads_a_limited_number_and_writes_once() -> None:
    items = [item(number, NOW - 3 * DAY) for number in range(MOST_READS + 5)]
    scenario = Scenario(Status(schedule_since=NOW, last_check_time=NOW, followed_deliveries=items))
    assert await scenario.turn()
    assert (len(scenario.reads), scenario.writes) == (MOST_READS, 1)
    assert await scenario.turn()
    assert (len(scenario.reads), scenario.writes) == (MOST_READS + 5, 2)


async def test_crd_without_the_list_causes_no_reads_and_no_more_writes() -> None:
    scenario = Scenario()
    scenario.prunes = True
    for number in range(60):
        await scenario.add(run(number, scenario.clock.now()))
        assert not await scenario.turn()
        scenario.clock.advance(3600)
    assert scenario.writes == 60
    assert "followedDeliveries" not in scenario.body["status"]


@pytest.mark.parametrize("sent", [NOW - 10 * DAY, NOW + 10 * DAY, at("2100-01-01 00:00")], ids=str)
async def test_times_that_are_too_far_away_end_with_the_next_write(sent: datetime) -> None:
    scenario = Scenario(Status(schedule_since=NOW, last_check_time=NOW, followed_deliveries=[item(0, sent)]))
    assert followed_deliveries.next_time(scenario.exporter.status, NOW) is None
    assert not await scenario.turn()
    await scenario.add(run(1, NOW))
    assert scenario.items == []


def test_invalid_items_are_ignored_one_by_one_and_do_not_count_as_damage() -> None:
    (good,) = dumped([item(0, NOW)])
    bad: list[Any] = [None, 7, {}, {**good, "sendTime": "soon"}, {**good, "runId": 7}, {**good, "surveyId": "x" * 999}]
    status, ignored = read_status({"followedDeliveries": [*bad, good, {**good, "observedTime": "never"}]})
    assert status.followed_deliveries == [item(0, NOW), item(0, NOW, observed_time=None)]
    assert ignored
    damaged = body()
    damaged["status"] = {"followedDeliveries": bad}
    assert not Exporter.from_object(damaged).damaged
    assert read_status({"followedDeliveries": [good] * 400})[0].followed_deliveries == [item(0, NOW)] * 170


def test_ids_that_a_tool_wrote_are_never_requested() -> None:
    odd = item(0, NOW - DAY, distribution_id="../users?q=jane.doe@example.com")
    status = Status(followed_deliveries=[odd])
    assert followed_deliveries.batch(status, NOW + DAY) == []
    assert with_followed(status, NOW).followed_deliveries is None
