"""Unexpected errors before, during and after the send of a run."""

import pytest

from qualtrics_exporter.export import steps
from qualtrics_exporter.export.journal import NotWritten
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.distributions import Distribution
from tests.export.conftest import Exporter
from tests.export.interruptions import ONE_MAIL_EACH, SENT, RecordingJournal
from tests.support.clock import AutoAdvancingClock


async def test_unexpected_error_during_a_look_up_ends_as_unknown(
    exporter: Exporter, clock: AutoAdvancingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(seconds: float) -> None:
        if exporter.count_calls("list_distributions"):
            raise RuntimeError
        await AutoAdvancingClock.sleep(clock, seconds)

    monkeypatch.setattr(clock, "sleep", broken)
    exporter.account.list_lag_seconds = 30
    exporter.add_fault("create_distribution", drop="after")
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Unknown", "DeliveryUnknown")


async def test_unexpected_error_before_the_send_is_reported_without_its_text(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ValueError("eva@example.com is too much")

    monkeypatch.setattr(steps, "run_query", broken)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "InternalError")
    assert "ValueError" in entry.message
    assert "ValueError at run.py" in caplog.text
    assert "example.com" not in entry.message + caplog.text + str(caplog.records)


async def test_send_is_looked_up_after_an_unexpected_error(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    send = QualtricsClient.send

    async def broken(self: QualtricsClient, distribution: Distribution) -> str:
        await send(self, distribution)
        raise RuntimeError

    monkeypatch.setattr(QualtricsClient, "send", broken)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.mailed() == ONE_MAIL_EACH


@pytest.mark.parametrize(("error", "level"), [(OSError, "ERROR"), (NotWritten, "WARNING")])
async def test_failed_journal_write_after_the_send_does_not_change_the_result(
    exporter: Exporter, caplog: pytest.LogCaptureFixture, error: type[Exception], level: str
) -> None:
    def before(number: int) -> None:
        if number == SENT:
            raise error

    entry = (await exporter.execute(RecordingJournal(exporter.path, before=before))).entry

    assert entry.result == "Succeeded"
    assert entry.distribution_id
    assert exporter.mailed() == ONE_MAIL_EACH
    assert [record.levelname for record in caplog.records if "that the survey was sent" in record.message] == [level]
