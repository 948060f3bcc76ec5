"""Bringing people into a batch, nobody twice."""

import asyncio
import json

import pytest

from qualtrics_exporter.qualtrics.client import Imported, QualtricsClient
from qualtrics_exporter.remote.errors import ExportError, OutcomeUnknown, Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.sandbox import Account, Sandbox
from tests.qualtrics.conftest import Brand
from tests.remote.clock import HastyClock
from tests.remote.servers import Answer, Server, answer, result, silence

STARTED = answer(202, {"result": {"id": "PGRS_1", "contacts": {"unprocessed": []}, "status": "inProgress"}})


async def bring_in(qualtrics: QualtricsClient, *addresses: str) -> Imported:
    return await qualtrics.import_contacts("POOL_1", "CG_1", "BT_1", "run-1", addresses or ("a@example.com",))


async def test_everybody_is_in_once(brand: Brand) -> None:
    batch_id = await brand.batch()
    imported = await brand.bring_in(batch_id, "ana@example.com", "ben@example.com")
    assert imported == Imported(created=2, failed=0, unprocessed=0)
    batch = brand.sandbox.ledger.batches[batch_id]
    assert batch.addresses == ["ana@example.com", "ben@example.com"]
    assert batch.run_ids == ["run-1"]


async def test_addresses_of_any_alphabet_arrive_as_they_are(brand: Brand) -> None:
    people = ["jürgen@example.com", "j.o+x-y_z@example.com", "名@example.com", "a\\b@example.com"]
    batch_id = await brand.batch_of(*people)
    assert brand.sandbox.ledger.batches[batch_id].addresses == people


async def test_who_is_refused_is_counted(brand: Brand) -> None:
    brand.account.refused_addresses = {"ben@example.com"}
    brand.account.vanishing_addresses = {"eva@example.com"}
    batch_id = await brand.batch()
    imported = await brand.bring_in(batch_id, "ana@example.com", "ben@example.com", "eva@example.com")
    assert imported == Imported(created=1, failed=1, unprocessed=0)


@pytest.mark.parametrize(
    "ids", [{"directory_id": "POOL_missing00001"}, {"mailing_list_id": "CG_missing00001"}, {}], ids=str
)
async def test_a_wrong_id_ends_with_nobody_in(brand: Brand, ids: dict[str, str]) -> None:
    batch_id = await brand.batch() if ids else "BT_missing00001"
    assert await brand.bring_in(batch_id, "ana@example.com", **ids) == Imported(0, 0, 0)


async def test_a_batch_is_asked_for_again_when_the_reply_is_lost(brand: Brand) -> None:
    """An empty batch that stays behind harms nobody."""
    brand.sandbox.faults.add("qualtrics.create_batch", drop="after")
    batch_id = await brand.batch()
    assert len(brand.sandbox.ledger.batches) == 2
    assert batch_id == list(brand.sandbox.ledger.batches)[-1]


LOST: dict[str, dict[str, object]] = {
    "dropped before": {"drop": "before"},
    "dropped after": {"drop": "after"},
    "a 500": {"status": 500},
    "a 500 after it was done": {"status": 500, "apply_effect": True},
    "a 504 after it was done": {"status": 504, "apply_effect": True},
    "a redirect": {"status": 302},
    "garbage": {"body": "<html>"},
    "a page of a filter": {"status": 406, "body": "<html>", "apply_effect": True},
    "a bare 401 of a filter": {"status": 401, "body": b"", "apply_effect": True},
    "JSON of a gateway": {"status": 403, "body": '{"message": "Forbidden"}', "apply_effect": True},
    "cut": {"truncate": 5},
    "no id": {"body": '{"result": {}}'},
}


@pytest.mark.parametrize("case", LOST)
async def test_people_who_may_be_in_are_never_brought_in_again(brand: Brand, case: str) -> None:
    batch_id = await brand.batch()
    brand.sandbox.faults.add("qualtrics.import_contacts", **LOST[case])
    with pytest.raises(OutcomeUnknown) as error:
        await brand.bring_in(batch_id, "ana@example.com")
    assert error.value.reason in (Reason.REMOTE_UNAVAILABLE, Reason.REMOTE_REPLY_INVALID)
    assert brand.sandbox.ledger.count("qualtrics.import_contacts") == 1
    assert batch_id in error.value.what


