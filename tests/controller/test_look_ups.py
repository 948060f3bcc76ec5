"""Questions to Qualtrics about runs that have ended, when it has no answer or the clock was wrong."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from qualtrics_exporter.controller.actions import Situation
from qualtrics_exporter.controller.actions.delivery import DeliveryFigures
from qualtrics_exporter.controller.actions.look_up import OutcomeLookUps
from qualtrics_exporter.controller.actions.questions import Questions
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan.wake import next_wake
from qualtrics_exporter.controller.status import delivery_figures, events
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.remote.errors import ExportError, Permanent, Transient
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, HistoryEntry, Status
from tests.controller.exporters import ZONE, at, exporter, seen
from tests.controller.exporters import body as exporter_body
from tests.environment.clock import SteeredClock

NOW = at("2026-11-23 12:00")
KEY = Key("dex", "teams-rollout", "11111111-2222-3333-4444-555555555555")
DAY = timedelta(days=1)
GONE = Permanent(Reason.SURVEY_NOT_FOUND, "gone", status=404)
DOWN = Transient(Reason.REMOTE_UNAVAILABLE, "down")


def entry(sent: datetime, **more: Any) -> HistoryEntry:
    return HistoryEntry(
        id="abc", trigger="Request", completion_time=sent, result="Succeeded", reason="Succeeded", message="",
        send_time=sent, distribution_id="EMD_1", survey_id="SV_1", **more,
    )  # fmt: skip


class World:
    """One exporter with one entry, and a Qualtrics that answers `reply`, or raises it."""

    def __init__(self, entry: HistoryEntry, reply: ExportError | Delivery) -> None:
        self.clock = SteeredClock(start=NOW)
        self.now = exporter(seen(NOW).model_copy(update={"history": [entry], "observed_generation": 1}))
        self.reply: ExportError | Delivery = reply
        self.asked = 0
        self.keeps_figures = True
        self.restart()

    def restart(self) -> None:
        """The operator starts anew, and knows what is in the status."""
        questions = Questions(Memories(), self.clock)
        arguments = (cast("StatusStore", self), cast("ClientFactory", self), questions, ZONE)
        self.figures, self.look_ups = DeliveryFigures(*arguments), OutcomeLookUps(*arguments)

    @property
    def situation(self) -> Situation:
        return Situation(KEY, self.now)

    async def change(self, _key: Key, change: Callable[[Exporter], Status | None]) -> Exporter:
        if status := change(self.now):
            if not self.keeps_figures:
                history = [e.model_copy(update={"delivery": None}) for e in status.history or []]
                status = status.model_copy(update={"history": history})
            self.now = exporter(status)
        return self.now

    async def qualtrics(self, *_: object) -> "World":
        return self

    async def delivery(self, *_: str) -> Delivery:
        self.asked += 1
        if isinstance(self.reply, ExportError):
            raise self.reply
        return self.reply

    async def pass_time(self, time: timedelta, step: timedelta = timedelta(minutes=2)) -> int:
        """How often Qualtrics is asked in that time, if the exporter is looked at with each step."""
        before = self.asked
        for _ in range(time // step):
            if due := await self.figures.due(self.situation):
                await self.figures.do(self.situation, due)
            self.clock.advance(step.total_seconds())
        return self.asked - before


@pytest.mark.parametrize("sent", [NOW - DAY, NOW + DAY, NOW + 365 * DAY])
async def test_a_distribution_that_does_not_exist_is_asked_for_once(sent: datetime) -> None:
    world = World(entry(sent), GONE)
    assert await world.pass_time(timedelta(hours=2)) == 1
    now = world.clock.now()
    assert next_wake(world.now, now, ZONE).at > now
    assert await world.pass_time(30 * DAY, timedelta(hours=1)) == 0


@pytest.mark.parametrize("sent", [NOW, NOW + 365 * DAY])
async def test_figures_that_cannot_be_read_are_asked_for_later_and_later_and_then_given_up(sent: datetime) -> None:
    world = World(entry(sent), DOWN)
    days = [await world.pass_time(DAY, timedelta(minutes=5)) for _ in range(10)]
    assert days[0] < 60
    assert max(days[1:4]) < 10
    assert max(days[4:8]) <= 3
    assert days[9] == 0
    assert delivery_figures.next_read((world.now.status.history or [])[0], world.clock.now()) is None


def figures(world: World) -> dict[str, Any]:
    """`status.history[0].delivery`, as a user sees it."""
    return exporter_body(world.now.status)["status"]["history"][0].get("delivery", {})


@pytest.mark.parametrize(
    ("reply", "reason", "after"),
    [(GONE, "DistributionNotFound", timedelta(0)), (DOWN, "RemoteUnavailable", delivery_figures.GIVEN_UP)],
)
@pytest.mark.parametrize("read", [None, NOW + timedelta(minutes=2)])
async def test_figures_that_are_given_up_say_why_and_keep_the_time_of_the_last_look(
    reply: ExportError, reason: str, after: timedelta, read: datetime | None
) -> None:
    seen_before = Delivery(sent=4, observed_time=read) if read else None
    world = World(entry(NOW, delivery=seen_before), reply)
    world.clock.advance(after.total_seconds() + 15 * 60)
    await world.pass_time(2 * DAY, timedelta(hours=1))
    before = {"sent": 4, "observedTime": "2026-11-23T12:02:00Z"} if read else {}
    assert figures(world) == {**before, "stoppedReason": reason}
    asked = world.asked
    world.restart()
    assert await world.pass_time(20 * DAY, timedelta(hours=1)) == 0
    assert world.asked == asked


async def test_figures_that_are_given_up_are_told_in_an_event() -> None:
    world = World(entry(NOW), GONE)
    before = world.now
    world.clock.advance(15 * 60)
    await world.pass_time(DAY, timedelta(hours=1))
    (told,) = events.events(before, world.now)
    assert (told.type, told.reason, told.action) == ("Warning", "DistributionNotFound", "Delivery")
    assert "delivery figures of run abc" in told.note
    assert events.events(world.now, world.now) == []


async def test_figures_that_an_earlier_version_gave_up_are_not_asked_for_again() -> None:
    """It wrote the last time at which they would have been read, in place of a reason."""
    given_up = Delivery(sent=4, observed_time=NOW + 7 * DAY)
    world = World(entry(NOW, delivery=given_up), Delivery(sent=6))
    assert await world.pass_time(20 * DAY, timedelta(hours=1)) == 0


async def test_figures_that_the_api_server_does_not_keep_are_read_at_their_times() -> None:
    """A CRD that is older or foreign removes them from the status."""
    world = World(entry(NOW), Delivery(sent=6))
    world.keeps_figures = False
    world.clock.advance(120)
    assert await world.pass_time(timedelta(hours=2)) == 3
    assert await world.pass_time(DAY) <= 2
    gone = World(entry(NOW), GONE)
    gone.keeps_figures = False
    assert await gone.pass_time(DAY) == 1


def test_a_clock_that_was_ahead_when_it_read_figures_does_not_end_the_reading() -> None:
    read_ahead = entry(NOW, delivery=Delivery(sent=1, observed_time=NOW + 30 * DAY))
    assert delivery_figures.next_read(read_ahead, NOW + DAY) == NOW + timedelta(minutes=2)


async def test_figures_that_fail_do_not_delay_the_look_for_the_outcome() -> None:
    """They are different questions, also about the same run."""
    doubted = entry(NOW, batch_id="BT_1").model_copy(update={"result": "Unknown"})
    world = World(doubted, DOWN)
    world.clock.advance(15 * 60)
    due = await world.figures.due(world.situation)
    assert due
    await world.figures.do(world.situation, due)
    assert await world.figures.due(world.situation) is None
    assert await world.look_ups.due(world.situation)
