"""A run ends once, and mails each person at most once, after a crash at any write of its journal."""

from typing import Literal

import pytest

from tests.export.conftest import Exporter
from tests.export.interruptions import (
    FINISH,
    IMPORTING,
    ONE_MAIL_EACH,
    SENDING,
    SENT,
    Crash,
    RecordingJournal,
    active_step,
    crash_at,
)


@pytest.mark.parametrize(
    ("write", "moment", "step", "result", "mails"),
    [
        (IMPORTING, "before", "Claimed", "Succeeded", ONE_MAIL_EACH),
        (IMPORTING, "after", "Importing", "Succeeded", ONE_MAIL_EACH),
        (SENDING, "before", "Importing", "Succeeded", ONE_MAIL_EACH),
        (SENDING, "after", "Sending", "Unknown", {}),  # the journal does not show whether the request was sent
        (SENT, "before", "Sending", "Succeeded", ONE_MAIL_EACH),
        (SENT, "after", "Sent", "Succeeded", ONE_MAIL_EACH),
        (FINISH, "before", "Sent", "Succeeded", ONE_MAIL_EACH),
        (FINISH, "after", None, None, ONE_MAIL_EACH),
    ],
)
async def test_run_ends_once_after_a_crash_at_any_journal_write(
    exporter: Exporter,
    write: int,
    moment: Literal["before", "after"],
    step: str | None,
    result: str | None,
    mails: dict[str, int],
) -> None:
    with pytest.raises(Crash):
        await exporter.execute(RecordingJournal(exporter.path, **{moment: crash_at(write)}))
    assert active_step(exporter) == step

    if step:
        entry = await exporter.run()
        assert entry.result == result
    assert exporter.mailed() == mails
    with exporter.open_journal() as journal:
        assert len(journal.history) == 1


async def test_resumed_run_imports_into_a_new_batch_after_a_crash(exporter: Exporter) -> None:
    with pytest.raises(Crash):
        await exporter.execute(RecordingJournal(exporter.path, before=crash_at(SENDING)))
    exporter.set_people(["ana@example.com", "new@example.com"])
    await exporter.run()

    assert [len(batch.addresses) for batch in exporter.sandbox.recorder.batches.values()] == [6, 2]
    assert exporter.mailed() == {"ana@example.com": 1, "new@example.com": 1}


async def test_resumed_run_without_recipients_names_no_batch(exporter: Exporter) -> None:
    with pytest.raises(Crash):
        await exporter.execute(RecordingJournal(exporter.path, before=crash_at(SENDING)))
    exporter.set_people([])
    entry = await exporter.run()

    assert (entry.reason, entry.batch_id) == ("NoRecipients", None)


async def test_resumed_run_repeats_a_look_up_that_a_crash_interrupted(exporter: Exporter) -> None:
    exporter.account.list_lag_seconds = 200
    exporter.add_fault("create_distribution", drop="after")
    with pytest.raises(Crash):
        await exporter.execute(RecordingJournal(exporter.path, before=crash_at(FINISH - 1)))
    exporter.clock.advance(3600)
    entry = await exporter.run()

    assert entry.result == "Succeeded"
    assert exporter.mailed() == ONE_MAIL_EACH
    assert exporter.count_calls("create_distribution") == 1


async def test_recovered_run_ends_with_the_same_message_as_an_uninterrupted_run(exporter: Exporter) -> None:
    exporter.account.vanishing_addresses = {"eva@example.com"}
    exporter.change_spec("nexthink", result_source="Export")  # only an export reports a truncated result
    exporter.account.queries[exporter.account.query_id].truncated = True
    with pytest.raises(Crash):
        await exporter.execute(RecordingJournal(exporter.path, before=crash_at(SENT)))
    recovered = await exporter.run()
    exporter.clock.advance(24 * 3600)
    straight = await exporter.run()

    assert recovered.message == straight.message
    assert recovered.reason == straight.reason == "ResultTruncated"
    assert recovered.recipients == straight.recipients


@pytest.mark.parametrize("write", [IMPORTING, SENDING])
async def test_delivering_test_is_not_resumed_after_a_crash_before_its_send(exporter: Exporter, write: int) -> None:
    with pytest.raises(Crash):
        await exporter.execute(RecordingJournal(exporter.path, before=crash_at(write)), trigger="Test")
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Failed", "Interrupted")
    assert not exporter.mailed()


async def test_delivering_test_is_looked_up_after_a_crash_after_its_send(exporter: Exporter) -> None:
    with pytest.raises(Crash):
        await exporter.execute(RecordingJournal(exporter.path, before=crash_at(SENT)), trigger="Test")
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Succeeded", "TestDelivered")
    assert exporter.mailed() == ONE_MAIL_EACH
