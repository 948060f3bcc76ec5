"""Tests of batches and imports: refused requests, counts, and the people who are in a batch."""

from typing import Any

import pytest

from qualtrics_exporter.sandbox import Account
from tests.sandbox.caller import JSON, QualtricsCaller, error_code
from tests.support.clock import SteeredClock

CONTACT = {"email": "ana@example.com", "transactionData": {"runId": "r"}}
META = {"batchId": "BT_x", "fields": ["runId"]}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param({"contacts": [CONTACT]}, 400, "RP_10", id="no transactionMeta"),
        pytest.param({"transactionMeta": META}, 400, "RP_10", id="no contacts"),
        pytest.param({"transactionMeta": META, "contacts": []}, 400, "QVAL_1", id="empty contacts"),
        pytest.param({"transactionMeta": META, "contacts": [CONTACT], "name": "x"}, 400, "RP_9", id="unknown key"),
        pytest.param(
            {"transactionMeta": {**META, "fields": []}, "contacts": [CONTACT]}, 400, "QVAL_1", id="empty fields"
        ),
        pytest.param({"transactionMeta": {"batchId": "BT_x"}, "contacts": [CONTACT]}, 400, "RP_10", id="no fields"),
        pytest.param(
            {"transactionMeta": META, "contacts": [{**CONTACT, "phone": "1"}]},
            400,
            "RP_9",
            id="unknown key of a contact",
        ),
        pytest.param(
            {"transactionMeta": META, "contacts": ["ana@example.com"]}, 400, "QVAL_1", id="contact that is a text"
        ),
        pytest.param({"transactionMeta": META, "contacts": [CONTACT] * 10_001}, 400, "QVAL_1", id="10001 contacts"),
        pytest.param([], 400, "QVAL_1", id="body that is a list"),
    ],
)
async def test_import_with_an_undocumented_body_is_refused(
    qualtrics: QualtricsCaller, body: Any, status: int, code: str
) -> None:
    reply = await qualtrics.post(qualtrics.imports_path, body)
    assert (reply.status_code, error_code(reply)) == (status, code)


