"""Everything that can go wrong with a call to a remote side, tried at every call.

Each scenario is one exporter at a desk: brought to Ready, asked for one run, and one thing goes wrong on the way. What
it has to come to stands in `remote_faults.py`; what must never be, whatever goes wrong, in `oracle.py`.
"""

import itertools
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, get_args

import pytest

from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Result
from tests.environment.build import ROOT
from tests.faults import broken, oracle
from tests.faults.desk import Desk, Desks, Office, condition
from tests.faults.oracle import Finding, Found
from tests.faults.remote_faults import (
    MOST_POSTS,
    OF_A_CHECK,
    OF_A_LOOK_UP,
    OF_A_RUN,
    OF_THE_FIGURES,
    SUCCEEDED,
    TROUBLES,
    UNKNOWN,
    WITH_AN_EXPORT,
    Ending,
    Strike,
    expected,
    page,
    strikes,
)
from tests.faults.tally import Tally, seed

RUNS, LOOK_UPS, CHECKS, FIGURES, PAIRS = (
    "one fault in a run",
    "one fault in a look-up",
    "one fault in a check",
    "one fault in the figures",
    "two faults in a run",
)
ONE_PAIR_VARIABLE = "QUALTRICS_EXPORTER_TEST_PAIR"
PAIRS_TRIED, PAIRS_AN_ITEM = 300, 50
SEND = "qualtrics.create_distribution"
TOKENS_ARE_OVER = 4000.0
"""Seconds after which both sides' tokens have ended."""


class Struck:
    """What was ordered for a scenario, to tell afterwards whether it happened."""

    def __init__(self, desk: Desk, strikes: tuple[Strike, ...]) -> None:
        self._desk = desk
        self._orders: list[Callable[[], bool]] = []
        for strike in strikes:
            self._orders.append(self._order(strike))

    def _order(self, strike: Strike) -> Callable[[], bool]:
        desk, operation, trouble = self._desk, strike.operation, strike.trouble
        if trouble.closed:
            desk.exit.close(operation, once=strike.once)
            return lambda: operation in desk.exit.refused
        if trouble.late:
            desk.exit.too_late(operation, drop=trouble.late == "unheard")
        desk.shows(**trouble.shown)
        for other, also in trouble.also.items():
            desk.faults.add(other, times=None, **also)
        order = trouble.order(desk.clock.now(), desk.canary.url)
        fault = desk.faults.add(operation, times=1 if strike.once else None, after=strike.after, **order)
        return lambda: fault.hits > 0

    def all_happened(self) -> bool:
        """Whether everything that was ordered went wrong: an attack that never struck proves nothing."""
        return all(happened() for happened in self._orders)


def ordered(desk: Desk, *strikes: Strike) -> Struck:
    """Let these things go wrong from now on."""
    if any(strike.operation.endswith(".token") for strike in strikes):
        desk.clock.advance(TOKENS_ARE_OVER)
    if any(strike.operation in OF_A_LOOK_UP for strike in strikes):
        desk.faults.add(SEND, drop="after")
    return Struck(desk, strikes)


async def told(desk: Desk, entry: dict[str, Any] | None, **how: Any) -> list[Found]:
    """What is wrong with a run that ended like this, whatever went wrong in it."""
    found = oracle.judged(desk.sandbox.ledger, desk.sent, entry, desk.returned, **how)
    found += oracle.unwritten(desk.sent, desk.cluster.written)
    found += await desk.leaks()
    if desk.canary.heard or desk.canary.heard_for_tokens:
        found.append(Found(Finding.LEAK, "a redirect was followed"))
    if desk.asked(SEND) > MOST_POSTS:
        found.append(Found(Finding.DOUBLE, f"Qualtrics was asked {desk.asked(SEND)} times to send"))
    if entry is not None:
        found += await _consistent(desk, entry)
    assert not desk.raised, desk.raised
    return found


async def _consistent(desk: Desk, entry: dict[str, Any]) -> list[Found]:
    """Whether entry, condition and Event tell the same, in words that exist."""
    result, reason = entry["result"], entry["reason"]
    found = []
    if result not in get_args(Result) or reason not in set(Reason):
        found.append(Found(Finding.UNTRUE, f"no user can look up {result} ({reason})"))
    if (result == "Unknown") != (reason == "DeliveryUnknown"):
        found.append(Found(Finding.UNTRUE, f"{result} does not go with {reason}"))
    last = await desk.condition("LastRunSucceeded")
    states = {"Succeeded": "True", "Failed": "False", "Unknown": "Unknown"}
    if result in states and (last.get("status"), last.get("reason")) != (states[result], reason):
        found.append(Found(Finding.UNTRUE, f"LastRunSucceeded is {last.get('status')} after {result} ({reason})"))
    began = datetime.fromisoformat(entry["startTime"])
    events = [e for e in await desk.user.events(desk.name) if datetime.fromisoformat(e["eventTime"]) >= began]
    if reason not in {event["reason"] for event in events}:
        found.append(Found(Finding.SILENT, f"no Event tells of {result} ({reason})"))
    return found


