"""Importing people into a batch, nobody twice."""

import asyncio
import json

import pytest

from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.imports import Imported
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.sandbox import Account
from tests.qualtrics.conftest import SandboxClient
from tests.remote.clock import RecordingClock
from tests.remote.servers import Answer, Server, answer, result, silence

STARTED = answer(202, {"result": {"id": "PGRS_1", "contacts": {"unprocessed": []}, "status": "inProgress"}})


async def import_people(qualtrics: QualtricsClient, *addresses: str) -> Imported:
    parts = [list(addresses) or ["a@example.com"]]
    (imported,) = [one async for one in qualtrics.import_chunks("POOL_1", "CG_1", "BT_1", "run-1", parts)]
    return imported


async def test_import_adds_each_person_to_the_batch_once(sandbox_client: SandboxClient) -> None:
    batch_id = await sandbox_client.create_batch()
    imported = await sandbox_client.import_people(batch_id, "ana@example.com", "ben@example.com")
    assert imported == Imported(created=2, failed=0, unprocessed=0)
    batch = sandbox_client.sandbox.recorder.batches[batch_id]
    assert batch.addresses == ["ana@example.com", "ben@example.com"]
    assert batch.run_ids == ["run-1"]


async def test_addresses_of_any_alphabet_are_imported_unchanged(sandbox_client: SandboxClient) -> None:
    people = ["jürgen@example.com", "j.o+x-y_z@example.com", "名@example.com", "a\\b@example.com"]
    batch_id = await sandbox_client.create_batch_of(*people)
    assert sandbox_client.sandbox.recorder.batches[batch_id].addresses == people


async def test_rejected_addresses_are_counted(sandbox_client: SandboxClient) -> None:
    sandbox_client.account.refused_addresses = {"ben@example.com"}
    sandbox_client.account.vanishing_addresses = {"eva@example.com"}
    batch_id = await sandbox_client.create_batch()
    imported = await sandbox_client.import_people(batch_id, "ana@example.com", "ben@example.com", "eva@example.com")
    assert imported == Imported(created=1, failed=1, unprocessed=0)


@pytest.mark.parametrize(
    "ids", [{"directory_id": "POOL_missing00001"}, {"mailing_list_id": "CG_missing00001"}, {}], ids=str
)
async def test_import_with_a_wrong_id_adds_nobody(sandbox_client: SandboxClient, ids: dict[str, str]) -> None:
    batch_id = await sandbox_client.create_batch() if ids else "BT_missing00001"
    assert await sandbox_client.import_people(batch_id, "ana@example.com", **ids) == Imported(0, 0, 0)


async def test_create_batch_is_repeated_if_its_reply_is_lost(sandbox_client: SandboxClient) -> None:
    """The first batch stays empty, and is never sent."""
    sandbox_client.sandbox.faults.add("qualtrics.create_batch", drop="after")
    batch_id = await sandbox_client.create_batch()
    assert len(sandbox_client.sandbox.recorder.batches) == 2
    assert batch_id == list(sandbox_client.sandbox.recorder.batches)[-1]


LOST: dict[str, dict[str, object]] = {
    "connection lost before the effect": {"drop": "before"},
    "connection lost after the effect": {"drop": "after"},
    "500": {"status": 500},
    "500 after the effect": {"status": 500, "apply_effect": True},
    "504 after the effect": {"status": 504, "apply_effect": True},
    "redirect": {"status": 302},
    "HTML page": {"body": "<html>"},
    "page of a filter": {"status": 406, "body": "<html>", "apply_effect": True},
    "empty 401 of a filter": {"status": 401, "body": b"", "apply_effect": True},
    "JSON of a gateway": {"status": 403, "body": '{"message": "Forbidden"}', "apply_effect": True},
    "truncated reply": {"truncate": 5},
    "no id": {"body": '{"result": {}}'},
}


@pytest.mark.parametrize("case", LOST)
async def test_import_with_an_unclear_outcome_is_not_repeated(sandbox_client: SandboxClient, case: str) -> None:
    batch_id = await sandbox_client.create_batch()
    sandbox_client.sandbox.faults.add("qualtrics.import_contacts", **LOST[case])
    with pytest.raises(OutcomeUnknown) as error:
        await sandbox_client.import_people(batch_id, "ana@example.com")
    assert error.value.reason in (Reason.REMOTE_UNAVAILABLE, Reason.REMOTE_REPLY_INVALID)
    assert sandbox_client.sandbox.recorder.count("qualtrics.import_contacts") == 1
    assert batch_id in error.value.what


