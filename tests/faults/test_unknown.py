"""The reply of a send is lost: the operator finds the distribution, or says how users can look for it.

It is not known for certain what Qualtrics shows, so the tests try all forms: where the batch is shown, how long the
pages are, how late the list is, and how many others send the same survey at the same time.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import httpx
import pytest

from qualtrics_exporter.resource.status import timestamp
from tests.faults import assertions
from tests.faults.assertions import Violation, ViolationKind
from tests.faults.controller_factory import ControllerFactory
from tests.faults.in_process_controller import InProcessController
from tests.faults.tally import Tally
from tests.sandbox.caller import QualtricsCaller

ATTACK = "a send whose reply was lost"
SEND = "qualtrics.create_distribution"
LOOK_UP_SECONDS = 120
ECHOES = ("mailingListId", "byId", "never")


@dataclass(frozen=True)
class ListForm:
    """What Qualtrics' list of distributions shows, and who else sends the survey."""

    echo: str
    page: int = 100
    lag: float = 0
    others_before: int = 0
    """How many others sent the same survey in the hour before."""
    others_during: int = 0
    """How many others send it during the look-up."""

    def __str__(self) -> str:
        return (
            f"batch shown: {self.echo}, {self.page} a page, {self.lag:g} s late, "
            f"{self.others_before} others before and {self.others_during} during the look-up"
        )

    @property
    def shows_ours(self) -> bool:
        """Whether our distribution can be found within the time of the look-up."""
        return self.echo != "never" and self.lag < LOOK_UP_SECONDS


def all_forms(echo: str) -> Iterator[ListForm]:
    for page, lag, before, during in product((1, 2, 100), (0, 45, 100), (0, 3), (0, 3)):
        yield ListForm(echo, page, lag, before, during)


def some_forms(echo: str) -> Iterator[ListForm]:
    """As many as `make test` has time for."""
    yield ListForm(echo)
    yield ListForm(echo, page=2, lag=45, others_before=3, others_during=3)


class OtherSenders:
    """Others who send the same survey, each to its own batch."""

    def __init__(self, controller: InProcessController, http: httpx.AsyncClient) -> None:
        self._controller = controller
        self._caller = QualtricsCaller(controller.sandbox, http)
        self.batches: set[str] = set()

    async def send(self, number: int) -> None:
        """So many of them send."""
        await self._caller.log_in("qualtrics")
        for _ in range(number):
            batch = await self._caller.batch_with(f"other{len(self.batches)}@example.com")
            self.batches.add(batch)
            await self._caller.send(batch)
            self._controller.clock.advance(1)


@asynccontextmanager
async def controller_with(
    controllers: ControllerFactory, form: ListForm
) -> AsyncIterator[tuple[InProcessController, OtherSenders]]:
    """A controller with a ready exporter, and a Qualtrics whose list has this form."""
    async with controllers.create() as controller, httpx.AsyncClient(trust_env=False) as http:
        controller.account.batch_echo = form.echo  # type: ignore[assignment]
        controller.account.distributions_page_size = form.page
        controller.account.list_lag_seconds = form.lag
        controller.spec["schedule"] = {"frequency": "Daily"}
        others = OtherSenders(controller, http)
        await controller.apply_ready()
        await others.send(form.others_before)
        if form.others_during:
            # The first pause of the look-up is at least nine seconds.
            controller.clock.during_sleep(9, lambda: others.send(form.others_during))
        yield controller, others


async def lose_the_reply(controllers: ControllerFactory, form: ListForm, *, drop: str) -> list[Violation]:
    """Run once, and drop the connection of the send before or after Qualtrics sends. Returns the violations."""
    was_sent = drop == "after"
    async with controller_with(controllers, form) as (controller, others):
        controller.faults.add(SEND, drop=drop)
        entry = await controller.run()
        assert entry
        ours = [one for one in controller.sent if one.batch_id not in others.batches]
        violations = assertions.slot_violations(controller.sandbox.recorder, ours, entry, controller.people)
        violations += assertions.unjournaled_sends(ours, controller.cluster.journal_writes)
        violations += await controller.leaks()
        expected = "Succeeded" if was_sent and form.shows_ours else "Unknown"
        if entry["result"] != expected:
            description = f"{entry['result']} ({entry['reason']}), not {expected}"
            violations.append(Violation(ViolationKind.UNTRUE_ENTRY, description))
        if entry["result"] == "Unknown":
            violations += await missing_instructions(controller, entry)
        violations += await next_slot_violations(controller)
        assert not controller.errors, controller.errors
        if violations:
            print(f"--- {form}: {violations}\n{entry}\n{controller.log}")
        return violations


async def missing_instructions(controller: InProcessController, entry: dict[str, Any]) -> list[Violation]:
    """What the entry or the Event does not say, although users need it to look for the distribution."""
    events = await controller.user.events(controller.name)
    notes = [event["note"] for event in events if event["reason"] == "DeliveryUnknown"]
    at = timestamp(datetime.fromisoformat(entry["sendTime"]))
    needed = [
        controller.account.survey_id,
        entry["batchId"],
        at,
        "look at the survey's distributions",
        "request a run",
    ]
    return [
        Violation(ViolationKind.SILENT_SLOT, f"{place} does not say {text!r}")
        for place, message in (("the entry", entry["message"]), ("an Event", " ".join(notes)))
        for text in needed
        if text not in message
    ]


async def next_slot_violations(controller: InProcessController) -> list[Violation]:
    """The next slot must be sent on time."""
    due = datetime.fromisoformat((await controller.status())["nextScheduleTime"])
    controller.clock.advance_to(due)
    status = await controller.reconcile_until(lambda status: status["history"][0]["trigger"] == "Schedule")
    entry = status["history"][0]
    started = datetime.fromisoformat(entry.get("startTime", entry["completionTime"]))
    if entry["trigger"] == "Schedule" and entry["result"] == "Succeeded" and started - due < timedelta(minutes=1):
        return []
    description = f"the next slot, due {due}: {entry['result']} ({entry['reason']}) at {started}"
    return [Violation(ViolationKind.SILENT_SLOT, description)]


@pytest.mark.parametrize("echo", ECHOES)
async def test_operator_finds_a_send_whose_reply_was_lost_if_qualtrics_shows_it(
    controllers: ControllerFactory, tally: Tally, echo: str
) -> None:
    for form in some_forms(echo):
        tally.add(ATTACK, f"batch shown: {echo}", str(form), await lose_the_reply(controllers, form, drop="after"))
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.parametrize("echo", ECHOES)
async def test_operator_does_not_take_the_distribution_of_another_sender_for_its_own(
    controllers: ControllerFactory, tally: Tally, echo: str
) -> None:
    form = ListForm(echo, page=2, others_before=2, others_during=2)
    violations = await lose_the_reply(controllers, form, drop="before")
    tally.add(ATTACK, f"batch shown: {echo}", f"not sent, {form}", violations)
    assert tally.violations == [], tally.how_to_repeat


@pytest.mark.long
@pytest.mark.parametrize("echo", ECHOES)
async def test_operator_finds_only_its_own_send_in_every_form_of_the_list(
    controllers: ControllerFactory, tally: Tally, echo: str
) -> None:
    for form in all_forms(echo):
        for drop in ("after", "before"):
            violations = await lose_the_reply(controllers, form, drop=drop)
            tally.add(ATTACK, f"batch shown: {echo}", f"dropped {drop}, {form}", violations)
    assert tally.violations == [], tally.how_to_repeat
