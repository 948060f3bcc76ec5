"""An import with a lost or unclear reply is repeated in a new batch, or counted: nobody gets two mails."""

from typing import Any

import pytest

from qualtrics_exporter.export.run import execute
from qualtrics_exporter.export.run_context import RunContext
from tests.export.conftest import Exporter, claim_run
from tests.export.interruptions import ONE_MAIL_EACH, RecordingJournal


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 500, "apply_effect": True}, {"body": "nonsense"}])
async def test_import_with_an_unclear_reply_is_repeated_in_a_new_batch(
    exporter: Exporter, fault: dict[str, Any]
) -> None:
    exporter.add_fault("import_contacts", **fault)
    entry = await exporter.run()

    assert exporter.mailed() == ONE_MAIL_EACH
    assert len(exporter.sandbox.recorder.batches) == 2
    assert entry.batch_id == list(exporter.sandbox.recorder.batches)[1]
    assert entry.recipients
    assert entry.recipients.imported == 6


@pytest.mark.parametrize(
    ("imported", "count_fault", "batches"),
    [
        pytest.param(False, {}, 1, id="refused"),
        pytest.param(True, {}, 2, id="imported"),
        pytest.param(False, {"status": 403}, 2, id="count forbidden"),
        pytest.param(False, {"status": 500, "times": None}, 2, id="count unavailable"),
    ],
)
async def test_import_repeated_after_429_is_counted_and_mails_each_person_once(
    exporter: Exporter, imported: bool, count_fault: dict[str, Any], batches: int
) -> None:
    """Qualtrics may answer with 429 although it imports the people. A second import would mail them twice."""
    exporter.add_fault("import_contacts", status=429, apply_effect=imported)
    if count_fault:
        exporter.add_fault("list_transactions", **count_fault)
    entry = await exporter.run()

    assert exporter.mailed() == ONE_MAIL_EACH
    assert len(exporter.sandbox.recorder.batches) == batches
    assert entry.batch_id == list(exporter.sandbox.recorder.batches)[-1]


async def test_import_without_429_is_not_counted(exporter: Exporter) -> None:
    await exporter.run()
    assert exporter.count_calls("list_transactions") == 0


async def test_all_chunks_are_imported_into_the_new_batch(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qualtrics_exporter.qualtrics.chunks.MAX_CONTACTS", 1_000)
    exporter.set_people_count(1_200)
    exporter.add_fault("import_contacts", drop="after", after=1)
    entry = await exporter.run()

    assert len(exporter.sandbox.recorder.batches) == 2
    assert len(exporter.mailed()) == 1_200
    assert set(exporter.mailed().values()) == {1}
    assert entry.recipients
    assert entry.recipients.imported == 1_200


@pytest.mark.parametrize(
    ("operation", "fault", "reason"),
    [
        ("import_contacts", {"drop": "after"}, "RemoteUnavailable"),
        ("import_contacts", {"body": "<html>"}, "RemoteReplyInvalid"),
        ("import_contacts", {"status": 401, "body": b"", "apply_effect": True}, "RemoteReplyInvalid"),
        ("import_status", {"status": 429}, "RateLimited"),
        ("import_status", {"status": 404}, "RemoteReplyInvalid"),
    ],
)
async def test_run_fails_after_three_batches_and_mails_nobody(
    exporter: Exporter, operation: str, fault: dict[str, Any], reason: str
) -> None:
    exporter.add_fault(operation, times=None, **fault)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", reason)
    assert len(exporter.sandbox.recorder.batches) == 3
    assert not exporter.mailed()


async def test_journal_names_every_batch_that_people_are_imported_into(exporter: Exporter) -> None:
    exporter.add_fault("import_contacts", drop="after")
    with exporter.open_journal() as journal:
        run = await claim_run(journal, exporter.clock)
    with RecordingJournal(exporter.path) as recording:
        await execute(RunContext(run, exporter.spec, exporter.clients, recording, exporter.clock))
        batches = [written.batch_id for written in recording.written if written.step == "Importing"]

    assert batches == list(exporter.sandbox.recorder.batches)


async def test_batch_with_more_people_than_were_imported_is_not_sent(exporter: Exporter) -> None:
    body = (
        '{"result": {"percentComplete": 100, "status": "complete", "contacts": {"count": {"added": 12, "updated": 0, '
        '"failed": 0}}, "transactions": {"count": {"created": 12}}}, "meta": {"httpStatus": "200 - OK"}}'
    )
    exporter.add_fault("import_status", body=body, times=None)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert exporter.count_calls("create_distribution") == 0
