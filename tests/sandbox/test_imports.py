"""Batches and imports: what is refused, what is counted, and who is in."""

from typing import Any

import pytest

from tests.environment.clock import SteeredClock
from tests.sandbox.caller import JSON, QualtricsCaller, error_code

ONE = {"email": "ana@example.com", "transactionData": {"runId": "r"}}
META = {"batchId": "BT_x", "fields": ["runId"]}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"contacts": [ONE]}, 400, "RP_10"),
        ({"transactionMeta": META}, 400, "RP_10"),
        ({"transactionMeta": META, "contacts": []}, 400, "QVAL_1"),
        ({"transactionMeta": META, "contacts": [ONE], "name": "x"}, 400, "RP_9"),
        ({"transactionMeta": {**META, "fields": []}, "contacts": [ONE]}, 400, "QVAL_1"),
        ({"transactionMeta": {"batchId": "BT_x"}, "contacts": [ONE]}, 400, "RP_10"),
        ({"transactionMeta": META, "contacts": [{**ONE, "phone": "1"}]}, 400, "RP_9"),
        ({"transactionMeta": META, "contacts": ["ana@example.com"]}, 400, "QVAL_1"),
        ({"transactionMeta": META, "contacts": [ONE] * 10_001}, 400, "QVAL_1"),
        ([], 400, "QVAL_1"),
    ],
)
async def test_an_import_that_the_facts_do_not_know_is_refused(
    qualtrics: QualtricsCaller, body: Any, status: int, code: str
) -> None:
    reply = await qualtrics.post(qualtrics.imports, body)
    assert (reply.status_code, error_code(reply)) == (status, code)


