"""A send that was refused for certain, and a process that ends in the wait after it: the next one asks again."""

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import Any

import pytest

from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.qualtrics.client import Qualtrics
from qualtrics_exporter.resource.status import ActiveRun
from tests.environment.clock import SteeredClock
from tests.export.conftest import START, Exporter
from tests.export.test_recovery import (
    SENDING,
    SIX,
    PowerCut,
    StillClock,
    WatchedJournal,
    cancelled,
    cut_at,
    started,
)

REFUSED = {"status": 429, "headers": {"Retry-After": "200"}}


@pytest.fixture
def clock() -> SteeredClock:
    return StillClock(start=START)


def refusal(run: ActiveRun) -> bool:
    return run.refused_until is not None


class CutJournal(WatchedJournal):
    """Everything ends with the write of the refusal: just before it or just after."""

    moment = "after"

    async def write(self, run: ActiveRun) -> None:
        if refusal(run) and self.moment == "before":
            raise PowerCut
        await super().write(run)
        if refusal(run):
            raise PowerCut


async def refused(exporter: Exporter, moment: str = "after", **order: Any) -> ActiveRun:
    """A run whose process was killed when its send had just been refused; what it left."""
    exporter.fault("create_distribution", **(order or REFUSED))
    journal = CutJournal(exporter.path)
    journal.moment = moment
    with pytest.raises(PowerCut):
        await exporter.ended(journal)
    left = exporter.left()
    assert left
    assert left.step == "Sending"
    return left


async def test_the_next_process_waits_as_told_and_asks_again(exporter: Exporter) -> None:
    left = await refused(exporter)
    assert left.refused_until
    exporter.clock.advance(50)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert exporter.mailed() == SIX
    assert exporter.count("create_distribution") == 2
    calls = exporter.sandbox.ledger.of("qualtrics.create_distribution")
    assert timedelta(seconds=200) <= calls[1].at - calls[0].at < timedelta(seconds=205)
    assert entry.batch_id == left.batch_id
    assert entry.send_time
    assert left.send_time
    assert entry.send_time >= left.send_time + timedelta(seconds=200)


async def test_the_next_process_does_not_wait_for_what_is_over(exporter: Exporter) -> None:
    await refused(exporter)
    exporter.clock.advance(600)
    began = exporter.clock.now()
    await exporter.run()

    assert exporter.clock.now() - began < timedelta(seconds=5)
    assert exporter.mailed() == SIX


async def test_a_clock_that_was_set_back_makes_nobody_wait_for_long(exporter: Exporter) -> None:
    await refused(exporter)
    exporter.clock.set_wall(START - timedelta(days=3))
    began = exporter.clock.monotonic()
    await exporter.run()

    assert exporter.clock.monotonic() - began < 310


async def test_the_next_process_looks_before_it_asks_again(exporter: Exporter) -> None:
    await refused(exporter, status=429, apply_effect=True)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert entry.distribution_id == exporter.sandbox.ledger.distributions[0].id
    assert exporter.count("create_distribution") == 1
    assert exporter.mailed() == SIX


async def test_a_refusal_that_was_not_written_down_is_looked_up_and_not_repeated(exporter: Exporter) -> None:
    left = await refused(exporter, "before")
    assert left.refused_until is None
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert exporter.count("create_distribution") == 1


async def test_the_word_of_a_refusal_is_gone_before_it_is_asked_for_again(exporter: Exporter) -> None:
    await refused(exporter)
    exporter.fault("create_distribution", drop="after")

    class Cut(WatchedJournal):
        async def write(self, run: ActiveRun) -> None:
            await super().write(run)
            if run.step == "Sending":
                raise PowerCut

    with pytest.raises(PowerCut):
        await exporter.ended(Cut(exporter.path))
    left = exporter.left()
    assert left
    assert (left.step, left.refused_until) == ("Sending", None)
    assert (await exporter.run()).result == "Unknown"
    assert exporter.count("create_distribution") == 1