@pytest.mark.parametrize("status", [429, 401])
async def test_import_refused_with_429_or_401_is_repeated(sandbox_client: SandboxClient, status: int) -> None:
    batch_id = await sandbox_client.create_batch()
    sandbox_client.sandbox.faults.add("qualtrics.import_contacts", status=status)
    assert await sandbox_client.import_people(batch_id, "ana@example.com") == Imported(1, 0, 0, limited=status == 429)
    assert sandbox_client.sandbox.recorder.batches[batch_id].repeated() == {}


@pytest.mark.parametrize(("took_effect", "people"), [(False, 3), (True, 6)])
async def test_people_of_a_batch_are_counted_over_all_pages(
    sandbox_client: SandboxClient, account: Account, took_effect: bool, people: int
) -> None:
    account.rows_page_size = 2
    batch_id = await sandbox_client.create_batch()
    sandbox_client.sandbox.faults.add("qualtrics.import_contacts", status=429, apply_effect=took_effect)
    await sandbox_client.import_people(batch_id, "ana@example.com", "ben@example.com", "eva@example.com")
    assert await sandbox_client.qualtrics.count_batch(account.directory_id, batch_id, most=10) == people


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.REQUEST_REFUSED),
        (403, Reason.NOT_PERMITTED),
        (404, Reason.MAILING_LIST_NOT_FOUND),
        (413, Reason.REQUEST_REFUSED),
    ],
)
async def test_permanently_refused_import_is_reported_and_not_repeated(
    sandbox_client: SandboxClient, status: int, reason: Reason
) -> None:
    batch_id = await sandbox_client.create_batch()
    sandbox_client.sandbox.faults.add("qualtrics.import_contacts", status=status)
    with pytest.raises(Permanent) as error:
        await sandbox_client.import_people(batch_id, "ana@example.com")
    assert error.value.reason is reason
    assert sandbox_client.sandbox.recorder.count("qualtrics.import_contacts") == 1


@pytest.mark.parametrize(("people", "seconds"), [(6, 0.1), (10_000, 0.2)])
async def test_first_look_at_an_import_comes_soon_and_depends_on_its_size(
    sandbox_client: SandboxClient, account: Account, clock: RecordingClock, people: int, seconds: float
) -> None:
    account.import_polls = 0
    batch_id = await sandbox_client.create_batch()
    await sandbox_client.import_people(batch_id, *(f"user{n}@example.com" for n in range(people)))
    assert clock.slept == [pytest.approx(seconds, rel=0.01)]
    assert sandbox_client.sandbox.recorder.count("qualtrics.import_status") == 1


@pytest.mark.parametrize("seconds", [1, 15, 200])
async def test_end_of_an_import_is_noticed_soon_with_few_looks(
    sandbox_client: SandboxClient, account: Account, clock: RecordingClock, seconds: float
) -> None:
    account.import_polls, account.import_seconds = 10**6, seconds
    batch_id = await sandbox_client.create_batch()
    assert (await sandbox_client.import_people(batch_id, "ana@example.com")).created == 1
    assert clock.slept == sorted(clock.slept)
    assert sum(clock.slept) < 1.5 * seconds
    assert sandbox_client.sandbox.recorder.count("qualtrics.import_status") < 35


async def test_import_that_never_ends_has_an_unknown_outcome_after_30_minutes(
    sandbox_client: SandboxClient, account: Account, clock: RecordingClock
) -> None:
    account.import_polls, account.import_seconds = 10**6, 10**6
    batch_id = await sandbox_client.create_batch()
    with pytest.raises(OutcomeUnknown) as error:
        await sandbox_client.import_people(batch_id, "ana@example.com")
    assert error.value.reason is Reason.REMOTE_UNAVAILABLE
    assert 1799 < sum(clock.slept) < 1900
    assert "30 minutes" in error.value.what


