"""Checks and dry tests."""

import pytest

from qualtrics_exporter.export.checks import Known, check
from qualtrics_exporter.export.dry_test import counting, dry_test, dry_test_entry
from qualtrics_exporter.export.guards import CheckWarning
from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import RecipientCounts as Counts
from tests.export.conftest import START, Exporter


async def test_check_of_a_valid_exporter_passes_and_creates_nothing(exporter: Exporter) -> None:
    checks = await check(exporter.spec, exporter.clients)

    assert checks.error is None
    assert checks.query_sync
    assert checks.query_sync.in_sync
    assert not exporter.sandbox.recorder.batches


async def test_check_that_skips_the_query_executes_nothing(exporter: Exporter) -> None:
    checks = await check(exporter.spec, exporter.clients, wanted=None)

    assert checks.error is None
    assert checks.query_sync is None
    assert exporter.sandbox.recorder.count("nexthink.execute") == 0


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
async def test_check_reports_each_wrong_qualtrics_setting_with_its_own_reason(
    exporter: Exporter, fields: dict[str, str], reason: str
) -> None:
    exporter.change_spec("qualtrics", **fields)
    checks = await check(exporter.spec, exporter.clients)

    assert checks.nexthink is None
    assert checks.qualtrics
    assert checks.qualtrics.reason == reason


async def test_check_reports_errors_of_nexthink_and_of_qualtrics(exporter: Exporter) -> None:
    exporter.change_spec("nexthink", query_id="#no_such_query")
    exporter.change_spec("qualtrics", survey_id="SV_noSuchSurvey1")
    checks = await check(exporter.spec, exporter.clients)

    assert [error.reason for error in checks.errors] == ["QueryNotFound", "SurveyNotFound"]
    assert checks.error is checks.nexthink


async def test_check_reads_one_address_of_the_result(exporter: Exporter) -> None:
    exporter.set_people_count(5000)
    checks = await check(exporter.spec, exporter.clients)

    assert checks.error is None
    assert checks.counts == Counts(returned=1, empty=0, invalid=0, duplicate=0, accepted=1)
    assert exporter.sandbox.recorder.count("nexthink.export") == 0


async def test_check_fails_if_the_query_returns_no_address(exporter: Exporter) -> None:
    exporter.set_people(["eva", "ana"])
    checks = await check(exporter.spec, exporter.clients)

    assert checks.nexthink
    assert checks.nexthink.reason == "QueryReturnsNoEmail"


@pytest.mark.parametrize("people", [50, 2500], ids=["executed", "exported"])
async def test_dry_test_counts_all_rows_by_kind_and_imports_nobody(exporter: Exporter, people: int) -> None:
    addresses = [f"user{number}@example.com" for number in range(people)]
    exporter.set_people([*addresses, "", "S-1-5-21", None, "USER1@example.com", addresses[-1]])
    entry = (await dry_test(exporter.spec, exporter.clients, exporter.clock, "test1")).entry

    assert (entry.id, entry.trigger, entry.result, entry.reason) == ("test1", "Test", "Succeeded", "TestPassed")
    assert entry.recipients == Counts(returned=people + 5, empty=2, invalid=1, duplicate=2, accepted=people)
    counts = f"returned {people + 5} rows: {people} people, 2 without an address, 1 invalid, 2 duplicate."
    assert counts in entry.message
    assert not exporter.sandbox.recorder.batches


async def test_dry_test_compares_the_whole_audience_with_max_recipients(exporter: Exporter) -> None:
    exporter.set_people_count(50)
    exporter.change_spec("spec", max_recipients=30)
    entry = (await dry_test(exporter.spec, exporter.clients, exporter.clock, "test1")).entry

    assert (entry.result, entry.reason) == ("Held", "RecipientLimitExceeded")
    assert entry.recipients
    assert entry.recipients.accepted == 50
    assert "spec.maxRecipients is 30" in entry.message


@pytest.mark.parametrize("people", [0, 49])
async def test_dry_test_compares_the_whole_audience_with_min_recipients(exporter: Exporter, people: int) -> None:
    exporter.set_people_count(people)
    exporter.change_spec("spec", min_recipients=50)
    entry = (await dry_test(exporter.spec, exporter.clients, exporter.clock, "test1")).entry

    assert (entry.result, entry.reason) == ("Held", "TooFewRecipients")
    assert entry.recipients
    assert entry.recipients.accepted == people
    assert "spec.minRecipients is 50" in entry.message


@pytest.mark.parametrize(
    ("previous", "minimum", "warns"), [(61, None, True), (60, None, False), (None, None, False), (61, 0, False)]
)
async def test_dry_test_warns_only_if_the_audience_shrank(
    exporter: Exporter, previous: int | None, minimum: int | None, warns: bool
) -> None:
    exporter.change_spec("spec", min_recipients=minimum)
    checks = await check(exporter.spec, exporter.clients, wanted=counting(exporter.spec))
    entry = dry_test_entry(checks, exporter.spec, "test1", START, START, previous)

    assert (entry.result, entry.reason) == ("Succeeded", "TestPassed")
    assert (Reason.AUDIENCE_SHRANK.meaning in entry.message) is warns


async def test_dry_test_of_a_drifted_query_is_held_like_a_run(exporter: Exporter) -> None:
    exporter.change_spec("nexthink", query="users | list ad.email_address", drift_policy="Hold")
    entry = (await dry_test(exporter.spec, exporter.clients, exporter.clock, "test1")).entry

    assert (entry.result, entry.reason) == ("Held", "QueryDrift")


