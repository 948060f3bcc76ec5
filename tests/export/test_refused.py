"""A send that was refused, and a process that ends in the wait after it: the next one looks for it and asks again."""

import asyncio
import contextlib
import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.export.look_up import LIST_LAG
from qualtrics_exporter.qualtrics.client import QualtricsClient
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


LAG = LIST_LAG.total_seconds()


def posts(exporter: Exporter) -> list[datetime]:
    """When Qualtrics was asked to send."""
    return [call.at for call in exporter.sandbox.ledger.of("qualtrics.create_distribution")]


async def test_the_next_process_waits_until_the_list_can_be_believed_looks_and_asks_again(exporter: Exporter) -> None:
    left = await refused(exporter)
    assert left.refused_until
    assert left.send_time
    assert left.refused_reason == "RateLimited"
    assert left.refused_until - left.send_time >= LIST_LAG
    exporter.clock.advance(50)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert exporter.mailed() == SIX
    first, second = posts(exporter)
    [looked] = [call.at for call in exporter.sandbox.ledger.of("qualtrics.list_distributions")]
    assert timedelta(seconds=50 + LAG) <= looked - first < timedelta(seconds=60 + LAG)
    assert looked <= second < looked + timedelta(seconds=5)
    assert entry.batch_id == left.batch_id
    assert entry.send_time
    assert entry.send_time >= left.send_time + LIST_LAG


@pytest.mark.parametrize("hours", [-72, -1, 1, 72])
async def test_a_clock_that_was_set_while_nobody_was_there_shortens_no_wait(exporter: Exporter, hours: int) -> None:
    """The next process knows the refusal from the journal only, with the times of a clock that may have been set."""
    await refused(exporter)
    exporter.clock.set_wall(START + timedelta(hours=hours))
    began = exporter.clock.monotonic()
    assert (await exporter.run()).result == "Succeeded"

    assert LAG <= exporter.clock.monotonic() - began < LAG + 1800 + 60
    assert len(posts(exporter)) == 2


@pytest.mark.parametrize("hours", [-20, 20])
async def test_a_clock_that_was_wrong_at_the_send_hides_no_distribution(exporter: Exporter, hours: int) -> None:
    """It is looked for around the present time too, whatever the date is that Qualtrics compares."""
    exporter.clock.set_wall(START + timedelta(hours=hours))
    await refused(exporter, status=429, apply_effect=True)
    exporter.clock.set_wall(START)
    [sent] = exporter.sandbox.ledger.distributions
    sent.send_date = sent.created = START
    assert (await exporter.run()).distribution_id == sent.id
    assert len(posts(exporter)) == 1


async def test_a_refusal_without_a_doubt_is_waited_for_by_the_journal(exporter: Exporter) -> None:
    left = await unreached(exporter)
    assert left.refused_reason == "RemoteUnavailable"
    began = exporter.clock.monotonic()
    assert (await exporter.run()).result == "Succeeded"

    assert 50 < exporter.clock.monotonic() - began < 70
    assert len(posts(exporter)) == 1


async def test_nothing_is_sent_to_a_batch_that_the_journal_has_lost(exporter: Exporter) -> None:
    await unreached(exporter)
    kept = exporter.path.read_text()
    lost = re.sub(r'"batchId": *"[^"]*",?', "", kept)
    assert lost != kept
    exporter.path.write_text(lost)
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "StatusNotUnderstood")
    assert posts(exporter) == []


