"""A process that is paused between the write of `Sending` and the send does not send without another write."""

from collections.abc import Iterator

import pytest

from qualtrics_exporter.export.journal import Abandoned
from qualtrics_exporter.export.run_ids import new_holder
from qualtrics_exporter.resource.status import ActiveRun
from tests.export.conftest import Exporter
from tests.export.interruptions import ONE_MAIL_EACH, RecordingJournal


class PausingJournal(RecordingJournal):
    """Pauses the process after each of its first writes of `Sending`."""

    pauses = (3600.0,)
    taken_over = False

    def times(self) -> Iterator[float]:
        """The uptime of the machine at each reading."""
        now = 0.0
        for seconds in self.pauses:
            yield now
            now += seconds
            yield now
        while True:
            yield now

    async def write_sending(self, run: ActiveRun) -> None:
        await super().write_sending(run)
        self.sendings = [*getattr(self, "sendings", []), run]
        if self.taken_over:
            await self.claim(run.model_copy(update={"holder": new_holder(), "attempt": 9}))


@pytest.fixture
def journal(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> PausingJournal:
    pausing = PausingJournal(exporter.path)
    times = pausing.times()
    monkeypatch.setattr(type(exporter.clock), "uptime", lambda _self: next(times))
    return pausing


async def test_paused_process_writes_sending_again_and_sends_once(exporter: Exporter, journal: PausingJournal) -> None:
    assert (await exporter.run(journal)).result == "Succeeded"

    assert [run.attempt for run in journal.sendings] == [1, 2]
    assert [run.send_attempts for run in journal.sendings] == [1, 1]
    assert exporter.mailed() == ONE_MAIL_EACH
    assert exporter.count_calls("create_distribution") == 1


async def test_paused_process_sends_nothing_if_another_process_took_over_the_run(
    exporter: Exporter, journal: PausingJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PausingJournal, "taken_over", True)
    with pytest.raises(Abandoned):
        await exporter.execute(journal)

    assert exporter.count_calls("create_distribution") == 0


async def test_process_paused_three_times_waits_as_after_a_refusal_and_then_sends(
    exporter: Exporter, journal: PausingJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PausingJournal, "pauses", (11.0, 11.0, 11.0))
    assert (await exporter.run(journal)).result == "Succeeded"

    assert [run.send_attempts for run in journal.sendings] == [1, 1, 1, 2]
    assert exporter.count_calls("create_distribution") == 1


async def test_process_paused_at_every_attempt_fails_without_a_send(
    exporter: Exporter, journal: PausingJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PausingJournal, "pauses", (11.0,) * 9)
    entry = await exporter.run(journal)

    assert (entry.result, entry.reason) == ("Failed", "InternalError")
    assert "Nobody was mailed" in entry.message
    assert exporter.count_calls("create_distribution") == 0