def differs(desk: Desk, entry: dict[str, Any] | None, wanted: Ending) -> list[Found]:
    """Where the end is another than the documented one."""
    if entry is None:
        return []  # that is another finding
    found, posts = [], desk.asked(SEND)
    if (entry["result"], entry["reason"]) != (wanted.result, wanted.reason):
        ended = f"{entry['result']} ({entry['reason']})"
        found.append(Found(Finding.UNTRUE, f"ended as {ended}, not as {wanted.result} ({wanted.reason})"))
    if posts != wanted.posts:
        kind = Finding.DOUBLE if posts > wanted.posts else Finding.UNTRUE
        found.append(Found(kind, f"Qualtrics was asked {posts} times to send, not {wanted.posts}"))
    return found


async def run_with(desks: Desks, strike: Strike, wanted: Ending) -> list[Found]:
    """One run with one thing going wrong."""
    # Where Qualtrics shows less, it shows less of the sends of earlier scenarios too.
    desk = await desks.ready(**needed(strike), fresh=bool(strike.trouble.shown))
    if strike.operation == "nexthink.execute":
        # After an earlier scenario, a run may begin with an export. After an edit it does not.
        await desk.user.patch(desk.name, spec={"description": str(strike)})
    struck = ordered(desk, strike)
    entry = await desk.run()
    assert struck.all_happened(), strike
    found = [*differs(desk, entry, wanted), *await told(desk, entry)]
    if found:
        print(f"--- {strike}: {found}\n{entry}\n{desk.log}")
    return found


def needed(*strikes: Strike) -> dict[str, Any]:
    """What a desk needs for these things to go wrong."""
    many = any(strike.operation in WITH_AN_EXPORT for strike in strikes)
    return {"people": 1000 if many else None}


# One thing goes wrong in a run


@pytest.mark.long
@pytest.mark.parametrize("operation", OF_A_RUN)
async def test_a_run_ends_as_documented_whatever_goes_wrong_once_or_for_ever(
    office: Office, tally: Tally, operation: str
) -> None:
    async with Desks(office) as desks:
        for strike in strikes(operation, OF_A_RUN[operation]):
            found = await run_with(desks, strike, expected(strike, OF_A_RUN[operation]))
            tally.add(RUNS, operation, str(strike), found)


@pytest.mark.long
@pytest.mark.parametrize("operation", OF_A_LOOK_UP)
async def test_a_send_is_found_unless_the_look_up_fails_for_ever(office: Office, tally: Tally, operation: str) -> None:
    async with Desks(office) as desks:
        for strike in strikes(operation, "read"):
            found = await run_with(desks, strike, SUCCEEDED if strike.once else UNKNOWN)
            tally.add(LOOK_UPS, operation, str(strike), found)


# One thing goes wrong in a check


async def check_with(office: Office, strike: Strike, wanted: Ending) -> list[Found]:
    """The first check of an exporter with one thing going wrong; and then all is well again."""
    async with office.desk(**needed(strike)) as desk:
        struck = Struck(desk, (strike,))
        ready = await desk.apply()
        assert struck.all_happened(), strike
        found = []
        shown, right = (ready["status"], ready["reason"]), ("False", wanted.reason)
        if wanted.result == "Succeeded":
            right = ("True", "Checked")
        if shown != right:
            found.append(Found(Finding.UNTRUE, f"Ready is {shown}, not {right}: {ready['message']}"))
        if ready["reason"] not in {event["reason"] for event in await desk.user.events(desk.name)}:
            found.append(Found(Finding.SILENT, f"no Event tells of {shown}"))
        await desk.mended()
        status = await desk.until(lambda status: condition(status, "Ready")["status"] == "True")
        if condition(status, "Ready")["status"] != "True":
            found.append(Found(Finding.SILENT, "it stays unready although all is well again"))
        found += await told(desk, None, may_send=False, told=False)
        if found:
            print(f"--- {strike}: {found}\n{desk.log}")
        return found