async def unreached(exporter: Exporter) -> ActiveRun:
    """A run whose process was killed when no connection had opened for its send; what it left."""

    class Closed(CutJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            await super().write_sending(run)
            await exporter.sandbox.stop()

    with pytest.raises(PowerCut):
        await exporter.ended(Closed(exporter.path))
    await exporter.sandbox.start()
    left = exporter.left()
    assert left
    return left


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

    monkeypatch.setattr(QualtricsClient, "acquire_send", broken)
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
            await exporter.clients.qualtrics.acquire_send()

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
    for name in ("acquire_send", "ensure_token", "send"):
        real = getattr(QualtricsClient, name)

        async def noted(self: QualtricsClient, *given: Any, name: str = name, real: Any = real) -> Any:
            order.append(name)
            return await real(self, *given)

        monkeypatch.setattr(QualtricsClient, name, noted)

    class Ordered(WatchedJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            order.append("written")
            await super().write_sending(run)

    ended: Ended = await exporter.ended(Ordered(exporter.path))

    assert ended.entry.result == "Succeeded"
    assert order == ["acquire_send", "ensure_token", "written", "send"]


@pytest.mark.parametrize(
    ("reason", "certain"),
    [("RemoteUnavailable", True), ("InternalError", True), ("RateLimited", False), ("Newer", False), (None, False)],
)
def test_what_a_journal_tells_of_a_refusal_is_certain_only_by_its_reason(reason: str | None, certain: bool) -> None:
    """Without a reason: by an earlier version, which took every refusal for certain."""
    run = ActiveRun(id="run", trigger="Schedule", start_time=START, step="Sending")
    assert not run.before_send
    assert run.model_copy(update={"refused_until": START, "refused_reason": reason}).before_send is certain


# Whether a refused send took place cannot be seen


async def test_without_a_complete_look_it_is_not_asked_for_again(exporter: Exporter) -> None:
    exporter.fault("create_distribution", status=429, apply_effect=True)
    exporter.fault("list_distributions", status=503, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Unknown", "DeliveryUnknown")
    assert "could not be read in full" in entry.message
    assert len(posts(exporter)) == 1
    assert (entry.completion_time - START).total_seconds() < LAG + 660


async def test_a_look_that_fails_is_repeated_before_anything_is_concluded(exporter: Exporter) -> None:
    exporter.fault("create_distribution", status=429, apply_effect=True)
    exporter.fault("list_distributions", status=503, times=9)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert len(posts(exporter)) == 1


@pytest.mark.parametrize("lag", [5, 300, 590])
async def test_a_list_that_lags_hides_no_send_that_was_refused(exporter: Exporter, lag: float) -> None:
    exporter.account.list_lag_seconds = lag
    exporter.fault("create_distribution", status=429, apply_effect=True)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert len(posts(exporter)) == 1
    assert exporter.mailed() == SIX


@pytest.mark.parametrize("happened", [True, False])
async def test_a_list_that_shows_no_batch_is_believed_only_where_it_is_empty(
    exporter: Exporter, happened: bool
) -> None:
    exporter.account.batch_echo = "never"
    exporter.fault("create_distribution", status=429, apply_effect=happened)
    entry = await exporter.run()

    assert entry.result == ("Unknown" if happened else "Succeeded")
    assert len(posts(exporter)) == (1 if happened else 2)


async def test_a_distribution_that_cannot_be_read_is_not_concluded_to_be_another_one(exporter: Exporter) -> None:
    exporter.fault("create_distribution", status=429, apply_effect=True)
    exporter.fault("read_distribution", status=404, times=None)
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert len(posts(exporter)) == 1


async def test_each_refusal_is_a_doubt_of_its_own(exporter: Exporter) -> None:
    """That the first send did not take place says nothing of the second one."""
    exporter.fault("create_distribution", status=429)
    exporter.fault("create_distribution", status=429, apply_effect=True)
    exporter.fault("list_distributions", status=503, times=None, after=1)
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert len(posts(exporter)) == 2


async def test_a_third_refusal_is_looked_up_like_the_others(exporter: Exporter) -> None:
    exporter.fault("create_distribution", status=429, times=2)
    exporter.fault("create_distribution", status=429, apply_effect=True)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert len(posts(exporter)) == 3
    assert exporter.mailed() == SIX


async def test_a_third_refusal_that_another_process_met_has_failed(exporter: Exporter) -> None:
    for _ in range(3):
        await refused(exporter)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RateLimited")
    assert "Nobody was mailed" in entry.message
    assert len(posts(exporter)) == 3


async def test_what_one_process_has_seen_is_no_news_to_the_next(exporter: Exporter, clock: StillClock) -> None:
    """It looked, saw nothing, and ended before it asked again: the next one waits and looks anew."""
    exporter.fault("create_distribution", **REFUSED)

    class Cut(WatchedJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            if run.send_attempts == 2:
                raise PowerCut
            await super().write_sending(run)

    with pytest.raises(PowerCut):
        await exporter.ended(Cut(exporter.path))
    assert exporter.count("list_distributions") == 1
    left = exporter.left()
    assert left
    assert not left.before_send
    began = clock.monotonic()
    assert (await exporter.run()).result == "Succeeded"
    assert clock.monotonic() - began >= LAG
    assert exporter.count("list_distributions") == 2


async def test_a_refusal_that_had_an_effect_then_a_crash_then_no_connection_sends_nothing_more(
    exporter: Exporter,
) -> None:
    await refused(exporter, status=429, apply_effect=True)
    await exporter.sandbox.stop()
    entry = await exporter.run()
    await exporter.sandbox.start()

    assert entry.result == "Unknown"
    assert len(posts(exporter)) == 1


async def test_no_connection_after_a_refusal_that_was_seen_to_be_one_is_a_failure(exporter: Exporter) -> None:
    """429, a complete look, and then Qualtrics is away: it is certain that nobody was mailed."""
    exporter.fault("create_distribution", status=429)

    class Closed(WatchedJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            await super().write_sending(run)
            if run.send_attempts == 2:
                await exporter.sandbox.stop()

    entry = (await exporter.ended(Closed(exporter.path))).entry
    await exporter.sandbox.start()

    assert (entry.result, entry.reason) == ("Failed", "RemoteUnavailable")
    assert len(posts(exporter)) == 1
    assert not exporter.mailed()
