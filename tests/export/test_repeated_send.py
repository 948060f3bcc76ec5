"""A send that Qualtrics did not accept is repeated after a wait, three times at most."""

from typing import Any

import pytest

from tests.export.conftest import Exporter
from tests.export.interruptions import FINISH, ONE_MAIL_EACH, SENDING, RecordingJournal


async def test_rate_limited_send_is_repeated(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", status=429, times=2, headers={"Retry-After": "40"})
    with RecordingJournal(exporter.path) as journal:
        entry = (await exporter.execute(journal)).entry
        sends = [run for run in journal.written if run.step == "Sending" and not run.refused_until]

    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert exporter.mailed() == ONE_MAIL_EACH
    calls = exporter.sandbox.recorder.of("qualtrics.create_distribution")
    assert [round((call.at - calls[0].at).total_seconds(), -1) for call in calls] == [0, 600, 1200]
    assert len({write.model_dump_json() for write in sends}) == 3
    assert [write.attempt for write in sends] == [1, 2, 3]
    assert len({write.send_time for write in sends}) == 3
    assert entry.send_time == sends[-1].send_time


async def test_run_fails_after_three_rate_limited_sends(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", status=429, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RateLimited")
    assert exporter.count_calls("create_distribution") == 3
    assert not exporter.mailed()


@pytest.mark.parametrize(("retry_after", "waited"), [(900, 900), (90000, 1800)])
async def test_run_waits_as_long_as_retry_after_says_up_to_half_an_hour(
    exporter: Exporter, retry_after: int, waited: int
) -> None:
    exporter.add_fault("create_distribution", status=429, headers={"Retry-After": str(retry_after)})
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    first, second = exporter.sandbox.recorder.of("qualtrics.create_distribution")
    assert waited <= (second.at - first.at).total_seconds() < waited + 60


async def test_rate_limited_send_that_took_effect_is_found_and_not_repeated(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", status=429, apply_effect=True)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.count_calls("create_distribution") == 1
    assert exporter.mailed() == ONE_MAIL_EACH


async def test_send_is_repeated_if_no_connection_was_made(exporter: Exporter) -> None:
    sandbox, actions = exporter.sandbox, iter(["stop", "start"])

    def before(number: int) -> Any:
        if number < SENDING or number == FINISH + 1:
            return None
        action = next(actions, None)
        return getattr(sandbox, action)() if action else None

    entry = (await exporter.execute(RecordingJournal(exporter.path, before=before))).entry

    assert entry.result == "Succeeded"
    assert exporter.mailed() == ONE_MAIL_EACH
    assert exporter.count_calls("create_distribution") == 1
