"""Delivery figures and look-ups of ended runs, if Qualtrics does not answer or a clock was wrong."""

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
from tests.controller.exporters import ZONE, at, exporter, initial_status
from tests.controller.exporters import body as exporter_body
from tests.support.clock import SteeredClock

NOW = at("2026-11-23 12:00")
KEY = Key("dex", "teams-rollout", "11111111-2222-3333-4444-555555555555")
DAY = timedelta(days=1)
NOT_FOUND = Permanent(Reason.SURVEY_NOT_FOUND, "not found", status=404)
UNAVAILABLE = Transient(Reason.REMOTE_UNAVAILABLE, "down")


def entry(sent: datetime, **more: Any) -> HistoryEntry:
    return HistoryEntry(
        id="abc", trigger="Request", completion_time=sent, result="Succeeded", reason="Succeeded", message="",
        send_time=sent, distribution_id="EMD_1", survey_id="SV_1", **more,
    )  # fmt: skip


class Scenario:
    """One exporter with one history entry, and a Qualtrics that returns or raises `reply`."""

    def __init__(self, entry: HistoryEntry, reply: ExportError | Delivery) -> None:
        self.clock = SteeredClock(start=NOW)
        self.exporter = exporter(
            initial_status(NOW).model_copy(
                update={"history": [entry], "observed_generation": 1, "last_check_time": NOW}
            )
        )
        self.reply: ExportError | Delivery = reply
        self.requests = 0
        self.asked: tuple[str | None, ...] = ()
        self.stores_figures = True
        self.restart()

    def restart(self) -> None:
        """Restart the operator: it knows only what is in the status."""
        questions = Questions(Memories(), self.clock)
        arguments = (cast("StatusStore", self), cast("ClientFactory", self), questions, ZONE)
        self.figures, self.look_ups = DeliveryFigures(*arguments), OutcomeLookUps(*arguments)

    @property
    def situation(self) -> Situation:
        return Situation(KEY, self.exporter)

    async def change(self, _key: Key, change: Callable[[Exporter], Status | None]) -> Exporter:
        if status := change(self.exporter):
            if not self.stores_figures:
                history = [e.model_copy(update={"delivery": None}) for e in status.history or []]
                status = status.model_copy(update={"history": history})
            self.exporter = exporter(status)
        return self.exporter

    async def qualtrics(self, *_: object) -> "Scenario":
        return self

    async def delivery(self, *asked: str | None) -> Delivery:
        self.requests += 1
        self.asked = asked
        if isinstance(self.reply, ExportError):
            raise self.reply
        return self.reply

    async def pass_time(self, time: timedelta, step: timedelta = timedelta(minutes=2)) -> int:
        """Let time pass in steps, read the figures when they are due, and return the number of requests."""
        before = self.requests
        for _ in range(time // step):
            if due := await self.figures.due(self.situation):
                await self.figures.do(self.situation, due)
            self.clock.advance(step.total_seconds())
        return self.requests - before


@pytest.mark.parametrize("sent", [NOW - DAY, NOW + DAY, NOW + 365 * DAY], ids=["yesterday", "tomorrow", "next year"])
async def test_figures_of_a_missing_distribution_are_requested_once(sent: datetime) -> None:
    scenario = Scenario(entry(sent), NOT_FOUND)
    assert await scenario.pass_time(timedelta(hours=2)) == 1
    now = scenario.clock.now()
    assert next_wake(scenario.exporter, now, ZONE).at > now
    assert await scenario.pass_time(30 * DAY, timedelta(hours=1)) == 0


@pytest.mark.parametrize("sent", [NOW, NOW + 365 * DAY], ids=["now", "next year"])
async def test_unreadable_figures_are_requested_less_and_less_often_and_then_given_up(sent: datetime) -> None:
    scenario = Scenario(entry(sent), UNAVAILABLE)
    days = [await scenario.pass_time(DAY, timedelta(minutes=5)) for _ in range(10)]
    assert days[0] < 60
    assert max(days[1:4]) < 10
    assert max(days[4:8]) <= 3
    assert days[9] == 0
    assert delivery_figures.next_read((scenario.exporter.status.history or [])[0], scenario.clock.now()) is None


def delivery_in_status(scenario: Scenario) -> dict[str, Any]:
    """`status.history[0].delivery`, as a user sees it."""
    return exporter_body(scenario.exporter.status)["status"]["history"][0].get("delivery", {})


@pytest.mark.parametrize(
    ("reply", "reason", "after"),
    [(NOT_FOUND, "DistributionNotFound", timedelta(0)), (UNAVAILABLE, "RemoteUnavailable", delivery_figures.GIVEN_UP)],
    ids=["not found", "unavailable"],
)
@pytest.mark.parametrize("read", [None, NOW + timedelta(minutes=2)], ids=["never read", "read once"])
async def test_figures_that_are_given_up_show_the_reason_and_keep_the_time_of_the_last_read(
    reply: ExportError, reason: str, after: timedelta, read: datetime | None
) -> None:
    earlier_figures = Delivery(sent=4, observed_time=read) if read else None
    scenario = Scenario(entry(NOW, delivery=earlier_figures), reply)
    scenario.clock.advance(after.total_seconds() + 15 * 60)
    await scenario.pass_time(2 * DAY, timedelta(hours=1))
    kept = {"sent": 4, "observedTime": "2026-11-23T12:02:00Z"} if read else {}
    assert delivery_in_status(scenario) == {**kept, "stoppedReason": reason}
    before = scenario.requests
    scenario.restart()
    assert await scenario.pass_time(20 * DAY, timedelta(hours=1)) == 0
    assert scenario.requests == before


async def test_giving_up_figures_creates_one_warning_event() -> None:
    scenario = Scenario(entry(NOW), NOT_FOUND)
    before = scenario.exporter
    scenario.clock.advance(15 * 60)
    await scenario.pass_time(DAY, timedelta(hours=1))
    (event,) = events.events(before, scenario.exporter)
    assert (event.type, event.reason, event.action) == ("Warning", "DistributionNotFound", "Delivery")
    assert "delivery figures of run abc" in event.note
    assert events.events(scenario.exporter, scenario.exporter) == []


REPORTED = {"reason": "SettledAsSent", "batch_id": "BT_1"}


async def test_reported_distribution_of_another_batch_is_not_read() -> None:
    """A user may have copied the id of another distribution of the survey."""
    another = Permanent(Reason.DISTRIBUTION_NOT_FOUND, "distribution EMD_1 is not for batch BT_1")
    scenario = Scenario(entry(NOW).model_copy(update=REPORTED), another)
    await scenario.pass_time(timedelta(hours=2))
    assert scenario.asked == ("SV_1", "EMD_1", "BT_1")
    assert delivery_in_status(scenario) == {"stoppedReason": "DistributionNotFound"}
    assert scenario.requests == 1


async def test_distribution_of_the_operator_is_read_whatever_batch_qualtrics_shows() -> None:
    """One example only shows how Qualtrics presents the batch of a distribution."""
    scenario = Scenario(entry(NOW, batch_id="BT_1"), Delivery(sent=6))
    await scenario.pass_time(timedelta(minutes=10))
    assert scenario.asked == ("SV_1", "EMD_1", None)


async def test_answer_about_a_wrong_id_does_not_count_for_its_correction() -> None:
    """A user corrects the report while the operator asks for the figures of the wrong distribution."""
    scenario = Scenario(entry(NOW).model_copy(update=REPORTED), NOT_FOUND)
    scenario.clock.advance(15 * 60)
    due = await scenario.figures.due(scenario.situation)
    assert due
    corrected = due.model_copy(update={"distribution_id": "EMD_2"})
    before = scenario.situation
    scenario.exporter = exporter(scenario.exporter.status.model_copy(update={"history": [corrected]}))
    await scenario.figures.do(before, due)
    assert delivery_in_status(scenario) == {}
    scenario.reply = Delivery(sent=6)
    assert await scenario.pass_time(timedelta(minutes=2)) == 1
    assert delivery_in_status(scenario)["sent"] == 6


async def test_failed_read_of_a_wrong_id_does_not_delay_that_of_the_right_one() -> None:
    scenario = Scenario(entry(NOW - 6 * DAY).model_copy(update=REPORTED), UNAVAILABLE)
    assert await scenario.pass_time(timedelta(minutes=2)) == 1
    assert await scenario.pass_time(timedelta(minutes=30)) == 0
    history = [e.model_copy(update={"distribution_id": "EMD_2"}) for e in scenario.exporter.status.history or []]
    scenario.exporter = exporter(scenario.exporter.status.model_copy(update={"history": history}))
    assert await scenario.pass_time(timedelta(minutes=2)) == 1


async def test_figures_that_an_earlier_version_gave_up_are_not_requested_again() -> None:
    """It stored the time of the last planned read instead of a reason."""
    given_up = Delivery(sent=4, observed_time=NOW + 7 * DAY)
    scenario = Scenario(entry(NOW, delivery=given_up), Delivery(sent=6))
    assert await scenario.pass_time(20 * DAY, timedelta(hours=1)) == 0


async def test_figures_that_the_crd_prunes_are_still_read_on_schedule() -> None:
    """A CRD of another version may remove them from the status."""
    scenario = Scenario(entry(NOW), Delivery(sent=6))
    scenario.stores_figures = False
    scenario.clock.advance(120)
    assert await scenario.pass_time(timedelta(hours=2)) == 3
    assert await scenario.pass_time(DAY) <= 2
    not_found = Scenario(entry(NOW), NOT_FOUND)
    not_found.stores_figures = False
    assert await not_found.pass_time(DAY) == 1


def test_figures_are_read_again_after_a_read_by_a_clock_that_was_ahead() -> None:
    read_ahead = entry(NOW, delivery=Delivery(sent=1, observed_time=NOW + 30 * DAY))
    assert delivery_figures.next_read(read_ahead, NOW + DAY) == NOW + timedelta(minutes=2)


async def test_failed_read_of_figures_does_not_delay_the_look_up_of_the_outcome() -> None:
    """The two requests have separate retries, also for the same run."""
    unknown_entry = entry(NOW, batch_id="BT_1").model_copy(update={"result": "Unknown"})
    scenario = Scenario(unknown_entry, UNAVAILABLE)
    scenario.clock.advance(15 * 60)
    due = await scenario.figures.due(scenario.situation)
    assert due
    await scenario.figures.do(scenario.situation, due)
    assert await scenario.figures.due(scenario.situation) is None
    assert await scenario.look_ups.due(scenario.situation)
