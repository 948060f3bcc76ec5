"""A send with a lost or unclear reply is looked up, and never repeated."""

from datetime import timedelta
from typing import Any

import pytest

from tests.export.conftest import Exporter
from tests.export.interruptions import ONE_MAIL_EACH


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "after"},
        {"status": 500, "apply_effect": True},
        {"status": 504, "apply_effect": True},
        {"status": 302, "apply_effect": True},
        {"body": "<html>success</html>"},
        {"body": "{}"},
        {"truncate": 10},
    ],
)
async def test_send_with_an_unclear_reply_is_looked_up_and_found(exporter: Exporter, fault: dict[str, Any]) -> None:
    exporter.add_fault("create_distribution", **fault)
    entry = await exporter.run()

    assert exporter.mailed() == ONE_MAIL_EACH
    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert entry.distribution_id == exporter.sandbox.recorder.distributions[0].id
    assert exporter.count_calls("create_distribution") == 1


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"status": 500}, {"status": 503}, {"body": "{}", "status": 502}])
async def test_send_that_is_not_found_ends_as_unknown_and_is_not_repeated(
    exporter: Exporter, fault: dict[str, Any]
) -> None:
    exporter.add_fault("create_distribution", **fault)
    entry = await exporter.run()

    assert not exporter.mailed()
    assert exporter.count_calls("create_distribution") == 1
    assert (entry.result, entry.reason) == ("Unknown", "DeliveryUnknown")
    for fact in (exporter.account.survey_id, entry.batch_id, "2026-01-05T10:0", "(UTC)", "request a run", "next slot"):
        assert fact
        assert fact in entry.message


async def test_unclear_send_is_looked_up_five_times_in_two_minutes(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", drop="before")
    await exporter.run()

    calls = exporter.sandbox.recorder.of("qualtrics.list_distributions")
    first = calls[0].at
    assert [round((call.at - first).total_seconds(), -1) for call in calls] == [0, 10, 30, 60, 120]


async def test_distribution_that_is_listed_late_is_found(exporter: Exporter) -> None:
    exporter.account.list_lag_seconds = 50
    exporter.add_fault("create_distribution", drop="after")
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.count_calls("list_distributions") == 4
    assert exporter.mailed() == ONE_MAIL_EACH


async def test_send_whose_batch_is_not_listed_ends_as_unknown_and_is_not_repeated(exporter: Exporter) -> None:
    exporter.account.batch_echo = "never"
    exporter.add_fault("create_distribution", drop="after")
    entry = await exporter.run()

    assert entry.result == "Unknown"
    assert exporter.mailed() == ONE_MAIL_EACH


async def test_failed_look_up_is_repeated_and_finds_the_send(
    exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.add_fault("create_distribution", drop="after")
    exporter.add_fault("list_distributions", status=503, times=9)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert "unexpected" not in caplog.text
    assert exporter.mailed() == ONE_MAIL_EACH


@pytest.mark.parametrize("minutes", [-50, 50])
async def test_look_up_finds_a_send_if_the_clock_of_qualtrics_differs_by_50_minutes(
    exporter: Exporter, minutes: int
) -> None:
    exporter.add_fault("create_distribution", drop="after")

    def shift_send_date() -> None:
        [sent] = exporter.sandbox.recorder.distributions
        sent.send_date += timedelta(minutes=minutes)

    entry = await exporter.run_with_change_before("qualtrics.list_distributions", shift_send_date)

    assert entry.result == "Succeeded"
    assert exporter.mailed() == ONE_MAIL_EACH


async def test_look_up_ignores_an_earlier_distribution_of_the_same_survey(exporter: Exporter) -> None:
    await exporter.run()
    exporter.clock.advance(600)
    exporter.add_fault("create_distribution", drop="before")
    entry = await exporter.run()

    assert entry.result == "Unknown"
