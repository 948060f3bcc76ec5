"""The look-up of a refused send decides whether the send is repeated."""

import pytest

from qualtrics_exporter.export.look_up import LIST_LAG
from qualtrics_exporter.resource.status import ActiveRun
from tests.export.conftest import START, Exporter, PausableClock
from tests.export.interruptions import (
    ONE_MAIL_EACH,
    RATE_LIMITED,
    Crash,
    QualtricsDownAtSend,
    RecordingJournal,
    crash_after_refused_send,
    send_requests,
)

LAG = LIST_LAG.total_seconds()


async def test_refused_send_is_not_repeated_without_a_complete_look_up(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", status=429, apply_effect=True)
    exporter.add_fault("list_distributions", status=503, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Unknown", "DeliveryUnknown")
    assert "could not be read in full" in entry.message
    assert len(send_requests(exporter)) == 1
    assert (entry.completion_time - START).total_seconds() < LAG + 660


async def test_failed_look_up_of_a_refused_send_is_repeated(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", status=429, apply_effect=True)
    exporter.add_fault("list_distributions", status=503, times=9)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert len(send_requests(exporter)) == 1


@pytest.mark.parametrize("lag", [5, 300, 590])
async def test_refused_send_that_took_effect_is_found_although_the_list_lags(exporter: Exporter, lag: float) -> None:
    exporter.account.list_lag_seconds = lag
    exporter.add_fault("create_distribution", status=429, apply_effect=True)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert len(send_requests(exporter)) == 1
    assert exporter.mailed() == ONE_MAIL_EACH


@pytest.mark.parametrize("happened", [True, False])
async def test_list_without_batches_proves_that_nothing_was_sent_only_if_it_is_empty(
    exporter: Exporter, happened: bool
) -> None:
    exporter.account.batch_echo = "never"
    exporter.add_fault("create_distribution", status=429, apply_effect=happened)
    entry = await exporter.run()

    assert entry.result == ("Unknown" if happened else "Succeeded")
    assert len(send_requests(exporter)) == (1 if happened else 2)


async def test_distribution_that_cannot_be_read_makes_the_outcome_unknown(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", status=429, apply_effect=True)
    exporter.add_fault("read_distribution", status=404, times=None)
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert len(send_requests(exporter)) == 1


async def test_each_refused_send_needs_its_own_look_up(exporter: Exporter) -> None:
    """A look-up of the first send proves nothing about the second one."""
    exporter.add_fault("create_distribution", status=429)
    exporter.add_fault("create_distribution", status=429, apply_effect=True)
    exporter.add_fault("list_distributions", status=503, times=None, after=1)
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert len(send_requests(exporter)) == 2


async def test_third_refused_send_is_looked_up_too(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", status=429, times=2)
    exporter.add_fault("create_distribution", status=429, apply_effect=True)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert len(send_requests(exporter)) == 3
    assert exporter.mailed() == ONE_MAIL_EACH


async def test_run_fails_after_a_third_refusal_in_an_earlier_process(exporter: Exporter) -> None:
    for _ in range(3):
        await crash_after_refused_send(exporter)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RateLimited")
    assert "Nobody was mailed" in entry.message
    assert len(send_requests(exporter)) == 3


async def test_next_process_repeats_the_look_up_of_an_earlier_process(exporter: Exporter, clock: PausableClock) -> None:
    """The first process looked up the send, found nothing, and crashed before it repeated the send."""
    exporter.add_fault("create_distribution", **RATE_LIMITED)

    class CrashAtSecondSend(RecordingJournal):
        async def write_sending(self, run: ActiveRun) -> None:
            if run.send_attempts == 2:
                raise Crash
            await super().write_sending(run)

    with pytest.raises(Crash):
        await exporter.execute(CrashAtSecondSend(exporter.path))
    assert exporter.count_calls("list_distributions") == 1
    run = exporter.active_run()
    assert run
    assert not run.before_send
    began = clock.monotonic()
    assert (await exporter.run()).result == "Succeeded"
    assert clock.monotonic() - began >= LAG
    assert exporter.count_calls("list_distributions") == 2


async def test_refused_send_that_took_effect_is_not_repeated_after_a_crash_and_an_outage(
    exporter: Exporter,
) -> None:
    await crash_after_refused_send(exporter, status=429, apply_effect=True)
    await exporter.sandbox.stop()
    entry = await exporter.run()
    await exporter.sandbox.start()

    assert entry.result == "Unknown"
    assert len(send_requests(exporter)) == 1


async def test_run_fails_if_no_connection_opens_after_a_refusal_without_effect(exporter: Exporter) -> None:
    """The look-up after the 429 was complete, so it is certain that nobody was mailed."""
    exporter.add_fault("create_distribution", status=429)

    entry = (await exporter.execute(QualtricsDownAtSend(exporter, send_attempt=2))).entry
    await exporter.sandbox.start()

    assert (entry.result, entry.reason) == ("Failed", "RemoteUnavailable")
    assert len(send_requests(exporter)) == 1
    assert not exporter.mailed()