async def test_ten_thousand_contacts_are_taken_and_more_than_5_mb_are_not(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch()
    answer = await qualtrics.bring_in(batch_id, (f"user{n}@example.com" for n in range(10_000)))
    assert answer["transactions"]["count"]["created"] == 10_000
    fat = qualtrics.contacts(batch_id, ["ana@example.com"])
    fat["contacts"][0]["firstName"] = "x" * 5_000_000
    assert (await qualtrics.post(qualtrics.imports, fat)).status_code == 413
    calls = qualtrics.sandbox.ledger.of("qualtrics.import_contacts")
    assert [call.contacts for call in calls] == [10_000, None]
    assert calls[0].bytes < 5_000_000 < calls[1].bytes


@pytest.mark.parametrize("body", [{}, {"transactionIds": [], "name": "mine"}, {"transactionIds": None}])
async def test_a_batch_has_transaction_ids_and_nothing_else(qualtrics: QualtricsCaller, body: JSON) -> None:
    assert (await qualtrics.post(qualtrics.batches, body)).status_code == 400


async def test_an_import_is_accepted_first_and_done_later(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch()
    reply = await qualtrics.post(qualtrics.imports, qualtrics.contacts(batch_id, ["ana@example.com"]))
    assert reply.status_code == 202
    result = reply.json()["result"]
    assert set(result) == {"id", "contacts", "tracking", "status"}
    first, second = [(await qualtrics.get(f"{qualtrics.imports}/{result['id']}")).json()["result"] for _ in range(2)]
    assert (first["status"], first["transactions"]["count"]["created"]) == ("inProgress", 0)
    assert (second["status"], second["percentComplete"]) == ("complete", 100)
    assert second["contacts"]["count"] == {"added": 1, "updated": 0, "failed": 0}


async def test_an_import_ends_by_the_clock_even_when_nobody_asks(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    batch_id = await qualtrics.batch()
    await qualtrics.post(qualtrics.imports, qualtrics.contacts(batch_id, ["ana@example.com"]))
    assert qualtrics.sandbox.ledger.batches[batch_id].addresses == []
    clock.advance(6)
    assert qualtrics.sandbox.ledger.batches[batch_id].addresses == ["ana@example.com"]


async def test_one_import_at_a_time_for_a_mailing_list(qualtrics: QualtricsCaller, clock: SteeredClock) -> None:
    body = qualtrics.contacts(await qualtrics.batch(), ["ana@example.com"])
    assert (await qualtrics.post(qualtrics.imports, body)).status_code == 202
    assert (await qualtrics.post(qualtrics.imports, body)).status_code == 429
    clock.advance(6)
    assert (await qualtrics.post(qualtrics.imports, body)).status_code == 202


async def test_the_second_import_may_wait_instead(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.busy_list = "queue"
    body = qualtrics.contacts(await qualtrics.batch(), ["ana@example.com"])
    ids = [(await qualtrics.post(qualtrics.imports, body)).json()["result"]["id"] for _ in range(2)]
    second = (await qualtrics.get(f"{qualtrics.imports}/{ids[1]}")).json()["result"]
    assert (second["percentComplete"], second["status"]) == (0, "inProgress")
    for import_id in ids:
        assert (await qualtrics.finished(import_id))["status"] == "complete"


@pytest.mark.parametrize("wrong", ["POOL", "CG", "BT"])
async def test_a_wrong_id_does_not_fail_the_import_it_ends_with_nobody_in(
    qualtrics: QualtricsCaller, wrong: str
) -> None:
    batch_id = "BT_nobody" if wrong == "BT" else await qualtrics.batch()
    if wrong == "POOL":
        qualtrics.account.directory_id = "POOL_nobody0000001"
    if wrong == "CG":
        qualtrics.account.mailing_list_id = "CG_nobody0000001"
    answer = await qualtrics.bring_in(batch_id, ["ana@example.com"])
    assert (answer["status"], answer["percentComplete"]) == ("complete", 100)
    assert answer["contacts"]["count"] == {"added": 0, "updated": 0, "failed": 0}
    assert answer["transactions"]["count"] == {"created": 0}


async def test_contacts_that_mix_their_fields_come_back_as_indexes(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch()
    body = qualtrics.contacts(batch_id, ["ana@example.com", "ben@example.com", "eva@example.com"])
    body["contacts"][0]["transactionData"]["other"] = "x"
    body["contacts"][2]["embeddedData"] = {"runId": "x"}
    result = (await qualtrics.post(qualtrics.imports, body)).json()["result"]
    assert result["contacts"]["unprocessed"] == [0, 2]
    await qualtrics.finished(result["id"])
    assert qualtrics.sandbox.ledger.batches[batch_id].addresses == ["ben@example.com"]


async def test_a_contact_without_transaction_data_enters_the_list_but_not_the_batch(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch()
    body = qualtrics.contacts(batch_id, ["ana@example.com"])
    del body["contacts"][0]["transactionData"]
    answer = await qualtrics.finished((await qualtrics.post(qualtrics.imports, body)).json()["result"]["id"])
    assert (answer["contacts"]["count"]["added"], answer["transactions"]["count"]["created"]) == (1, 0)
    assert qualtrics.sandbox.ledger.batches[batch_id].addresses == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": 5},
        {"firstName": None},
        {"unsubscribed": "no"},
        {"transactionData": None},
        {"transactionData": {"runId": None}},
        {"transactionData": {"runId": ["x"]}},
        {"embeddedData": {"k": 1}},
    ],
    ids=str,
)
async def test_a_contact_with_a_wrong_type_comes_back_as_an_index(qualtrics: QualtricsCaller, wrong: JSON) -> None:
    batch_id = await qualtrics.batch()
    body = qualtrics.contacts(batch_id, ["ana@example.com", "ben@example.com"])
    body["contacts"][0] |= wrong
    result = (await qualtrics.post(qualtrics.imports, body)).json()["result"]
    assert result["contacts"]["unprocessed"] == [0]
    await qualtrics.finished(result["id"])
    assert qualtrics.sandbox.ledger.batches[batch_id].addresses == ["ben@example.com"]


@pytest.mark.parametrize("value", [7, 1.5, True, "x"])
async def test_transaction_data_may_hold_numbers_and_booleans(qualtrics: QualtricsCaller, value: object) -> None:
    batch_id = await qualtrics.batch()
    body = qualtrics.contacts(batch_id, ["ana@example.com"])
    body["contacts"][0]["transactionData"]["runId"] = value
    result = (await qualtrics.post(qualtrics.imports, body)).json()["result"]
    assert result["contacts"]["unprocessed"] == []
    assert (await qualtrics.finished(result["id"]))["transactions"]["count"]["created"] == 1


async def test_an_import_can_take_time_by_its_size_one_after_the_other(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    account = qualtrics.account
    account.import_seconds, account.import_seconds_per_thousand, account.busy_list = 0, 10, "queue"
    batch_id = await qualtrics.batch()
    first, second = (
        qualtrics.contacts(batch_id, (f"user{n}@example.com" for n in range(count))) for count in (3000, 1000)
    )
    for body in (first, second):
        assert (await qualtrics.post(qualtrics.imports, body)).status_code == 202
    done = []
    for _ in range(9):
        done.append(len(qualtrics.sandbox.ledger.batches[batch_id].addresses))
        clock.advance(5)
    assert done == [0, 0, 0, 0, 0, 0, 3000, 3000, 4000]


async def test_bad_addresses_are_counted_and_named_in_the_status(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.refused_addresses = {"eva@example.com"}
    qualtrics.account.vanishing_addresses = {"ben@example.com"}
    people = ["ana@example.com", "ben@example.com", "eva@example.com", "not an address"]
    body = qualtrics.contacts(await qualtrics.batch(), people)
    import_id = (await qualtrics.post(qualtrics.imports, body)).json()["result"]["id"]
    answer = await qualtrics.finished(import_id)
    assert answer["contacts"]["count"] == {"added": 1, "updated": 0, "failed": 2}
    assert answer["invalidEmails"] == ["eva@example.com", "not an address"]
    assert (await qualtrics.get(f"{qualtrics.imports}/{import_id}/summary")).status_code == 404


async def test_a_person_imported_twice_stands_in_the_batch_twice(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch()
    await qualtrics.bring_in(batch_id, ["ana@example.com"])
    answer = await qualtrics.bring_in(batch_id, ["Ana@Example.com"])
    assert answer["contacts"]["count"] == {"added": 0, "updated": 1, "failed": 0}
    batch = qualtrics.sandbox.ledger.batches[batch_id]
    assert (batch.repeated(), batch.run_ids) == ({"ana@example.com": 2}, ["run-1"])


async def test_who_is_in_a_batch_can_be_read_page_by_page(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.rows_page_size = 2
    batch_id = await qualtrics.batch_of("ana@example.com", "ben@example.com", "eva@example.com")
    url: str | None = qualtrics.url(f"{qualtrics.batches}/{batch_id}/transactions")
    found = []
    while url:
        page = (await qualtrics.http.get(url, headers=qualtrics.headers)).json()["result"]
        found += page["elements"]
        url = page["nextPage"]
    assert [entry["data"] for entry in found] == [{"runId": "run-1"}] * 3
    again = await qualtrics.post(qualtrics.batches, {"transactionIds": [entry["transactionId"] for entry in found]})
    assert len(qualtrics.sandbox.ledger.batches[again.json()["result"]["id"]].addresses) == 3


async def test_an_import_can_fail(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.import_ends = "failed"
    answer = await qualtrics.bring_in(await qualtrics.batch(), ["ana@example.com"])
    assert (answer["status"], answer["transactions"]["count"]["created"]) == ("failed", 0)


async def test_an_import_is_found_under_its_own_list_only(qualtrics: QualtricsCaller) -> None:
    body = qualtrics.contacts(await qualtrics.batch(), ["ana@example.com"])
    import_id = (await qualtrics.post(qualtrics.imports, body)).json()["result"]["id"]
    qualtrics.account.mailing_list_id = "CG_another000001"
    assert (await qualtrics.get(f"{qualtrics.imports}/{import_id}")).status_code == 404
