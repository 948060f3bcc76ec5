"""A process ends in the wait after a refused send. The next process looks up the send before it repeats it."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest

from qualtrics_exporter.export.journal import Abandoned, Ended, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.export.look_up import LIST_LAG
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.resource.status import ActiveRun
from tests.export.conftest import START, Exporter, PausableClock
from tests.export.interruptions import (
    ONE_MAIL_EACH,
    RATE_LIMITED,
    SENDING,
    Crash,
    CrashAtRefusal,
    QualtricsDownAtSend,
    RecordingJournal,
    RejectingJournal,
    crash_after_refused_send,
    crash_at,
    exhaust_send_limit,
    records_refusal,
    send_requests,
    started,
    was_cancelled,
)

LAG = LIST_LAG.total_seconds()


class DownAndCrash(CrashAtRefusal, QualtricsDownAtSend):
    """The send finds no connection, and the process crashes after the write of this failure."""


async def crash_after_failed_connection(exporter: Exporter) -> ActiveRun:
    """Crash after a send that found no connection. Return the active run."""
    with pytest.raises(Crash):
        await exporter.execute(DownAndCrash(exporter))
    await exporter.sandbox.start()
    run = exporter.active_run()
    assert run
    return run


async def test_next_process_waits_for_the_list_then_looks_up_and_repeats_the_send(exporter: Exporter) -> None:
    run = await crash_after_refused_send(exporter)
    assert run.refused_until
    assert run.send_time
    assert run.refused_reason == "RateLimited"
    assert run.refused_until - run.send_time >= LIST_LAG
    exporter.clock.advance(50)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert exporter.mailed() == ONE_MAIL_EACH
    first, second = send_requests(exporter)
    [look_up] = [call.at for call in exporter.sandbox.recorder.of("qualtrics.list_distributions")]
    assert timedelta(seconds=50 + LAG) <= look_up - first < timedelta(seconds=60 + LAG)
    assert look_up <= second < look_up + timedelta(seconds=5)
    assert entry.batch_id == run.batch_id
    assert entry.send_time
    assert entry.send_time >= run.send_time + LIST_LAG


@pytest.mark.parametrize("hours", [-72, -1, 1, 72])
async def test_clock_change_between_two_processes_does_not_shorten_the_wait(exporter: Exporter, hours: int) -> None:
    """The next process knows the time of the refusal only from the journal, and the clock may have been set since."""
    await crash_after_refused_send(exporter)
    exporter.clock.set_wall(START + timedelta(hours=hours))
    began = exporter.clock.monotonic()
    assert (await exporter.run()).result == "Succeeded"

    assert LAG <= exporter.clock.monotonic() - began < LAG + 1800 + 60
    assert len(send_requests(exporter)) == 2


@pytest.mark.parametrize("hours", [-20, 20])
async def test_look_up_finds_a_distribution_that_was_sent_while_the_clock_was_wrong(
    exporter: Exporter, hours: int
) -> None:
    """The look-up also covers the present time, because Qualtrics may compare the date of its own clock."""
    exporter.clock.set_wall(START + timedelta(hours=hours))
    await crash_after_refused_send(exporter, status=429, apply_effect=True)
    exporter.clock.set_wall(START)
    [sent] = exporter.sandbox.recorder.distributions
    sent.send_date = sent.created = START
    assert (await exporter.run()).distribution_id == sent.id
    assert len(send_requests(exporter)) == 1


async def test_send_that_had_no_connection_is_repeated_after_the_wait_in_the_journal(exporter: Exporter) -> None:
    run = await crash_after_failed_connection(exporter)
    assert run.refused_reason == "RemoteUnavailable"
    began = exporter.clock.monotonic()
    assert (await exporter.run()).result == "Succeeded"

    assert 50 < exporter.clock.monotonic() - began < 70
    assert len(send_requests(exporter)) == 1


async def test_run_without_its_batch_in_the_journal_fails_and_sends_nothing(exporter: Exporter) -> None:
    await crash_after_failed_connection(exporter)
    journal = exporter.path.read_text()
    damaged = re.sub(r'"batchId": *"[^"]*",?', "", journal)
    assert damaged != journal
    exporter.path.write_text(damaged)
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "StatusNotUnderstood")
    assert send_requests(exporter) == []


async def test_next_process_finds_a_refused_send_that_took_effect(exporter: Exporter) -> None:
    await crash_after_refused_send(exporter, status=429, apply_effect=True)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert entry.distribution_id == exporter.sandbox.recorder.distributions[0].id
    assert exporter.count_calls("create_distribution") == 1
    assert exporter.mailed() == ONE_MAIL_EACH


async def test_send_whose_refusal_was_not_recorded_is_looked_up_and_not_repeated(exporter: Exporter) -> None:
    run = await crash_after_refused_send(exporter, "before")
    assert run.refused_until is None
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert exporter.count_calls("create_distribution") == 1


async def test_journal_drops_the_refusal_before_the_send_is_repeated(exporter: Exporter) -> None:
    await crash_after_refused_send(exporter)
    exporter.add_fault("create_distribution", drop="after")

    class CrashAtSecondSend(RecordingJournal):
        async def write(self, run: ActiveRun) -> None:
            await super().write(run)
            if run.step == "Sending":
                raise Crash

    with pytest.raises(Crash):
        await exporter.execute(CrashAtSecondSend(exporter.path))
    run = exporter.active_run()
    assert run
    assert (run.step, run.refused_until) == ("Sending", None)
    assert (await exporter.run()).result == "Unknown"
    assert exporter.count_calls("create_distribution") == 1


async def test_run_fails_after_three_refused_sends_of_several_processes(exporter: Exporter) -> None:
    for times in (1, 2):
        run = await crash_after_refused_send(exporter)
        assert run.send_attempts == times
    exporter.add_fault("create_distribution", status=429, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RateLimited")
    assert exporter.count_calls("create_distribution") == 3
    assert not exporter.mailed()


async def test_interruptions_before_the_send_do_not_reduce_the_number_of_sends(exporter: Exporter) -> None:
    for _ in range(4):
        with pytest.raises(Crash):
            await exporter.execute(RecordingJournal(exporter.path, before=crash_at(SENDING)))
    exporter.add_fault("create_distribution", status=429, times=2)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.count_calls("create_distribution") == 3


async def test_delivering_test_is_not_resumed_after_a_refused_send(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", **RATE_LIMITED)
    with pytest.raises(Crash):
        await exporter.execute(CrashAtRefusal(exporter.path), trigger="Test")
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Failed", "Interrupted")
    assert exporter.count_calls("create_distribution") == 1
    assert not exporter.mailed()


@pytest.mark.parametrize("error", [SuspendedMeanwhile(), SpecChanged(), Abandoned()])
async def test_refused_send_is_not_repeated_after_a_suspension_a_spec_change_or_a_takeover(
    exporter: Exporter, error: Exception
) -> None:
    await crash_after_refused_send(exporter)

    if isinstance(error, SuspendedMeanwhile):
        entry = (await exporter.execute(RejectingJournal(exporter.path, error))).entry
        assert (entry.result, entry.reason) == ("Skipped", "Suspended")
    else:
        with pytest.raises(type(error)):
            await exporter.execute(RejectingJournal(exporter.path, error))
    assert exporter.count_calls("create_distribution") == 1
    assert not exporter.mailed()


async def test_refused_send_is_not_repeated_if_the_spec_became_a_dry_run(exporter: Exporter) -> None:
    await crash_after_refused_send(exporter)
    exporter.change_spec("spec", dry_run=True)
    entry = await exporter.run()

    assert entry.result == "DryRun"
    assert exporter.count_calls("create_distribution") == 1


async def test_unexpected_error_before_the_repeated_send_fails_the_run(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crash_after_refused_send(exporter)

    async def broken(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(QualtricsClient, "acquire_send", broken)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "InternalError")
    assert "Nobody was mailed" in entry.message


async def test_send_is_repeated_although_the_refusal_could_not_be_written(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", **RATE_LIMITED)

    class FailingAtRefusal(RecordingJournal):
        async def write(self, run: ActiveRun) -> None:
            if records_refusal(run):
                raise OSError
            await super().write(run)

    entry = (await exporter.execute(FailingAtRefusal(exporter.path))).entry

    assert entry.result == "Succeeded"
    assert exporter.count_calls("create_distribution") == 2
    assert exporter.mailed() == ONE_MAIL_EACH


async def test_process_that_loses_the_run_at_a_refusal_does_not_repeat_the_send(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", **RATE_LIMITED)

    class LostAtRefusal(RecordingJournal):
        async def write(self, run: ActiveRun) -> None:
            if records_refusal(run):
                raise Abandoned
            await super().write(run)

    with pytest.raises(Abandoned):
        await exporter.execute(LostAtRefusal(exporter.path))
    assert (await exporter.run()).result == "Unknown"
    assert exporter.count_calls("create_distribution") == 1


@pytest.mark.parametrize("hold", [True, False])
async def test_cancellation_waits_until_the_refusal_is_recorded(
    exporter: Exporter, clock: PausableClock, hold: bool
) -> None:
    clock.paused = lambda: exporter.count_calls("create_distribution") > 0
    exporter.add_fault("create_distribution", **RATE_LIMITED, **({"hold": "before"} if hold else {}))
    async with started(exporter) as task:
        if hold:
            await exporter.faults.reached("qualtrics.create_distribution")
            task.cancel()
            await asyncio.sleep(0)
            exporter.faults.release()
        else:
            await clock.asleep()
            task.cancel()
        assert await was_cancelled(task)
    run = exporter.active_run()
    assert run
    assert run.refused_until

    clock.paused = lambda: False
    assert (await exporter.run()).result == "Succeeded"
    assert exporter.mailed() == ONE_MAIL_EACH


async def test_run_cancelled_while_it_waits_for_the_rate_limit_has_not_written_sending(
    exporter: Exporter, clock: PausableClock
) -> None:
    exporter.add_fault("import_status", hold="before")
    async with started(exporter) as task:
        await exporter.faults.reached("qualtrics.import_status")
        other = await exhaust_send_limit(exporter, clock)
        other.cancel()
        await asyncio.wait([other])
        exporter.faults.release()
        await clock.asleep()
        task.cancel()
        assert await was_cancelled(task)
    run = exporter.active_run()
    assert run
    assert run.step == "Importing"

    clock.paused = lambda: False
    assert (await exporter.run()).result == "Succeeded"
    assert exporter.mailed() == ONE_MAIL_EACH


async def test_token_is_renewed_after_the_wait_for_the_rate_limit(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    for name in ("acquire_send", "ensure_token", "send"):
        real = getattr(QualtricsClient, name)

        async def recorded(self: QualtricsClient, *arguments: Any, name: str = name, real: Any = real) -> Any:
            order.append(name)
            return await real(self, *arguments)

        monkeypatch.setattr(QualtricsClient, name, recorded)

    class OrderJournal(RecordingJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            order.append("write_sending")
            await super().write_sending(run)

    ended: Ended = await exporter.execute(OrderJournal(exporter.path))

    assert ended.entry.result == "Succeeded"
    assert order == ["acquire_send", "ensure_token", "write_sending", "send"]


@pytest.mark.parametrize(
    ("reason", "certain"),
    [("RemoteUnavailable", True), ("InternalError", True), ("RateLimited", False), ("Newer", False), (None, False)],
)
def test_recorded_refusal_is_certain_only_for_known_reasons(reason: str | None, certain: bool) -> None:
    """A refusal without a reason comes from an earlier version, which treated every refusal as certain."""
    run = ActiveRun(id="run", trigger="Schedule", start_time=START, step="Sending")
    assert not run.before_send
    assert run.model_copy(update={"refused_until": START, "refused_reason": reason}).before_send is certain