@pytest.mark.parametrize("status", [429, 401])
async def test_an_import_that_was_refused_is_asked_for_again(brand: Brand, status: int) -> None:
    batch_id = await brand.batch()
    brand.sandbox.faults.add("qualtrics.import_contacts", status=status)
    assert await brand.bring_in(batch_id, "ana@example.com") == Imported(1, 0, 0, limited=status == 429)
    assert brand.sandbox.ledger.batches[batch_id].repeated() == {}


@pytest.mark.parametrize(("effect", "people"), [(False, 3), (True, 6)])
async def test_the_people_of_a_batch_are_counted_over_all_pages(
    brand: Brand, account: Account, effect: bool, people: int
) -> None:
    account.rows_page_size = 2
    batch_id = await brand.batch()
    brand.sandbox.faults.add("qualtrics.import_contacts", status=429, apply_effect=effect)
    await brand.bring_in(batch_id, "ana@example.com", "ben@example.com", "eva@example.com")
    assert await brand.qualtrics.count_batch(account.directory_id, batch_id) == people


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.REQUEST_REFUSED),
        (403, Reason.NOT_PERMITTED),
        (404, Reason.MAILING_LIST_NOT_FOUND),
        (413, Reason.REQUEST_REFUSED),
    ],
)
async def test_an_import_that_is_refused_for_good_is_told(brand: Brand, status: int, reason: Reason) -> None:
    batch_id = await brand.batch()
    brand.sandbox.faults.add("qualtrics.import_contacts", status=status)
    with pytest.raises(Permanent) as error:
        await brand.bring_in(batch_id, "ana@example.com")
    assert error.value.reason is reason
    assert brand.sandbox.ledger.count("qualtrics.import_contacts") == 1


async def test_an_import_takes_one_question_in_the_end(brand: Brand, clock: HastyClock) -> None:
    """The status has a limit of its own, and no import is done in a second."""
    batch_id = await brand.batch()
    await brand.bring_in(batch_id, "ana@example.com")
    assert brand.sandbox.ledger.count("qualtrics.import_status") == 1


async def test_a_long_import_is_asked_about_ever_less_often(brand: Brand, account: Account, clock: HastyClock) -> None:
    account.import_polls, account.import_seconds = 10**6, 900
    batch_id = await brand.batch()
    assert (await brand.bring_in(batch_id, "ana@example.com")).created == 1
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[-1] == 30
    assert brand.sandbox.ledger.count("qualtrics.import_status") < 40


async def test_an_import_that_never_ends_is_given_up_as_unknown(
    brand: Brand, account: Account, clock: HastyClock
) -> None:
    account.import_polls, account.import_seconds = 10**6, 10**6
    batch_id = await brand.batch()
    with pytest.raises(OutcomeUnknown) as error:
        await brand.bring_in(batch_id, "ana@example.com")
    assert error.value.reason is Reason.REMOTE_UNAVAILABLE
    assert 1799 < sum(clock.slept) < 1900
    assert "30 minutes" in error.value.what


async def test_an_import_that_failed_may_have_brought_in_some(brand: Brand, account: Account) -> None:
    account.import_ends = "failed"
    batch_id = await brand.batch()
    with pytest.raises(OutcomeUnknown):
        await brand.bring_in(batch_id, "ana@example.com")


@pytest.mark.parametrize("order", [{"status": 500}, {"drop": "after"}, {"status": 429}, {"status": 404}], ids=str)
async def test_trouble_while_asking_is_lived_through(brand: Brand, order: dict[str, object]) -> None:
    batch_id = await brand.batch()
    brand.sandbox.faults.add("qualtrics.import_status", times=2, **order)
    assert (await brand.bring_in(batch_id, "ana@example.com")).created == 1


@pytest.mark.parametrize("order", [{"status": 500}, {"drop": "after"}, {"status": 404}, {"body": "<html>"}], ids=str)
async def test_an_import_that_cannot_be_asked_about_is_unknown(brand: Brand, order: dict[str, object]) -> None:
    batch_id = await brand.batch()
    brand.sandbox.faults.add("qualtrics.import_status", times=None, **order)
    with pytest.raises(OutcomeUnknown):
        await brand.bring_in(batch_id, "ana@example.com")
    assert brand.sandbox.ledger.count("qualtrics.import_contacts") == 1


