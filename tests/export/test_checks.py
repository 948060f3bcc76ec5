"""Checks, and the test that mails nobody."""

import pytest

from qualtrics_exporter.export.checks import check, dry_test
from qualtrics_exporter.resource.status import Recipients as Counts
from tests.export.conftest import Exporter


async def test_a_good_exporter_has_no_error_and_nothing_was_made(exporter: Exporter) -> None:
    checks = await check(exporter.spec, exporter.sides, query=True)

    assert checks.first_error is None
    assert checks.query_sync
    assert checks.query_sync.in_sync
    assert not exporter.sandbox.ledger.batches


async def test_without_the_query_nothing_is_executed(exporter: Exporter) -> None:
    checks = await check(exporter.spec, exporter.sides, query=False)

    assert checks.first_error is None
    assert checks.query_sync is None
    assert exporter.sandbox.ledger.count("nexthink.execute") == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"survey_id": "SV_noSuchSurvey1"}, "SurveyNotFound"),
        ({"survey_id": "SV_oldSurvey00001"}, "SurveyInactive"),
        ({"message_id": "MS_noSuchMsg0001"}, "MessageNotFound"),
        ({"message_id": "MS_thankYou000001"}, "MessageNotInvitation"),
        ({"directory_id": "POOL_noSuchPool001"}, "DirectoryNotFound"),
        ({"directory_id": "POOL_customers00001"}, "MailingListNotFound"),
        ({"mailing_list_id": "CG_noSuchList0001"}, "MailingListNotFound"),
        ({"from_email": "dex@example.com"}, "FromEmailNotAllowed"),
    ],
)
async def test_each_wrong_id_has_its_own_reason(exporter: Exporter, fields: dict[str, str], reason: str) -> None:
    exporter.change("qualtrics", **fields)
    checks = await check(exporter.spec, exporter.sides, query=True)

    assert checks.nexthink is None
    assert checks.qualtrics
    assert checks.qualtrics.reason == reason


async def test_both_sides_are_heard(exporter: Exporter) -> None:
    exporter.change("nexthink", query_id="#no_such_query")
    exporter.change("qualtrics", survey_id="SV_noSuchSurvey1")
    checks = await check(exporter.spec, exporter.sides, query=True)

    assert [error.reason for error in checks.errors] == ["QueryNotFound", "SurveyNotFound"]
    assert checks.first_error is checks.nexthink


async def test_one_address_is_enough_of_a_look(exporter: Exporter) -> None:
    exporter.many(5000)
    checks = await check(exporter.spec, exporter.sides, query=True)

    assert checks.first_error is None
    assert checks.counts == Counts(returned=1, empty=0, invalid=0, duplicate=0, accepted=1)
    assert exporter.sandbox.ledger.count("nexthink.export") == 0


async def test_a_query_without_addresses_is_found_by_its_check(exporter: Exporter) -> None:
    exporter.people(["eva", "ana"])
    checks = await check(exporter.spec, exporter.sides, query=True)

    assert checks.nexthink
    assert checks.nexthink.reason == "QueryReturnsNoEmail"


async def test_a_test_looks_at_twenty_people_and_mails_nobody(exporter: Exporter) -> None:
    exporter.many(50)
    entry = await dry_test(exporter.spec, exporter.sides, exporter.clock, "test1")

    assert (entry.id, entry.trigger, entry.result, entry.reason) == ("test1", "Test", "Succeeded", "TestPassed")
    assert entry.recipients == Counts(returned=20, empty=0, invalid=0, duplicate=0, accepted=20)
    assert "20 people of the query were looked at" in entry.message
    assert not exporter.sandbox.ledger.batches


async def test_a_test_tells_what_is_wrong_on_both_sides(exporter: Exporter) -> None:
    exporter.change("nexthink", query_id="#no_such_query")
    exporter.change("qualtrics", survey_id="SV_noSuchSurvey1")
    entry = await dry_test(exporter.spec, exporter.sides, exporter.clock, "test1")

    assert (entry.result, entry.reason) == ("Failed", "QueryNotFound")
    assert "queryId" in entry.message
    assert "surveyId" in entry.message


async def test_a_test_of_a_query_that_names_nobody_passes(exporter: Exporter) -> None:
    exporter.people([])
    entry = await dry_test(exporter.spec, exporter.sides, exporter.clock, "test1")

    assert entry.reason == "TestPassed"
    assert "names nobody at present" in entry.message


async def test_a_refusal_of_whoami_alone_fails_no_check(exporter: Exporter) -> None:
    exporter.sandbox.faults.add("qualtrics.whoami", status=403)
    exporter.sandbox.faults.add("qualtrics.whoami", status=403, body='{"meta": {"error": {"errorCode": "AuthZ_2.0"}}}')
    for _ in range(2):
        assert (await check(exporter.spec, exporter.sides, query=False)).first_error is None


async def test_without_the_permission_for_the_survey_the_check_says_so(exporter: Exporter) -> None:
    for operation in ("whoami", "read_survey"):
        exporter.sandbox.faults.add(f"qualtrics.{operation}", status=403)
    checks = await check(exporter.spec, exporter.sides, query=False)

    assert checks.first_error
    assert checks.first_error.reason == "NotPermitted"
    assert "show survey" in checks.first_error.message


async def test_a_dry_test_advises_the_faster_host(exporter: Exporter) -> None:
    notice = "Request proxied. For faster response times, use this host instead: co1.qualtrics.com"
    exporter.sandbox.faults.add("qualtrics.whoami", body=f'{{"result": {{}}, "meta": {{"notice": "{notice}"}}}}')
    entry = await dry_test(exporter.spec, exporter.sides, exporter.clock, "run-1")

    assert entry.result == "Succeeded"
    assert entry.message.count("https://co1.qualtrics.com") == 1
    assert "RequestsProxied: " in entry.message