async def test_three_times_are_three_however_many_processes_ask(exporter: Exporter) -> None:
    for times in (1, 2):
        left = await refused(exporter)
        assert left.send_attempts == times
    exporter.fault("create_distribution", status=429, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RateLimited")
    assert exporter.count("create_distribution") == 3
    assert not exporter.mailed()


async def test_a_run_that_was_interrupted_before_may_still_ask_three_times(exporter: Exporter) -> None:
    for _ in range(4):
        with pytest.raises(PowerCut):
            await exporter.ended(WatchedJournal(exporter.path, before=cut_at(SENDING)))
    exporter.fault("create_distribution", status=429, times=2)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.count("create_distribution") == 3


async def test_a_delivering_test_is_dropped(exporter: Exporter) -> None:
    exporter.fault("create_distribution", **REFUSED)
    with pytest.raises(PowerCut):
        await exporter.ended(CutJournal(exporter.path), trigger="Test")
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Failed", "Interrupted")
    assert exporter.count("create_distribution") == 1
    assert not exporter.mailed()


@pytest.mark.parametrize("error", [SuspendedMeanwhile(), SpecChanged(), Abandoned()])
async def test_what_a_user_did_meanwhile_counts(exporter: Exporter, error: Exception) -> None:
    await refused(exporter)

    class Edited(WatchedJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            raise error

    if isinstance(error, SuspendedMeanwhile):
        entry = (await exporter.ended(Edited(exporter.path))).entry
        assert (entry.result, entry.reason) == ("Skipped", "Suspended")
    else:
        with pytest.raises(type(error)):
            await exporter.ended(Edited(exporter.path))
    assert exporter.count("create_distribution") == 1
    assert not exporter.mailed()


async def test_a_dry_run_takes_nothing_up_that_sends(exporter: Exporter) -> None:
    await refused(exporter)
    exporter.change("spec", dry_run=True)
    entry = await exporter.run()

    assert entry.result == "DryRun"
    assert exporter.count("create_distribution") == 1


async def test_an_error_before_it_is_asked_again_is_a_failure(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await refused(exporter)

    async def broken(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Qualtrics, "turn_to_send", broken)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "InternalError")
    assert "Nobody was mailed" in entry.message


async def test_a_journal_that_cannot_take_the_refusal_changes_nothing_in_this_process(exporter: Exporter) -> None:
    exporter.fault("create_distribution", **REFUSED)

    class Full(WatchedJournal):
        async def write(self, run: ActiveRun) -> None:
            if refusal(run):
                raise OSError
            await super().write(run)

    entry = (await exporter.ended(Full(exporter.path))).entry

    assert entry.result == "Succeeded"
    assert exporter.count("create_distribution") == 2
    assert exporter.mailed() == SIX


async def test_who_loses_the_run_when_it_is_refused_asks_no_more(exporter: Exporter) -> None:
    exporter.fault("create_distribution", **REFUSED)

    class Lost(WatchedJournal):
        async def write(self, run: ActiveRun) -> None:
            if refusal(run):
                raise Abandoned
            await super().write(run)

    with pytest.raises(Abandoned):
        await exporter.ended(Lost(exporter.path))
    assert (await exporter.run()).result == "Unknown"
    assert exporter.count("create_distribution") == 1


@pytest.mark.parametrize("hold", [True, False])
async def test_a_cancellation_waits_until_the_refusal_is_written_down(
    exporter: Exporter, clock: StillClock, hold: bool
) -> None:
    clock.still = lambda: exporter.count("create_distribution") > 0
    exporter.fault("create_distribution", **REFUSED, **({"hold": "before"} if hold else {}))
    async with started(exporter) as task:
        if hold:
            await exporter.faults.reached("qualtrics.create_distribution")
            task.cancel()
            await asyncio.sleep(0)
            exporter.faults.release()
        else:
            await clock.asleep()
            task.cancel()
        assert await cancelled(task)
    left = exporter.left()
    assert left
    assert left.refused_until

    clock.still = lambda: False
    assert (await exporter.run()).result == "Succeeded"
    assert exporter.mailed() == SIX


async def test_a_run_that_ends_while_it_waits_for_its_turn_has_not_said_that_it_sends(
    exporter: Exporter, clock: StillClock
) -> None:
    async def all_turns() -> None:
        while True:
            await exporter.sides.qualtrics.turn_to_send()

    exporter.fault("import_status", hold="before")
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.import_status")
        clock.still = lambda: True
        crowd = asyncio.create_task(all_turns())
        await clock.asleep()
        crowd.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await crowd
        exporter.faults.release()
        await clock.asleep()
        task.cancel()
        assert await cancelled(task)
    left = exporter.left()
    assert left
    assert left.step == "Importing"

    clock.still = lambda: False
    assert (await exporter.run()).result == "Succeeded"
    assert exporter.mailed() == SIX


async def test_a_token_is_fresh_after_the_turn_not_before(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for name in ("turn_to_send", "ensure_token", "send"):
        real = getattr(Qualtrics, name)

        async def noted(self: Qualtrics, *given: Any, name: str = name, real: Any = real) -> Any:
            order.append(name)
            return await real(self, *given)

        monkeypatch.setattr(Qualtrics, name, noted)

    class Ordered(WatchedJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            order.append("written")
            await super().write_sending(run)

    ended: Ended = await exporter.ended(Ordered(exporter.path))

    assert ended.entry.result == "Succeeded"
    assert order == ["turn_to_send", "ensure_token", "written", "send"]


def test_a_journal_of_an_earlier_version_tells_of_no_refusal() -> None:
    start = datetime.fromisoformat("2026-01-05T10:00:00+00:00")
    old = ActiveRun(id="run", trigger="Schedule", start_time=start, step="Sending")
    assert not old.before_send