ENDS: dict[str, tuple[dict[str, object], Imported | None]] = {
    "complete": ({"status": "complete"}, Imported(3, 1, 0)),
    "in another case": ({"status": "Complete"}, Imported(3, 1, 0)),
    "a word that is new": ({"status": "finished", "percentComplete": 100}, Imported(3, 1, 0)),
    "no failures counted": ({"status": "complete", "contacts": {}}, Imported(3, 0, 0)),
    "no transactions counted": ({"status": "complete", "transactions": {}}, None),
    "counts that are none": ({"status": "complete", "transactions": {"count": {"created": "3"}}}, None),
    "a negative count": ({"status": "complete", "transactions": {"count": {"created": -1}}}, None),
    "no status": ({"percentComplete": 100}, None),
    "an error": ({"status": "error", "percentComplete": 100}, None),
}


@pytest.mark.parametrize("case", ENDS)
async def test_the_end_of_an_import_is_read_carefully(server: Server, odd: QualtricsClient, case: str) -> None:
    fields, imported = ENDS[case]
    counts = {"contacts": {"count": {"failed": 1}}, "transactions": {"count": {"created": 3}}}
    server.script(STARTED, result(**{**counts, **fields}))
    if imported is not None:
        assert await bring_in(odd) == imported
        return
    with pytest.raises(OutcomeUnknown):
        await bring_in(odd)


async def test_who_was_not_looked_at_is_counted(server: Server, odd: QualtricsClient) -> None:
    started = answer(202, {"result": {"id": "PGRS_1", "contacts": {"unprocessed": [0, 2]}}})
    server.script(started, result(status="complete", transactions={"count": {"created": 1}}))
    assert await bring_in(odd) == Imported(created=1, failed=0, unprocessed=2)


async def test_the_request_is_the_documented_one(server: Server, odd: QualtricsClient) -> None:
    server.script(STARTED, result(status="complete", transactions={"count": {"created": 1}}))
    await bring_in(odd, "a@example.com")
    post, poll = server.heard
    assert post.target == "/API/v3/directories/POOL_1/mailinglists/CG_1/transactioncontacts"
    assert poll.target == f"{post.target}/PGRS_1"
    assert json.loads(post.body) == {
        "transactionMeta": {"batchId": "BT_1", "fields": ["runId"]},
        "contacts": [{"email": "a@example.com", "transactionData": {"runId": "run-1"}}],
    }


async def test_one_import_at_a_time_for_a_mailing_list(brand: Brand, account: Account) -> None:
    """Qualtrics refuses a second one; in this process it is not even asked."""
    account.import_polls = 3
    batches = [await brand.batch() for _ in range(4)]
    await asyncio.gather(*(brand.bring_in(batch_id, "ana@example.com") for batch_id in batches))
    assert {call.status for call in brand.sandbox.ledger.of("qualtrics.import_contacts")} == {202}
    assert brand.sandbox.ledger.count("qualtrics.import_contacts") == 4


async def test_imports_for_other_lists_do_not_wait(brand: Brand, account: Account) -> None:
    account.add_mailing_list("CG_another00001")
    first, second = await brand.batch(), await brand.batch()
    brand.sandbox.faults.add("qualtrics.import_status", hold=True)
    slow = asyncio.create_task(brand.bring_in(first, "ana@example.com"))
    await brand.sandbox.faults.reached("qualtrics.import_status")
    assert (await brand.bring_in(second, "ana@example.com", mailing_list_id="CG_another00001")).created == 1
    assert not slow.done()
    brand.sandbox.faults.release()
    assert (await slow).created == 1


async def test_an_import_of_somebody_else_is_waited_for(brand: Brand, account: Account, sandbox: Sandbox) -> None:
    batch_id = await brand.batch()
    sandbox._qualtrics_state.start_import(
        account.directory_id, account.mailing_list_id, batch_id, [{"email": "x@example.com"}]
    )
    assert (await brand.bring_in(batch_id, "ana@example.com")).created == 1
    statuses = [call.status for call in sandbox.ledger.of("qualtrics.import_contacts")]
    assert statuses[-1] == 202
    assert set(statuses[:-1]) == {429}


@pytest.mark.parametrize("reply", [silence, answer(200, "<html>"), result(id="../x"), result(id=""), result()])
async def test_a_batch_without_an_id_is_none(server: Server, odd: QualtricsClient, reply: Answer) -> None:
    server.script(reply)
    with pytest.raises(ExportError) as error:
        await odd.create_batch("POOL_1")
    assert error.value.reason in (Reason.REMOTE_UNAVAILABLE, Reason.REMOTE_REPLY_INVALID)