async def test_failed_import_has_an_unknown_outcome(sandbox_client: SandboxClient, account: Account) -> None:
    account.import_ends = "failed"
    batch_id = await sandbox_client.create_batch()
    with pytest.raises(OutcomeUnknown):
        await sandbox_client.import_people(batch_id, "ana@example.com")


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": "after"}, {"status": 429}, {"status": 404}], ids=str)
async def test_import_continues_after_temporary_errors_of_its_status(
    sandbox_client: SandboxClient, fault: dict[str, object]
) -> None:
    batch_id = await sandbox_client.create_batch()
    sandbox_client.sandbox.faults.add("qualtrics.import_status", times=2, **fault)
    assert (await sandbox_client.import_people(batch_id, "ana@example.com")).created == 1


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": "after"}, {"status": 404}, {"body": "<html>"}], ids=str)
async def test_import_whose_status_cannot_be_read_has_an_unknown_outcome(
    sandbox_client: SandboxClient, fault: dict[str, object]
) -> None:
    batch_id = await sandbox_client.create_batch()
    sandbox_client.sandbox.faults.add("qualtrics.import_status", times=None, **fault)
    with pytest.raises(OutcomeUnknown):
        await sandbox_client.import_people(batch_id, "ana@example.com")
    assert sandbox_client.sandbox.recorder.count("qualtrics.import_contacts") == 1


PEOPLE = [f"user{n}@example.com" for n in range(4)]

ENDS: dict[str, tuple[dict[str, object], Imported | None]] = {
    "complete": ({"status": "complete"}, Imported(3, 1, 0)),
    "different letter case": ({"status": "Complete"}, Imported(3, 1, 0)),
    "unknown final status": ({"status": "finished", "percentComplete": 100}, Imported(3, 1, 0)),
    "no count of failures": ({"status": "complete", "contacts": {}}, Imported(3, 0, 0)),
    "no count of transactions": ({"status": "complete", "transactions": {}}, None),
    "invalid count": ({"status": "complete", "transactions": {"count": {"created": "3"}}}, None),
    "negative count": ({"status": "complete", "transactions": {"count": {"created": -1}}}, None),
    "no status": ({"percentComplete": 100}, None),
    "error": ({"status": "error", "percentComplete": 100}, None),
}


@pytest.mark.parametrize("case", ENDS)
async def test_result_of_an_import_is_accepted_only_with_valid_counts(
    server: Server, scripted_client: QualtricsClient, case: str
) -> None:
    fields, imported = ENDS[case]
    counts = {"contacts": {"count": {"failed": 1}}, "transactions": {"count": {"created": 3}}}
    server.script(STARTED, result(**{**counts, **fields}))
    if imported is not None:
        assert await import_people(scripted_client, *PEOPLE) == imported
        return
    with pytest.raises(OutcomeUnknown):
        await import_people(scripted_client, *PEOPLE)


async def test_unprocessed_people_are_counted(server: Server, scripted_client: QualtricsClient) -> None:
    started = answer(202, {"result": {"id": "PGRS_1", "contacts": {"unprocessed": [0, 2]}}})
    server.script(started, result(status="complete", transactions={"count": {"created": 1}}))
    assert await import_people(scripted_client) == Imported(created=1, failed=0, unprocessed=2)


async def test_import_request_is_as_documented(server: Server, scripted_client: QualtricsClient) -> None:
    server.script(STARTED, result(status="complete", transactions={"count": {"created": 1}}))
    await import_people(scripted_client, "a@example.com")
    post, poll = server.received_requests
    assert post.target == "/API/v3/directories/POOL_1/mailinglists/CG_1/transactioncontacts"
    assert poll.target == f"{post.target}/PGRS_1"
    assert json.loads(post.body) == {
        "transactionMeta": {"batchId": "BT_1", "fields": ["runId"]},
        "contacts": [{"email": "a@example.com", "transactionData": {"runId": "run-1"}}],
    }


async def test_imports_into_other_mailing_lists_do_not_wait(sandbox_client: SandboxClient, account: Account) -> None:
    account.add_mailing_list("CG_another00001")
    first, second = await sandbox_client.create_batch(), await sandbox_client.create_batch()
    sandbox_client.sandbox.faults.add("qualtrics.import_status", hold=True)
    slow = asyncio.create_task(sandbox_client.import_people(first, "ana@example.com"))
    await sandbox_client.sandbox.faults.reached("qualtrics.import_status")
    assert (
        await sandbox_client.import_people(second, "ana@example.com", mailing_list_id="CG_another00001")
    ).created == 1
    assert not slow.done()
    sandbox_client.sandbox.faults.release()
    assert (await slow).created == 1


@pytest.mark.parametrize("reply", [silence, answer(200, "<html>"), result(id="../x"), result(id=""), result()])
async def test_batch_without_a_valid_id_is_an_error(
    server: Server, scripted_client: QualtricsClient, reply: Answer
) -> None:
    server.script(reply)
    with pytest.raises(ExportError) as error:
        await scripted_client.create_batch("POOL_1")
    assert error.value.reason in (Reason.REMOTE_UNAVAILABLE, Reason.REMOTE_REPLY_INVALID)