async def test_import_accepts_10000_contacts_and_refuses_more_than_5_mb(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.create_batch()
    answer = await qualtrics.import_people(batch_id, (f"user{n}@example.com" for n in range(10_000)))
    assert answer["transactions"]["count"]["created"] == 10_000
    too_large = qualtrics.import_body(batch_id, ["ana@example.com"])
    too_large["contacts"][0]["firstName"] = "x" * 5_000_000
    assert (await qualtrics.post(qualtrics.imports_path, too_large)).status_code == 413
    calls = qualtrics.sandbox.recorder.of("qualtrics.import_contacts")
    assert [call.contacts for call in calls] == [10_000, None]
    assert calls[0].bytes < 5_000_000 < calls[1].bytes


@pytest.mark.parametrize(
    "body",
    [{}, {"transactionIds": [], "name": "mine"}, {"transactionIds": None}],
    ids=["no key", "unknown key", "null instead of a list"],
)
async def test_batch_request_with_other_keys_or_no_list_of_ids_is_refused(
    qualtrics: QualtricsCaller, body: JSON
) -> None:
    assert (await qualtrics.post(qualtrics.batches_path, body)).status_code == 400


async def test_import_is_accepted_and_completes_later(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.create_batch()
    reply = await qualtrics.post(qualtrics.imports_path, qualtrics.import_body(batch_id, ["ana@example.com"]))
    assert reply.status_code == 202
    result = reply.json()["result"]
    assert set(result) == {"id", "contacts", "tracking", "status"}
    first, second = [
        (await qualtrics.get(f"{qualtrics.imports_path}/{result['id']}")).json()["result"] for _ in range(2)
    ]
    assert (first["status"], first["transactions"]["count"]["created"]) == ("inProgress", 0)
    assert (second["status"], second["percentComplete"]) == ("complete", 100)
    assert second["contacts"]["count"] == {"added": 1, "updated": 0, "failed": 0}


async def test_import_completes_by_the_clock_without_status_requests(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    batch_id = await qualtrics.create_batch()
    await qualtrics.post(qualtrics.imports_path, qualtrics.import_body(batch_id, ["ana@example.com"]))
    assert qualtrics.sandbox.recorder.batches[batch_id].addresses == []
    clock.advance(6)
    assert qualtrics.sandbox.recorder.batches[batch_id].addresses == ["ana@example.com"]


async def test_setting_busy_list_refuses_a_second_import_until_the_first_ends(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    qualtrics.account.busy_list = "refuse"
    body = qualtrics.import_body(await qualtrics.create_batch(), ["ana@example.com"])
    assert (await qualtrics.post(qualtrics.imports_path, body)).status_code == 202
    assert (await qualtrics.post(qualtrics.imports_path, body)).status_code == 429
    clock.advance(6)
    assert (await qualtrics.post(qualtrics.imports_path, body)).status_code == 202


async def test_second_import_for_a_mailing_list_is_queued(qualtrics: QualtricsCaller) -> None:
    body = qualtrics.import_body(await qualtrics.create_batch(), ["ana@example.com"])
    ids = [(await qualtrics.post(qualtrics.imports_path, body)).json()["result"]["id"] for _ in range(2)]
    second = (await qualtrics.get(f"{qualtrics.imports_path}/{ids[1]}")).json()["result"]
    assert (second["percentComplete"], second["status"]) == (0, "inProgress")
    for import_id in ids:
        assert (await qualtrics.import_result(import_id))["status"] == "complete"


@pytest.mark.parametrize("wrong", ["POOL", "CG", "BT"], ids=["directory", "mailing list", "batch"])
async def test_import_with_a_wrong_id_completes_without_importing_anybody(
    qualtrics: QualtricsCaller, wrong: str
) -> None:
    batch_id = "BT_missing" if wrong == "BT" else await qualtrics.create_batch()
    if wrong == "POOL":
        qualtrics.account.directory_id = "POOL_missing0000001"
    if wrong == "CG":
        qualtrics.account.mailing_list_id = "CG_missing0000001"
    answer = await qualtrics.import_people(batch_id, ["ana@example.com"])
    assert (answer["status"], answer["percentComplete"]) == ("complete", 100)
    assert answer["contacts"]["count"] == {"added": 0, "updated": 0, "failed": 0}
    assert answer["transactions"]["count"] == {"created": 0}


async def test_contacts_with_wrong_keys_in_their_data_are_unprocessed(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.create_batch()
    body = qualtrics.import_body(batch_id, ["ana@example.com", "ben@example.com", "eva@example.com"])
    body["contacts"][0]["transactionData"]["other"] = "x"
    body["contacts"][2]["embeddedData"] = {"runId": "x"}
    result = (await qualtrics.post(qualtrics.imports_path, body)).json()["result"]
    assert result["contacts"]["unprocessed"] == [0, 2]
    await qualtrics.import_result(result["id"])
    assert qualtrics.sandbox.recorder.batches[batch_id].addresses == ["ben@example.com"]


async def test_contact_without_transaction_data_enters_the_list_but_not_the_batch(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.create_batch()
    body = qualtrics.import_body(batch_id, ["ana@example.com"])
    del body["contacts"][0]["transactionData"]
    answer = await qualtrics.import_result((await qualtrics.post(qualtrics.imports_path, body)).json()["result"]["id"])
    assert (answer["contacts"]["count"]["added"], answer["transactions"]["count"]["created"]) == (1, 0)
    assert qualtrics.sandbox.recorder.batches[batch_id].addresses == []


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
async def test_contact_with_a_value_of_a_wrong_type_is_unprocessed(qualtrics: QualtricsCaller, wrong: JSON) -> None:
    batch_id = await qualtrics.create_batch()
    body = qualtrics.import_body(batch_id, ["ana@example.com", "ben@example.com"])
    body["contacts"][0] |= wrong
    result = (await qualtrics.post(qualtrics.imports_path, body)).json()["result"]
    assert result["contacts"]["unprocessed"] == [0]
    await qualtrics.import_result(result["id"])
    assert qualtrics.sandbox.recorder.batches[batch_id].addresses == ["ben@example.com"]


@pytest.mark.parametrize("value", [7, 1.5, True, "x"])
async def test_transaction_data_accepts_numbers_booleans_and_texts(qualtrics: QualtricsCaller, value: object) -> None:
    batch_id = await qualtrics.create_batch()
    body = qualtrics.import_body(batch_id, ["ana@example.com"])
    body["contacts"][0]["transactionData"]["runId"] = value
    result = (await qualtrics.post(qualtrics.imports_path, body)).json()["result"]
    assert result["contacts"]["unprocessed"] == []
    assert (await qualtrics.import_result(result["id"]))["transactions"]["count"]["created"] == 1


async def test_queued_imports_run_one_after_the_other_and_take_time_by_size(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    account = qualtrics.account
    account.import_seconds, account.import_seconds_per_thousand = 0, 10
    batch_id = await qualtrics.create_batch()
    first, second = (
        qualtrics.import_body(batch_id, (f"user{n}@example.com" for n in range(count))) for count in (3000, 1000)
    )
    for body in (first, second):
        assert (await qualtrics.post(qualtrics.imports_path, body)).status_code == 202
    imported = []
    for _ in range(9):
        imported.append(len(qualtrics.sandbox.recorder.batches[batch_id].addresses))
        clock.advance(5)
    assert imported == [0, 0, 0, 0, 0, 0, 3000, 3000, 4000]


async def test_queued_import_starts_when_the_one_before_ends_even_if_nobody_looks(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    qualtrics.account.import_seconds, qualtrics.account.import_seconds_per_thousand = 10, 0.001
    batch_id = await qualtrics.create_batch()
    for name in ("ana", "ben", "eva"):
        await qualtrics.post(qualtrics.imports_path, qualtrics.import_body(batch_id, [f"{name}@example.com"]))
    clock.advance(25)
    await qualtrics.create_batch()
    assert qualtrics.sandbox.recorder.batches[batch_id].addresses == ["ana@example.com", "ben@example.com"]


async def test_25_imports_are_done_at_once_and_the_others_wait(
    qualtrics: QualtricsCaller, account: Account, clock: SteeredClock
) -> None:
    account.import_seconds, account.import_seconds_per_thousand = 10, 0.001
    batch_id = await qualtrics.create_batch()
    for n in range(30):
        account.mailing_list_id = f"CG_list{n:011d}"
        account.add_mailing_list(account.mailing_list_id)
        await qualtrics.post(qualtrics.imports_path, qualtrics.import_body(batch_id, [f"user{n}@example.com"]))
    imported = []
    for _ in range(3):
        clock.advance(11)
        await qualtrics.create_batch()
        imported.append(len(qualtrics.sandbox.recorder.batches[batch_id].addresses))
    assert imported == [25, 30, 30]


async def test_import_status_counts_and_lists_invalid_addresses(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.refused_addresses = {"eva@example.com"}
    qualtrics.account.vanishing_addresses = {"ben@example.com"}
    people = ["ana@example.com", "ben@example.com", "eva@example.com", "not an address"]
    body = qualtrics.import_body(await qualtrics.create_batch(), people)
    import_id = (await qualtrics.post(qualtrics.imports_path, body)).json()["result"]["id"]
    answer = await qualtrics.import_result(import_id)
    assert answer["contacts"]["count"] == {"added": 1, "updated": 0, "failed": 2}
    assert answer["invalidEmails"] == ["eva@example.com", "not an address"]
    assert (await qualtrics.get(f"{qualtrics.imports_path}/{import_id}/summary")).status_code == 404


async def test_person_who_is_imported_twice_is_in_the_batch_twice(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.create_batch()
    await qualtrics.import_people(batch_id, ["ana@example.com"])
    answer = await qualtrics.import_people(batch_id, ["Ana@Example.com"])
    assert answer["contacts"]["count"] == {"added": 0, "updated": 1, "failed": 0}
    batch = qualtrics.sandbox.recorder.batches[batch_id]
    assert (batch.repeated(), batch.run_ids) == ({"ana@example.com": 2}, ["run-1"])


async def test_transactions_of_a_batch_are_paged_and_can_enter_another_batch(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.rows_page_size = 2
    batch_id = await qualtrics.batch_with("ana@example.com", "ben@example.com", "eva@example.com")
    url: str | None = qualtrics.url(f"{qualtrics.batches_path}/{batch_id}/transactions")
    transactions = []
    while url:
        page = (await qualtrics.http.get(url, headers=qualtrics.headers)).json()["result"]
        transactions += page["elements"]
        url = page["nextPage"]
    assert [transaction["data"] for transaction in transactions] == [{"runId": "run-1"}] * 3
    ids = [transaction["transactionId"] for transaction in transactions]
    another = await qualtrics.post(qualtrics.batches_path, {"transactionIds": ids})
    assert len(qualtrics.sandbox.recorder.batches[another.json()["result"]["id"]].addresses) == 3


async def test_setting_import_ends_makes_an_import_fail(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.import_ends = "failed"
    answer = await qualtrics.import_people(await qualtrics.create_batch(), ["ana@example.com"])
    assert (answer["status"], answer["transactions"]["count"]["created"]) == ("failed", 0)


async def test_import_is_not_found_under_another_mailing_list(qualtrics: QualtricsCaller) -> None:
    body = qualtrics.import_body(await qualtrics.create_batch(), ["ana@example.com"])
    import_id = (await qualtrics.post(qualtrics.imports_path, body)).json()["result"]["id"]
    qualtrics.account.mailing_list_id = "CG_another000001"
    assert (await qualtrics.get(f"{qualtrics.imports_path}/{import_id}")).status_code == 404