@pytest.mark.long
@pytest.mark.parametrize("operation", OF_A_CHECK)
async def test_a_check_says_what_goes_wrong_and_comes_again_until_all_is_well(
    office: Office, tally: Tally, operation: str
) -> None:
    for strike in strikes(operation, OF_A_CHECK[operation]):
        found = await check_with(office, strike, expected(strike, OF_A_CHECK[operation]))
        tally.add(CHECKS, operation, str(strike), found)


# One thing goes wrong with the delivery figures


async def figures_with(desks: Desks, strike: Strike, wanted: Ending) -> list[Found]:
    """The delivery figures of a run are read with one thing going wrong; and then all is well again."""
    desk = await desks.ready(**needed(strike))
    desk.account.suppression_hours = 0  # the same people are asked each time
    before = await desk.run()
    assert before
    assert before["result"] == "Succeeded"
    struck = Struck(desk, (strike,))
    desk.clock.advance(130)
    await desk.tend()
    assert struck.all_happened(), strike
    entry = (await desk.status())["history"][0]
    found = [*differs(desk, entry, SUCCEEDED), *await told(desk, entry)]
    figures = entry.get("delivery", {})
    gone = wanted.reason == GONE
    if ("sent" in figures) is not (wanted.result == "Succeeded") or ("stoppedReason" in figures) is not gone:
        found.append(Found(Finding.UNTRUE, f"the figures are {figures}"))
    await desk.mended()
    entry = (await desk.until(lambda status: "delivery" in status["history"][0]))["history"][0]
    if ("sent" in entry.get("delivery", {})) is gone:
        found.append(Found(Finding.SILENT, f"the figures are {figures} although all is well again"))
    if found:
        print(f"--- {strike}: {found}\n{entry}\n{desk.log}")
    return found


GONE = "gone"


@pytest.mark.long
@pytest.mark.parametrize("operation", OF_THE_FIGURES)
async def test_figures_that_cannot_be_read_change_no_entry_and_are_read_later(
    office: Office, tally: Tally, operation: str
) -> None:
    async with Desks(office) as desks:
        for strike in strikes(operation, "read"):
            wanted = expected(strike, "read")
            if strike.trouble.name == "404":
                wanted = Ending("Failed", GONE)  # what Qualtrics does not know any more is not asked for again
            tally.add(FIGURES, operation, str(strike), await figures_with(desks, strike, wanted))


# A person acts while a send waits


async def put_off_while(desk: Desk, **change: Any) -> dict[str, Any] | None:
    """A run whose send is put off, while its user changes the spec; its entry."""
    desk.faults.add(SEND, status=429)
    desk.clock.meanwhile(30, lambda: desk.user.patch(desk.name, spec=change))
    return await desk.run()


async def suspended_meanwhile(desks: Desks) -> list[Found]:
    """Suspending stops a send that waits."""
    desk = await desks.ready()
    entry = await put_off_while(desk, suspend=True)
    return [*differs(desk, entry, Ending("Skipped", "Suspended", 1)), *await told(desk, entry, may_send=False)]


async def edited_meanwhile(desks: Desks) -> list[Found]:
    """A send that waits is made anew by what the spec says then."""
    desk = await desks.ready()
    entry = await put_off_while(desk, qualtrics={"subject": EDITED})
    found = [*differs(desk, entry, Ending("Succeeded", "Succeeded", 2)), *await told(desk, entry)]
    if [sent.subject for sent in desk.sent] != [EDITED]:
        found.append(Found(Finding.WRONG_MAIL, "it was sent by the spec of before"))
    return found


EDITED = "What is Teams like for you?"
FRESH_READ = "the spec while a send waits"


@pytest.mark.parametrize("attack", [suspended_meanwhile, edited_meanwhile])
async def test_a_send_that_was_put_off_follows_what_the_spec_says_by_then(
    office: Office, tally: Tally, attack: Callable[[Desks], Awaitable[list[Found]]]
) -> None:
    async with Desks(office) as desks:
        tally.add(FRESH_READ, SEND, attack.__name__, await attack(desks))


# Somebody else writes to the object


async def test_a_conflict_at_every_write_of_the_journal_is_no_reason_to_stop(office: Office, tally: Tally) -> None:
    async with office.desk() as desk:
        await desk.ready()
        writes = itertools.count()

        async def labelled() -> None:
            number = next(writes)
            if number % 2 == 0:  # each write is tried once in vain
                await desk.user.patch(desk.name, metadata={"labels": {"looked-at": str(number)}})

        desk.cluster.before_write = labelled
        entry = await desk.run()
        desk.cluster.before_write = None
        found = [*differs(desk, entry, SUCCEEDED), *await told(desk, entry)]
        steps = [one.run["step"] for one in desk.cluster.written if one.run]
        assert steps == ["Claimed", "Importing", "Sending", "Sent"]
        assert next(writes) == 2 * (len(steps) + 1), "and once when the run is over"
        tally.add("a label before each write", "the journal", "once each", found)