async def test_dry_test_keeps_no_address_in_memory(exporter: Exporter) -> None:
    exporter.set_people_count(2500)
    result = (await check(exporter.spec, exporter.clients, wanted=counting(exporter.spec))).answer

    assert result
    assert (len(result.recipients), result.recipients.size, list(result.recipients)) == (2500, 0, [])


async def test_dry_test_reports_errors_of_nexthink_and_of_qualtrics(exporter: Exporter) -> None:
    exporter.change_spec("nexthink", query_id="#no_such_query")
    exporter.change_spec("qualtrics", survey_id="SV_noSuchSurvey1")
    entry = (await dry_test(exporter.spec, exporter.clients, exporter.clock, "test1")).entry

    assert (entry.result, entry.reason) == ("Failed", "QueryNotFound")
    assert "queryId" in entry.message
    assert "surveyId" in entry.message


async def test_dry_test_of_an_empty_result_passes(exporter: Exporter) -> None:
    exporter.set_people([])
    entry = (await dry_test(exporter.spec, exporter.clients, exporter.clock, "test1")).entry

    assert entry.reason == "TestPassed"
    assert "currently returns nobody" in entry.message


async def test_check_passes_if_only_whoami_is_forbidden(exporter: Exporter) -> None:
    exporter.sandbox.faults.add("qualtrics.whoami", status=403)
    exporter.sandbox.faults.add("qualtrics.whoami", status=403, body='{"meta": {"error": {"errorCode": "AuthZ_2.0"}}}')
    for body in ("<html>", b"", '{"message": "Forbidden"}'):  # from a filter: the check repeats the call once
        exporter.sandbox.faults.add("qualtrics.whoami", times=2, status=403, body=body)
    for _ in range(5):
        assert (await check(exporter.spec, exporter.clients, wanted=None)).error is None
    assert not exporter.sandbox.faults.open()


async def test_check_fails_if_a_filter_blocks_more_than_whoami(exporter: Exporter) -> None:
    for operation in ("whoami", "read_survey"):
        exporter.sandbox.faults.add(f"qualtrics.{operation}", status=403, body="<html>", times=None)
    checks = await check(exporter.spec, exporter.clients, wanted=None)

    assert checks.error
    assert checks.error.reason == "RemoteReplyInvalid"


async def test_check_fails_if_the_token_endpoint_answers_403(exporter: Exporter) -> None:
    exporter.sandbox.faults.add("qualtrics.token", status=403, body="<html>", times=None)
    checks = await check(exporter.spec, exporter.clients, wanted=None)

    assert checks.error
    assert checks.error.reason == "RemoteReplyInvalid"


async def test_check_reports_a_missing_permission_for_the_survey(exporter: Exporter) -> None:
    for operation in ("whoami", "read_survey"):
        exporter.sandbox.faults.add(f"qualtrics.{operation}", status=403)
    checks = await check(exporter.spec, exporter.clients, wanted=None)

    assert checks.error
    assert checks.error.reason == "NotPermitted"
    assert "return survey" in checks.error.message


async def test_dry_test_recommends_the_faster_host(exporter: Exporter) -> None:
    notice = "Request proxied. For faster response times, use this host instead: co1.qualtrics.com"
    exporter.sandbox.faults.add("qualtrics.whoami", body=f'{{"result": {{}}, "meta": {{"notice": "{notice}"}}}}')
    entry = (await dry_test(exporter.spec, exporter.clients, exporter.clock, "run-1")).entry

    assert entry.result == "Succeeded"
    assert entry.message.count("https://co1.qualtrics.com") == 1
    assert "RequestsProxied: " in entry.message


PROXIED = CheckWarning(Reason.REQUESTS_PROXIED, "use https://co1.qualtrics.com")


async def test_check_does_not_repeat_the_qualtrics_part_while_nexthink_fails(exporter: Exporter) -> None:
    exporter.change_spec("nexthink", query_id="#no_such_query")
    verdict = await check(exporter.spec, exporter.clients, known=Known(qualtrics=(PROXIED,)))

    assert [error.reason for error in verdict.errors] == ["QueryNotFound"]
    assert exporter.sandbox.recorder.count("qualtrics.read_survey") == 0
    assert not verdict.qualtrics_checked
    assert verdict.qualtrics_warnings == (PROXIED,), "the warnings of the earlier check are missing"


async def test_check_repeats_the_qualtrics_part_if_nexthink_passes(exporter: Exporter) -> None:
    exporter.change_spec("qualtrics", survey_id="SV_noSuchSurvey1")
    verdict = await check(exporter.spec, exporter.clients, known=Known(qualtrics=(PROXIED,)))

    assert [error.reason for error in verdict.errors] == ["SurveyNotFound"]
    assert verdict.qualtrics_checked
    assert verdict.qualtrics_warnings == ()


async def test_check_keeps_an_error_in_the_rows_until_it_reads_rows_again(exporter: Exporter) -> None:
    known = Known(result_error=Permanent(Reason.QUERY_RETURNS_NO_EMAIL, "The query returned no address"))
    assert (await check(exporter.spec, exporter.clients, wanted=None, known=known)).nexthink is known.result_error
    assert (await check(exporter.spec, exporter.clients, known=known)).nexthink is None


async def test_error_in_the_text_of_the_query_is_not_also_an_error_in_its_rows(exporter: Exporter) -> None:
    """The condition of the last check has the error, and does not say where it comes from."""
    exporter.change_spec("nexthink", query="users | list ad.email_address, ad.username")
    first = await check(exporter.spec, exporter.clients)
    again = await check(exporter.spec, exporter.clients, known=Known(result_error=first.query_text))

    assert again.query_text
    assert again.nexthink is None
    assert again.needs_new_spec, "checks are repeated although only another spec can help"
