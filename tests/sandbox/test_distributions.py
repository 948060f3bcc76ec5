"""Tests of distributions: refused requests, the people who get a mail, and what clients can read afterwards."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.sandbox.caller import JSON, QualtricsCaller, error_code, format_time
from tests.support.clock import SteeredClock

ANA, BEN, EVA = "ana@example.com", "ben@example.com", "eva@example.com"


def remove(*path: str) -> Callable[[JSON], None]:
    """A function that removes the key at this path from a body."""

    def change(body: JSON) -> None:
        for key in path[:-1]:
            body = body[key]
        del body[path[-1]]

    return change


def put(value: object, *path: str) -> Callable[[JSON], None]:
    """A function that sets the key at this path of a body."""

    def change(body: JSON) -> None:
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = value

    return change


UNDOCUMENTED = {
    "no sendDate": (remove("sendDate"), "RP_10"),
    "no message": (remove("message"), "RP_10"),
    "no libraryId": (remove("message", "libraryId"), "RP_10"),
    "no recipients": (remove("recipients"), "RP_10"),
    "no subject": (remove("header", "subject"), "RP_10"),
    "no surveyLink": (remove("surveyLink"), "RP_10"),
    "no surveyId": (remove("surveyLink", "surveyId"), "RP_10"),
    "unknown key": (put("x", "name"), "RP_9"),
    "headers instead of header": (put({}, "headers"), "RP_9"),
    "unknown key of the header": (put("x", "header", "fromAddress"), "RP_9"),
    "unknown key of the link": (put("Individual", "surveyLink", "linkType"), "RP_9"),
    "unknown kind of recipients": (put("x", "recipients", "batchId"), "RP_9"),
    "empty recipients": (put({}, "recipients"), "QVAL_1"),
    "two kinds of recipients": (put("CG_everybody0001", "recipients", "mailingListId"), "QVAL_1"),
    "contact without a mailing list": (put({"contactId": "CGC_x"}, "recipients"), "QVAL_1"),
    "null as a batch id": (put(None, "recipients", "transactionBatchId"), "QVAL_1"),
    "unknown type of link": (put("Personal", "surveyLink", "type"), "QVAL_1"),
    "sendDate with milliseconds": (put("2026-01-05T10:00:00.000Z", "sendDate"), "QVAL_1"),
    "sendDate without Z": (put("2026-01-05T10:00:00+00:00", "sendDate"), "QVAL_1"),
    "sendDate on February 30": (put("2026-02-30T10:00:00Z", "sendDate"), "QVAL_1"),
    "expirationDate without a time": (put("2026-01-05", "surveyLink", "expirationDate"), "QVAL_1"),
    "empty subject": (put("", "header", "subject"), "QVAL_1"),
    "null as replyToEmail": (put(None, "header", "replyToEmail"), "QVAL_1"),
    "fromEmail without a domain": (put("nobody", "header", "fromEmail"), "QVAL_1"),
    "surveyId without its prefix": (put("1234", "surveyLink", "surveyId"), "QVAL_1"),
    "11 pairs of embeddedData": (put({f"k{n}": "v" for n in range(11)}, "embeddedData"), "QVAL_1"),
    "long value of embeddedData": (put({"k": "v" * 1025}, "embeddedData"), "QVAL_1"),
    "long key of embeddedData": (put({"k" * 201: "v"}, "embeddedData"), "QVAL_1"),
    "number in embeddedData": (put({"k": 1}, "embeddedData"), "QVAL_1"),
    "customHeaders as a list": (put(["X-Campaign"], "customHeaders"), "QVAL_1"),
}


@pytest.mark.parametrize(("change", "code"), UNDOCUMENTED.values(), ids=UNDOCUMENTED)
async def test_distribution_with_an_undocumented_body_is_refused(
    qualtrics: QualtricsCaller, change: Callable[[JSON], None], code: str
) -> None:
    body = qualtrics.distribution_body("BT_x")
    change(body)
    reply = await qualtrics.post("/distributions", body)
    assert (reply.status_code, error_code(reply)) == (400, code)
    assert qualtrics.sandbox.recorder.distributions == []


async def test_distribution_mails_the_people_of_its_batch_and_nobody_else(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_with(ANA, BEN)
    body = qualtrics.distribution_body(batch_id, embeddedData={"runId": "run-1"})
    body["header"]["replyToEmail"] = "dex@example.com"
    body["surveyLink"]["expirationDate"] = "2026-02-01T00:00:00Z"
    reply = await qualtrics.post("/distributions", body)
    assert set(reply.json()["meta"]) == {"httpStatus", "requestId"}
    (sent,) = qualtrics.sandbox.recorder.distributions
    assert (sent.id, sent.batch_id, sent.run_ids) == (reply.json()["result"]["id"], batch_id, ["run-1"])
    assert (sent.recipients, sent.request) == ([ANA, BEN], body)
    assert qualtrics.sandbox.recorder.mails() == {ANA: 1, BEN: 1}


async def test_person_who_is_in_the_batch_twice_gets_two_mails(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.create_batch()
    await qualtrics.import_people(batch_id, [ANA])
    await qualtrics.import_people(batch_id, ["ANA@example.com"])
    await qualtrics.send(batch_id)
    assert qualtrics.sandbox.recorder.mails() == {ANA: 2}


async def test_send_before_the_end_of_the_import_mails_nobody(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.create_batch()
    await qualtrics.post(qualtrics.imports_path, qualtrics.import_body(batch_id, [ANA]))
    await qualtrics.send(batch_id)
    assert not qualtrics.sandbox.recorder.mails()


async def test_distribution_to_a_mailing_list_mails_the_whole_list(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    await qualtrics.send(batch_id, recipients={"mailingListId": qualtrics.account.mailing_list_id})
    assert set(qualtrics.sandbox.recorder.mails()) == {ANA, "bystander1@example.com", "bystander2@example.com"}


async def test_new_distribution_is_pending_with_zero_stats_and_done_seconds_later(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    distribution_id = await qualtrics.send(await qualtrics.batch_with(ANA, BEN))
    shown = await qualtrics.read_distribution(distribution_id)
    assert (shown["requestStatus"], set(shown["stats"].values())) == ("Pending", {0})
    clock.advance(6)
    shown = await qualtrics.read_distribution(distribution_id)
    assert (shown["requestStatus"], shown["stats"]["sent"]) == ("Done", 2)
    assert {"header", "transactionBatchId"}.isdisjoint(shown)
    assert shown["headers"]["subject"] == "How is Teams?"
    assert shown["surveyLink"]["linkType"] == "Individual"


async def test_distribution_with_a_future_send_date_is_mailed_at_that_time(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    later = format_time(clock.now() + timedelta(hours=1))
    await qualtrics.send(await qualtrics.batch_with(ANA), sendDate=later)
    assert not qualtrics.sandbox.recorder.mails()
    clock.advance(3600)
    assert qualtrics.sandbox.recorder.mails() == {ANA: 1}


@pytest.mark.parametrize(("hours", "mailed"), [(11.9, 1), (12.1, 2)], ids=["within 12 hours", "after 12 hours"])
async def test_same_mail_to_a_person_is_blocked_for_12_hours(
    qualtrics: QualtricsCaller, clock: SteeredClock, hours: float, mailed: int
) -> None:
    await qualtrics.send(await qualtrics.batch_with(ANA))
    clock.advance(hours * 3600)
    await qualtrics.log_in("qualtrics")
    again = await qualtrics.send(await qualtrics.batch_with("Ana@Example.com"))
    assert qualtrics.sandbox.recorder.mails()[ANA] == mailed
    clock.advance(6)
    assert (await qualtrics.read_distribution(again))["stats"]["blocked"] == 2 - mailed


async def test_mail_with_another_subject_is_not_blocked(qualtrics: QualtricsCaller) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    await qualtrics.send(batch_id)
    header = {**qualtrics.distribution_body(batch_id)["header"], "subject": "Once more"}
    await qualtrics.send(batch_id, header=header)
    assert qualtrics.sandbox.recorder.mails() == {ANA: 2}


@pytest.mark.parametrize(
    "change",
    [
        put("SV_oldSurvey00001", "surveyLink", "surveyId"),
        put("SV_missing00001", "surveyLink", "surveyId"),
        put("MS_missing00001", "message", "messageId"),
        put("UR_missing00001", "message", "libraryId"),
        put("dex@example.com", "header", "fromEmail"),
    ],
    ids=["inactive survey", "missing survey", "missing message", "missing library", "unknown sender domain"],
)
async def test_distribution_that_cannot_be_sent_is_accepted_and_fails_later(
    qualtrics: QualtricsCaller, clock: SteeredClock, change: Callable[[JSON], None]
) -> None:
    body = qualtrics.distribution_body(await qualtrics.batch_with(ANA, BEN))
    change(body)
    assert (await qualtrics.post("/distributions", body)).status_code == 200
    (sent,) = qualtrics.sandbox.recorder.distributions
    assert (sent.recipients, sent.failed) == ([], [ANA, BEN])
    clock.advance(6)
    params = {"surveyId": body["surveyLink"]["surveyId"]}
    shown = (await qualtrics.get(f"/distributions/{sent.id}", **params)).json()["result"]
    assert shown["stats"]["failed"] == 2


async def test_distribution_from_a_registered_domain_is_sent(qualtrics: QualtricsCaller) -> None:
    qualtrics.account.own_domains = {"example.com"}
    header = {**qualtrics.distribution_body("BT_x")["header"], "fromEmail": "dex@example.com"}
    await qualtrics.send(await qualtrics.batch_with(ANA), header=header)
    assert qualtrics.sandbox.recorder.mails() == {ANA: 1}


async def test_history_shows_people_who_opted_out_and_mails_that_bounced(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    qualtrics.account.opted_out_addresses = {BEN}
    qualtrics.account.bouncing_addresses = {EVA}
    distribution_id = await qualtrics.send(await qualtrics.batch_with(ANA, BEN, EVA))
    clock.advance(6)
    stats = (await qualtrics.read_distribution(distribution_id))["stats"]
    assert (stats["sent"], stats["skipped"], stats["bounced"]) == (2, 1, 1)
    history = (await qualtrics.get(f"/distributions/{distribution_id}/history")).json()["result"]["elements"]
    assert [row["status"] for row in history] == ["Success", "HardBounce", "Skipped"]


async def test_read_of_a_distribution_needs_its_survey_id(qualtrics: QualtricsCaller) -> None:
    distribution_id = await qualtrics.send(await qualtrics.batch_with(ANA))
    reply = await qualtrics.get(f"/distributions/{distribution_id}")
    assert (reply.status_code, error_code(reply)) == (400, "RP_10")
    reply = await qualtrics.get(f"/distributions/{distribution_id}", surveyId="SV_missing00001")
    assert reply.status_code == 404
    assert (await qualtrics.get("/distributions")).status_code == 400


async def test_list_of_distributions_is_paged_and_filtered_by_date(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    batch_id = await qualtrics.batch_with(ANA)
    start = clock.now()
    ids = []
    for _ in range(5):
        ids.append(await qualtrics.send(batch_id))
        clock.advance(60)
    qualtrics.account.distributions_page_size = 2
    assert [entry["id"] for entry in await qualtrics.list_distributions(useNewPaginationScheme="true")] == ids[::-1]
    window = {
        "sendStartDate": format_time(start + timedelta(seconds=30)),
        "sendEndDate": format_time(start + timedelta(seconds=150)),
    }
    assert [entry["id"] for entry in await qualtrics.list_distributions(**window, pageSize=1)] == ids[2:0:-1]
    assert await qualtrics.list_distributions(distributionRequestType="Reminder") == []


@pytest.mark.parametrize(
    "filters",
    [{"pageSize": 0}, {"pageSize": 101}, {"sendStartDate": "2026-01-05"}, {"batchId": "BT_x"}, {"skipToken": "x"}],
    ids=["page size of 0", "page size of 101", "date without a time", "unknown filter", "invalid skipToken"],
)
async def test_list_with_an_undocumented_or_invalid_filter_is_refused(
    qualtrics: QualtricsCaller, filters: JSON
) -> None:
    reply = await qualtrics.get("/distributions", surveyId=qualtrics.account.survey_id, **filters)
    assert reply.status_code == 400


@pytest.mark.parametrize(
    ("echo", "in_list", "by_id"), [("mailingListId", True, True), ("byId", False, True), ("never", False, False)]
)
async def test_setting_batch_echo_decides_where_the_batch_id_is_shown(
    qualtrics: QualtricsCaller, echo: str, in_list: bool, by_id: bool
) -> None:
    qualtrics.account.batch_echo = echo  # type: ignore[assignment]
    batch_id = await qualtrics.batch_with(ANA)
    distribution_id = await qualtrics.send(batch_id, embeddedData={"runId": "run-1"})
    (entry,) = await qualtrics.list_distributions()
    assert (entry["recipients"]["mailingListId"] == batch_id) is in_list
    assert entry["embeddedData"] == {"runId": "run-1"}
    assert ((await qualtrics.read_distribution(distribution_id))["recipients"]["mailingListId"] == batch_id) is by_id
    assert len(await qualtrics.list_distributions(mailingListId=batch_id)) == in_list


async def test_distribution_shows_its_custom_headers(qualtrics: QualtricsCaller) -> None:
    distribution_id = await qualtrics.send(await qualtrics.batch_with(ANA), customHeaders={"X-Campaign": "teams"})
    assert (await qualtrics.read_distribution(distribution_id))["customHeaders"] == {"X-Campaign": "teams"}


async def test_list_shows_a_new_distribution_after_the_list_lag(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    qualtrics.account.list_lag_seconds = 45
    distribution_id = await qualtrics.send(await qualtrics.batch_with(ANA))
    assert await qualtrics.list_distributions() == []
    assert (await qualtrics.read_distribution(distribution_id))["id"] == distribution_id
    clock.advance(46)
    assert len(await qualtrics.list_distributions()) == 1


async def test_request_for_links_resets_the_dates_and_is_recorded(
    qualtrics: QualtricsCaller, clock: SteeredClock
) -> None:
    distribution_id = await qualtrics.send(await qualtrics.batch_with(ANA))
    before = (await qualtrics.read_distribution(distribution_id))["sendDate"]
    clock.advance(3000)
    await qualtrics.get(f"/distributions/{distribution_id}/links", surveyId=qualtrics.account.survey_id)
    assert (await qualtrics.read_distribution(distribution_id))["sendDate"] != before
    assert qualtrics.sandbox.recorder.distributions[0].links_read == 1
