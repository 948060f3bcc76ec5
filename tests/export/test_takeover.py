"""A run that is suspended, changed or taken over by another process before the end of its send."""

import pytest

from qualtrics_exporter.export.file_journal import FileJournal
from qualtrics_exporter.export.journal import Abandoned, SpecChanged, SuspendedMeanwhile
from qualtrics_exporter.export.run_ids import new_holder
from tests.export.conftest import Exporter
from tests.export.interruptions import (
    ONE_MAIL_EACH,
    RecordingJournal,
    RejectingJournal,
    active_step,
    started,
)


async def take_over_during(exporter: Exporter, operation: str, journal: FileJournal) -> None:
    """Claim the run for another process while the response of an operation is held. The first process abandons it."""
    exporter.add_fault(operation, hold="after")
    async with started(exporter, journal) as task:
        await exporter.faults.reached(f"qualtrics.{operation}")
        run = journal.current()
        assert run
        await journal.claim(run.model_copy(update={"holder": new_holder(), "attempt": 2}))
        exporter.faults.release()
        with pytest.raises(Abandoned):
            await task


async def test_run_is_skipped_if_the_exporter_was_suspended_before_the_send(exporter: Exporter) -> None:
    entry = (await exporter.execute(RejectingJournal(exporter.path, SuspendedMeanwhile()))).entry

    assert (entry.result, entry.reason) == ("Skipped", "Suspended")
    assert not exporter.mailed()


@pytest.mark.parametrize("error", [SpecChanged(), Abandoned()])
async def test_process_does_not_send_if_the_spec_changed_or_another_process_took_over(
    exporter: Exporter, error: Exception
) -> None:
    with pytest.raises(type(error)):
        await exporter.execute(RejectingJournal(exporter.path, error))

    assert active_step(exporter) == "Importing"
    assert exporter.count_calls("create_distribution") == 0


async def test_process_sends_nothing_if_another_process_took_over_during_the_import(exporter: Exporter) -> None:
    await take_over_during(exporter, "import_contacts", exporter.open_journal())

    assert exporter.count_calls("create_distribution") == 0


async def test_process_that_takes_over_during_a_send_finishes_the_run(exporter: Exporter) -> None:
    journal = RecordingJournal(exporter.path)
    await take_over_during(exporter, "create_distribution", journal)

    assert active_step(exporter) == "Sending"
    assert (await exporter.run()).result == "Succeeded"
    assert exporter.mailed() == ONE_MAIL_EACH
