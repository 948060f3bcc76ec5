"""The reply to a send was lost: it is found again wherever Qualtrics shows it, and else everybody is told how to look.

What Qualtrics shows is not certain, so all of it is tried: where the batch can be seen, how long the pages are, how
late the list is, and who else sends the same survey at the same time.
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
from tests.faults import oracle
from tests.faults.desk import Desk, Office
from tests.faults.oracle import Finding, Found
from tests.faults.tally import Tally
from tests.sandbox.caller import QualtricsCaller

MATRIX = "a send whose reply was lost"
SEND = "qualtrics.create_distribution"
LOOK_UP_SECONDS = 120
ECHOES = ("mailingListId", "byId", "never")


@dataclass(frozen=True)
class View:
    """What Qualtrics lets see, and who else is there."""

    echo: str
    page: int = 100
    lag: float = 0
    before: int = 0
    """Others that were sent the same survey in the hour before."""
    after: int = 0
    """Others that are sent it while ours is looked for."""

    def __str__(self) -> str:
        return (
            f"batch shown: {self.echo}, {self.page} a page, {self.lag:g} s late, "
            f"{self.before} others before and {self.after} after"
        )

    @property
    def shown(self) -> bool:
        """Whether ours can be found within the time of the look-up."""
        return self.echo != "never" and self.lag < LOOK_UP_SECONDS


def views(echo: str) -> Iterator[View]:
    """Everything together."""
    for page, lag, before, after in product((1, 2, 100), (0, 45, 100), (0, 3), (0, 3)):
        yield View(echo, page, lag, before, after)


def some_views(echo: str) -> Iterator[View]:
    """As much of it as there is time for, each time."""
    yield View(echo)
    yield View(echo, page=2, lag=45, before=3, after=3)


class Others:
    """Other senders of the same survey, each to a batch of its own."""

    def __init__(self, desk: Desk, http: httpx.AsyncClient) -> None:
        self._desk = desk
        self._caller = QualtricsCaller(desk.sandbox, http)
        self.batches: set[str] = set()

    async def send(self, number: int) -> None:
        """So many of them send."""
        await self._caller.log_in("qualtrics")
        for _ in range(number):
            batch = await self._caller.batch_with(f"other{len(self.batches)}@example.com")
            self.batches.add(batch)
            await self._caller.send(batch)
            self._desk.clock.advance(1)


@asynccontextmanager
async def looked_at(office: Office, view: View) -> AsyncIterator[tuple[Desk, Others]]:
    """A desk in front of a Qualtrics that shows this, with a ready exporter."""
    async with office.desk() as desk, httpx.AsyncClient(trust_env=False) as http:
        desk.account.batch_echo = view.echo  # type: ignore[assignment]
        desk.account.distributions_page_size = view.page
        desk.account.list_lag_seconds = view.lag
        desk.spec["schedule"] = {"frequency": "Daily"}
        others = Others(desk, http)
        await desk.ready()
        await others.send(view.before)
        if view.after:
            desk.clock.meanwhile(9, lambda: others.send(view.after))  # the first pause of the look-up
        yield desk, others


async def lost(office: Office, view: View, **order: Any) -> list[Found]:
    """One run whose send gets no reply."""
    happened = order.get("drop") == "after"
    async with looked_at(office, view) as (desk, others):
        desk.faults.add(SEND, **order)
        entry = await desk.run()
        assert entry
        ours = [sent for sent in desk.sent if sent.batch_id not in others.batches]
        found = oracle.judged(desk.sandbox.ledger, ours, entry, desk.returned)
        found += oracle.unwritten(ours, desk.cluster.written)
        found += await desk.leaks()
        wanted = "Succeeded" if happened and view.shown else "Unknown"
        if entry["result"] != wanted:
            found.append(Found(Finding.UNTRUE, f"{entry['result']} ({entry['reason']}), not {wanted}"))
        if entry["result"] == "Unknown":
            found += await untold(desk, entry)
        found += await not_on_time(desk)
        assert not desk.raised, desk.raised
        if found:
            print(f"--- {view}: {found}\n{entry}\n{desk.log}")
        return found


async def untold(desk: Desk, entry: dict[str, Any]) -> list[Found]:
    """What somebody who reads entry or Event would still have to guess."""
    notes = [event["note"] for event in await desk.user.events(desk.name) if event["reason"] == "DeliveryUnknown"]
    at = timestamp(datetime.fromisoformat(entry["sendTime"]))
    wanted = [desk.account.survey_id, entry["batchId"], at, "look at the survey's distributions", "request a run"]
    return [
        Found(Finding.SILENT, f"{place} does not say {word}")
        for place, text in (("the entry", entry["message"]), ("an Event", " ".join(notes)))
        for word in wanted
        if word not in text
    ]


async def not_on_time(desk: Desk) -> list[Found]:
    """Whether the next slot goes its way."""
    due = datetime.fromisoformat((await desk.status())["nextScheduleTime"])
    desk.clock.advance_to(due)
    status = await desk.until(lambda status: status["history"][0]["trigger"] == "Schedule")
    entry = status["history"][0]
    started = datetime.fromisoformat(entry.get("startTime", entry["completionTime"]))
    if entry["trigger"] == "Schedule" and entry["result"] == "Succeeded" and started - due < timedelta(minutes=1):
        return []
    return [Found(Finding.SILENT, f"the next slot, due {due}: {entry['result']} ({entry['reason']}) at {started}")]


@pytest.mark.parametrize("echo", ECHOES)
async def test_a_send_is_found_wherever_qualtrics_shows_it(office: Office, tally: Tally, echo: str) -> None:
    for view in some_views(echo):
        tally.add(MATRIX, f"batch shown: {echo}", str(view), await lost(office, view, drop="after"))


@pytest.mark.parametrize("echo", ECHOES)
async def test_nobody_elses_distribution_is_taken_for_one_that_never_was(
    office: Office, tally: Tally, echo: str
) -> None:
    view = View(echo, page=2, before=2, after=2)
    tally.add(MATRIX, f"batch shown: {echo}", f"not done, {view}", await lost(office, view, drop="before"))


@pytest.mark.long
@pytest.mark.parametrize("echo", ECHOES)
async def test_a_send_is_found_however_the_list_is_cut_and_whoever_else_is_in_it(
    office: Office, tally: Tally, echo: str
) -> None:
    for view in views(echo):
        for drop in ("after", "before"):
            found = await lost(office, view, drop=drop)
            tally.add(MATRIX, f"batch shown: {echo}", f"dropped {drop}, {view}", found)