# Two things go wrong


def pair(number: int) -> tuple[Strike, Strike]:
    """Two things that go wrong in one run, by the seed and this number alone."""
    chance = random.Random(f"{seed()} {number}")

    def one() -> Strike:
        operation = chance.choice([*OF_A_RUN, *OF_A_LOOK_UP])
        strike = chance.choice(strikes(operation, OF_A_RUN.get(operation, "read")))
        return replace(strike, after=0 if strike.trouble.closed else chance.choice([0, 0, 1, 2]))

    return one(), one()


def chosen_pairs() -> list[range]:
    """The numbers of all pairs, some for each item; or the one that somebody wants to see again."""
    if one := os.environ.get(ONE_PAIR_VARIABLE):
        return [range(int(one), int(one) + 1)]
    return [range(start, start + PAIRS_AN_ITEM) for start in range(0, PAIRS_TRIED, PAIRS_AN_ITEM)]


@pytest.mark.long
@pytest.mark.parametrize("numbers", chosen_pairs(), ids=lambda numbers: f"{numbers.start} to {numbers.stop - 1}")
async def test_two_things_that_go_wrong_together_break_no_promise(office: Office, tally: Tally, numbers: range) -> None:
    for number in numbers:
        both = pair(number)
        async with office.desk(**needed(*both)) as desk:
            await desk.ready()
            struck = ordered(desk, *both)
            found = await told(desk, await desk.run())
            point = f"{ONE_PAIR_VARIABLE}={number}: {' and '.join(map(str, both))}"
            subject = "both struck" if struck.all_happened() else "one ended it, or was never reached"
            tally.add(PAIRS, subject, point, found)


# The attacks are attacks


async def lost_reply(desks: Desks) -> list[Found]:
    return await run_with(desks, Strike(SEND, TROUBLES["dropped after"], once=True), SUCCEEDED)


async def late_send(desks: Desks) -> list[Found]:
    return await run_with(desks, Strike(SEND, TROUBLES["late, then done"], once=True), SUCCEEDED)


@pytest.mark.parametrize("build", broken.BUILDS)
async def test_a_build_that_is_broken_on_purpose_is_caught(office: Office, tally: Tally, build: str) -> None:
    found: list[Found] = []
    async with Desks(office) as desks:
        for attack in (lost_reply, late_send, suspended_meanwhile):
            with broken.build(build):
                here = await attack(desks)
            tally.add(RUNS, SEND, attack.__name__, here, broken=build)
            found += here
    assert found


# Some of all this, each time


def some(operation: str) -> list[Strike]:
    """All that can happen to a send, most of what can happen to an import, and a little at the other calls."""
    every = strikes(operation, OF_A_RUN.get(operation, "read"))
    if operation in (SEND, IMPORT):
        passed_over = ALIKE_FOR_AN_IMPORT if operation == IMPORT else set()
        every = [strike for strike in every if strike.once or strike.trouble.name in WITHOUT_END]
        return [strike for strike in every if strike.trouble.name not in passed_over]
    once = [strike for strike in every if strike.once and not strike.trouble.late]
    return [once[7 * [*OF_A_RUN, *OF_A_LOOK_UP].index(operation) % len(once)]]


IMPORT = "qualtrics.import_contacts"
WITHOUT_END = {"429", "not reached"}
ALIKE_FOR_AN_IMPORT = {"403", "409", "429, in seconds", "429, at a date", "500", "500, done", "empty", "late, done"}


@pytest.mark.parametrize("operation", [*OF_A_RUN, *OF_A_LOOK_UP])
async def test_a_run_ends_as_documented_whatever_goes_wrong(office: Office, tally: Tally, operation: str) -> None:
    async with Desks(office) as desks:
        for strike in some(operation):
            kind = OF_A_RUN.get(operation)
            found = await run_with(desks, strike, expected(strike, kind) if kind else SUCCEEDED)
            tally.add(RUNS if kind else LOOK_UPS, operation, str(strike), found)


def test_users_are_told_the_same() -> None:
    assert page() in (ROOT / "docs" / "reliability.md").read_text(), "put remote_faults.page() into docs/reliability.md"
