"""A process that stands still between the write of `Sending` and the send does not send on what it wrote before."""

from collections.abc import Iterator

import pytest

from qualtrics_exporter.export.journal import Abandoned
from qualtrics_exporter.export.run_ids import new_holder
from qualtrics_exporter.resource.status import ActiveRun
from tests.export.conftest import Exporter
from tests.export.test_recovery import SIX, WatchedJournal


class StandingStill(WatchedJournal):
    """The process stands still right after each of its first writes of `Sending`, for so many seconds."""

    still = (3600.0,)
    taken_over = False

    def times(self) -> Iterator[float]:
        now = 0.0
        for seconds in self.still:
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
def journal(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> StandingStill:
    made = StandingStill(exporter.path)
    times = made.times()
    monkeypatch.setattr(type(exporter.clock), "uptime", lambda _self: next(times))
    return made


async def test_it_writes_sending_anew_and_sends_once(exporter: Exporter, journal: StandingStill) -> None:
    assert (await exporter.run(journal)).result == "Succeeded"

    assert [run.attempt for run in journal.sendings] == [1, 2]
    assert [run.send_attempts for run in journal.sendings] == [1, 1]
    assert exporter.mailed() == SIX
    assert exporter.count("create_distribution") == 1


async def test_it_sends_nothing_if_somebody_took_the_run_over_meanwhile(
    exporter: Exporter, journal: StandingStill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandingStill, "taken_over", True)
    with pytest.raises(Abandoned):
        await exporter.ended(journal)

    assert exporter.count("create_distribution") == 0


async def test_one_that_does_not_get_on_waits_as_after_a_refusal_and_then_sends(
    exporter: Exporter, journal: StandingStill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandingStill, "still", (11.0, 11.0, 11.0))
    assert (await exporter.run(journal)).result == "Succeeded"

    assert [run.send_attempts for run in journal.sendings] == [1, 1, 1, 2]
    assert exporter.count("create_distribution") == 1


async def test_one_that_never_gets_on_has_failed_and_asked_for_nothing(
    exporter: Exporter, journal: StandingStill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandingStill, "still", (11.0,) * 9)
    entry = await exporter.run(journal)

    assert (entry.result, entry.reason) == ("Failed", "InternalError")
    assert "Nobody was mailed" in entry.message
    assert exporter.count("create_distribution") == 0
