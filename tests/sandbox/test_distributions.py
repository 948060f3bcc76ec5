"""Sending: what is refused, who is mailed, and what can be looked up afterwards."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.environment.clock import SteeredClock
from tests.sandbox.caller import JSON, QualtricsCaller, error_code, iso

ANA, BEN, EVA = "ana@example.com", "ben@example.com", "eva@example.com"


def without(*path: str) -> Callable[[JSON], None]:
    def change(body: JSON) -> None:
        for key in path[:-1]:
            body = body[key]
        del body[path[-1]]

    return change


def put(value: object, *path: str) -> Callable[[JSON], None]:
    def change(body: JSON) -> None:
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (without("sendDate"), "RP_10"),
        (without("message"), "RP_10"),
        (without("message", "libraryId"), "RP_10"),
        (without("recipients"), "RP_10"),
        (without("header", "subject"), "RP_10"),
        (without("surveyLink"), "RP_10"),
        (without("surveyLink", "surveyId"), "RP_10"),
        (put("x", "name"), "RP_9"),
        (put({}, "headers"), "RP_9"),
        (put("x", "header", "fromAddress"), "RP_9"),
        (put("Individual", "surveyLink", "linkType"), "RP_9"),
        (put("x", "recipients", "batchId"), "RP_9"),
        (put({}, "recipients"), "QVAL_1"),
        (put("CG_everybody0001", "recipients", "mailingListId"), "QVAL_1"),
        (put({"contactId": "CGC_x"}, "recipients"), "QVAL_1"),
        (put(None, "recipients", "transactionBatchId"), "QVAL_1"),
        (put("Personal", "surveyLink", "type"), "QVAL_1"),
        (put("2026-01-05T10:00:00.000Z", "sendDate"), "QVAL_1"),
        (put("2026-01-05T10:00:00+00:00", "sendDate"), "QVAL_1"),
        (put("2026-02-30T10:00:00Z", "sendDate"), "QVAL_1"),
        (put("2026-01-05", "surveyLink", "expirationDate"), "QVAL_1"),
        (put("", "header", "subject"), "QVAL_1"),
        (put(None, "header", "replyToEmail"), "QVAL_1"),
        (put("nobody", "header", "fromEmail"), "QVAL_1"),
        (put("1234", "surveyLink", "surveyId"), "QVAL_1"),
        (put({f"k{n}": "v" for n in range(11)}, "embeddedData"), "QVAL_1"),
        (put({"k": "v" * 1025}, "embeddedData"), "QVAL_1"),
        (put({"k" * 201: "v"}, "embeddedData"), "QVAL_1"),
        (put({"k": 1}, "embeddedData"), "QVAL_1"),
        (put(["X-Campaign"], "customHeaders"), "QVAL_1"),
    ],
)
async def test_a_distribution_that_the_facts_do_not_know_is_refused(
    qualtrics: QualtricsCaller, change: Callable[[JSON], None], code: str
) -> None:
    body = qualtrics.letter("BT_x")
    change(body)
    reply = await qualtrics.post("/distributions", body)
    assert (reply.status_code, error_code(reply)) == (400, code)
    assert qualtrics.sandbox.ledger.distributions == []


async def test_the_people_of_the_batch_are_mailed_and_nobody_else(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_of(ANA, BEN)
    body = qualtrics.letter(batch_id, embeddedData={"runId": "run-1"})
    body["header"]["replyToEmail"] = "dex@example.com"
    body["surveyLink"]["expirationDate"] = "2026-02-01T00:00:00Z"
    reply = await qualtrics.post("/distributions", body)
    assert set(reply.json()["meta"]) == {"httpStatus", "requestId"}
    (sent,) = qualtrics.sandbox.ledger.distributions
    assert (sent.id, sent.batch_id, sent.run_ids) == (reply.json()["result"]["id"], batch_id, ["run-1"])
    assert (sent.recipients, sent.request) == ([ANA, BEN], body)
    assert qualtrics.sandbox.ledger.mails() == {ANA: 1, BEN: 1}


async def test_whoever_stands_in_the_batch_twice_gets_two_mails(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch()
    await qualtrics.bring_in(batch_id, [ANA])
    await qualtrics.bring_in(batch_id, ["ANA@example.com"])
    await qualtrics.send(batch_id)
    assert qualtrics.sandbox.ledger.mails() == {ANA: 2}


async def test_sending_before_the_import_is_done_mails_nobody(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch()
    await qualtrics.post(qualtrics.imports, qualtrics.contacts(batch_id, [ANA]))
    await qualtrics.send(batch_id)
    assert not qualtrics.sandbox.ledger.mails()


async def test_a_mailing_list_as_recipients_mails_the_whole_list(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_of(ANA)
    await qualtrics.send(batch_id, recipients={"mailingListId": qualtrics.account.mailing_list_id})
    assert set(qualtrics.sandbox.ledger.mails()) == {ANA, "bystander1@example.com", "bystander2@example.com"}


async def test_a_fresh_distribution_is_pending_with_zero_stats_and_done_later(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    distribution_id = await qualtrics.send(await qualtrics.batch_of(ANA, BEN))
    shown = await qualtrics.read(distribution_id)
    assert (shown["requestStatus"], set(shown["stats"].values())) == ("Pending", {0})
    clock.advance(6)
    shown = await qualtrics.read(distribution_id)
    assert (shown["requestStatus"], shown["stats"]["sent"]) == ("Done", 2)
    assert {"header", "transactionBatchId"}.isdisjoint(shown)
    assert shown["headers"]["subject"] == "How is Teams?"
    assert shown["surveyLink"]["linkType"] == "Individual"


async def test_a_distribution_of_the_future_is_mailed_when_its_time_has_come(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    later = iso(clock.now() + timedelta(hours=1))
    await qualtrics.send(await qualtrics.batch_of(ANA), sendDate=later)
    assert not qualtrics.sandbox.ledger.mails()
    clock.advance(3600)
    assert qualtrics.sandbox.ledger.mails() == {ANA: 1}


@pytest.mark.parametrize(("hours", "mailed"), [(11.9, 1), (12.1, 2)])
async def test_the_same_letter_within_the_window_is_blocked(
    qualtrics: QualtricsCaller, clock: SteeredClock, hours: float, mailed: int
) -> None:
    await qualtrics.send(await qualtrics.batch_of(ANA))
    clock.advance(hours * 3600)
    await qualtrics.log_in("qualtrics")
    again = await qualtrics.send(await qualtrics.batch_of("Ana@Example.com"))
    assert qualtrics.sandbox.ledger.mails()[ANA] == mailed
    clock.advance(6)
    assert (await qualtrics.read(again))["stats"]["blocked"] == 2 - mailed


async def test_another_subject_is_another_letter(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_of(ANA)
    await qualtrics.send(batch_id)
    header = {**qualtrics.letter(batch_id)["header"], "subject": "Once more"}
    await qualtrics.send(batch_id, header=header)
    assert qualtrics.sandbox.ledger.mails() == {ANA: 2}


@pytest.mark.parametrize(
    "change",
    [
        put("SV_oldSurvey00001", "surveyLink", "surveyId"),
        put("SV_nobody00001", "surveyLink", "surveyId"),
        put("MS_nobody00001", "message", "messageId"),
        put("UR_nobody00001", "message", "libraryId"),
        put("dex@example.com", "header", "fromEmail"),
    ],
)
async def test_what_cannot_be_sent_passes_the_post_and_fails_later(
    qualtrics: QualtricsCaller, clock: SteeredClock, change: Callable[[JSON], None]
) -> None:
    body = qualtrics.letter(await qualtrics.batch_of(ANA, BEN))
    change(body)
    assert (await qualtrics.post("/distributions", body)).status_code == 200
    (sent,) = qualtrics.sandbox.ledger.distributions
    assert (sent.recipients, sent.failed) == ([], [ANA, BEN])
    clock.advance(6)
    params = {"surveyId": body["surveyLink"]["surveyId"]}
    shown = (await qualtrics.get(f"/distributions/{sent.id}", **params)).json()["result"]
    assert shown["stats"]["failed"] == 2


async def test_a_registered_domain_may_send(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.own_domains = {"example.com"}
    header = {**qualtrics.letter("BT_x")["header"], "fromEmail": "dex@example.com"}
    await qualtrics.send(await qualtrics.batch_of(ANA), header=header)
    assert qualtrics.sandbox.ledger.mails() == {ANA: 1}


async def test_opted_out_and_bouncing_people_show_in_the_history(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    qualtrics.account.opted_out_addresses = {BEN}
    qualtrics.account.bouncing_addresses = {EVA}
    distribution_id = await qualtrics.send(await qualtrics.batch_of(ANA, BEN, EVA))
    clock.advance(6)
    stats = (await qualtrics.read(distribution_id))["stats"]
    assert (stats["sent"], stats["skipped"], stats["bounced"]) == (2, 1, 1)
    history = (await qualtrics.get(f"/distributions/{distribution_id}/history")).json()["result"]["elements"]
    assert [row["status"] for row in history] == ["Success", "HardBounce", "Skipped"]


async def test_reading_needs_the_right_survey(qualtrics: QualtricsCaller) -> None:
    distribution_id = await qualtrics.send(await qualtrics.batch_of(ANA))
    reply = await qualtrics.get(f"/distributions/{distribution_id}")
    assert (reply.status_code, error_code(reply)) == (400, "RP_10")
    reply = await qualtrics.get(f"/distributions/{distribution_id}", surveyId="SV_nobody00001")
    assert reply.status_code == 404
    assert (await qualtrics.get("/distributions")).status_code == 400


async def test_the_list_is_filtered_by_date_and_paged(qualtrics: QualtricsCaller, clock: SteeredClock) -> None:
    batch_id = await qualtrics.batch_of(ANA)
    start = clock.now()
    ids = []
    for _ in range(5):
        ids.append(await qualtrics.send(batch_id))
        clock.advance(60)
    qualtrics.account.distributions_page_size = 2
    assert [entry["id"] for entry in await qualtrics.listed(useNewPaginationScheme="true")] == ids[::-1]
    window = {"sendStartDate": iso(start + timedelta(seconds=30)), "sendEndDate": iso(start + timedelta(seconds=150))}
    assert [entry["id"] for entry in await qualtrics.listed(**window, pageSize=1)] == ids[2:0:-1]
    assert await qualtrics.listed(distributionRequestType="Reminder") == []


@pytest.mark.parametrize(
    "filters",
    [{"pageSize": 0}, {"pageSize": 101}, {"sendStartDate": "2026-01-05"}, {"batchId": "BT_x"}, {"skipToken": "x"}],
)
async def test_a_filter_that_the_facts_do_not_know_is_refused(qualtrics: QualtricsCaller, filters: JSON) -> None:
    reply = await qualtrics.get("/distributions", surveyId=qualtrics.account.survey_id, **filters)
    assert reply.status_code == 400


@pytest.mark.parametrize(
    ("echo", "in_list", "by_id"), [("mailingListId", True, True), ("byId", False, True), ("never", False, False)]
)
async def test_where_the_batch_can_be_seen_is_a_knob(
    qualtrics: QualtricsCaller, echo: str, in_list: bool, by_id: bool
) -> None:
    qualtrics.account.batch_echo = echo  # type: ignore[assignment]
    batch_id = await qualtrics.batch_of(ANA)
    distribution_id = await qualtrics.send(batch_id, embeddedData={"runId": "run-1"})
    (listed,) = await qualtrics.listed()
    assert (listed["recipients"]["mailingListId"] == batch_id) is in_list
    assert listed["embeddedData"] == {"runId": "run-1"}
    assert ((await qualtrics.read(distribution_id))["recipients"]["mailingListId"] == batch_id) is by_id
    assert len(await qualtrics.listed(mailingListId=batch_id)) == in_list


async def test_custom_headers_are_taken_and_shown(qualtrics: QualtricsCaller) -> None:
    distribution_id = await qualtrics.send(await qualtrics.batch_of(ANA), customHeaders={"X-Campaign": "teams"})
    assert (await qualtrics.read(distribution_id))["customHeaders"] == {"X-Campaign": "teams"}


async def test_a_new_distribution_may_show_in_the_list_late(qualtrics: QualtricsCaller, clock: SteeredClock) -> None:
    qualtrics.account.list_lag_seconds = 45
    distribution_id = await qualtrics.send(await qualtrics.batch_of(ANA))
    assert await qualtrics.listed() == []
    assert (await qualtrics.read(distribution_id))["id"] == distribution_id
    clock.advance(46)
    assert len(await qualtrics.listed()) == 1


async def test_asking_for_links_resets_the_dates_and_is_remembered(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    distribution_id = await qualtrics.send(await qualtrics.batch_of(ANA))
    before = (await qualtrics.read(distribution_id))["sendDate"]
    clock.advance(3000)
    await qualtrics.get(f"/distributions/{distribution_id}/links", surveyId=qualtrics.account.survey_id)
    assert (await qualtrics.read(distribution_id))["sendDate"] != before
    assert qualtrics.sandbox.ledger.distributions[0].links_read == 1
