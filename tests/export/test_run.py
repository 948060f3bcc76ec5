"""A complete run, and the guards that end a run before it mails anyone."""

from datetime import timedelta
from typing import Any

import pytest

from qualtrics_exporter.resource.status import RecipientCounts as Counts
from qualtrics_exporter.resource.status import timestamp
from tests.export.conftest import START, Exporter

NAMES = ["ana", "ben", "chiara", "dmitri", "eva", "farid"]


def nothing_created(exporter: Exporter) -> bool:
    """Whether nothing was created in Qualtrics, and nobody was mailed."""
    return not exporter.mailed() and not exporter.sandbox.recorder.batches


async def test_each_person_of_the_query_gets_one_mail_and_nobody_else(exporter: Exporter) -> None:
    entry = await exporter.run()

    assert exporter.mailed() == {f"{name}@example.com": 1 for name in NAMES}
    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert entry.message == "The survey was sent, as one distribution, to 6 people."
    assert entry.recipients == Counts(returned=8, empty=1, invalid=0, duplicate=1, accepted=6, imported=6)
    [sent] = exporter.sandbox.recorder.distributions
    assert (entry.distribution_id, entry.batch_id, entry.survey_id) == (sent.id, sent.batch_id, sent.survey_id)
    assert entry.send_time == sent.send_date
    assert sent.run_ids == [entry.id]


async def test_small_run_makes_seven_calls(exporter: Exporter) -> None:
    exporter.account.import_polls = 0
    await exporter.run()

    assert exporter.sandbox.recorder.operations() == [
        "nexthink.token",
        "nexthink.execute",
        "qualtrics.token",
        "qualtrics.create_batch",
        "qualtrics.import_contacts",
        "qualtrics.import_status",
        "qualtrics.create_distribution",
    ]


async def test_request_to_send_matches_the_spec(exporter: Exporter) -> None:
    exporter.change_spec("qualtrics", reply_to_email="dex@example.com", link_expiration_days=14)
    entry = await exporter.run()

    assert entry.send_time
    account = exporter.account
    [sent] = exporter.sandbox.recorder.distributions
    assert sent.request == {
        "message": {"libraryId": account.library_id, "messageId": account.message_id},
        "recipients": {"transactionBatchId": entry.batch_id},
        "header": {
            "fromName": "Digital Workplace",
            "fromEmail": "noreply@qemailserver.com",
            "replyToEmail": "dex@example.com",
            "subject": "How is Teams working for you?",
        },
        "surveyLink": {
            "surveyId": account.survey_id,
            "expirationDate": timestamp(entry.send_time + timedelta(days=14)),
            "type": "Individual",
        },
        "sendDate": timestamp(entry.send_time),
    }


@pytest.mark.parametrize(("people", "exports"), [(1, 0), (999, 0), (1000, 1), (1001, 1), (25_300, 1)])
async def test_all_people_are_mailed_for_any_size_of_the_result(exporter: Exporter, people: int, exports: int) -> None:
    exporter.set_people_count(people)
    entry = await exporter.run()

    assert entry.recipients == Counts(
        returned=people, empty=0, invalid=0, duplicate=0, accepted=people, imported=people
    )
    assert len(exporter.mailed()) == people
    assert set(exporter.mailed().values()) == {1}
    assert exporter.sandbox.recorder.count("nexthink.export") == exports
    assert len(exporter.sandbox.recorder.batches) == 1


async def test_run_with_an_empty_result_succeeds_and_creates_nothing_in_qualtrics(exporter: Exporter) -> None:
    exporter.set_people([])
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "NoRecipients")
    assert nothing_created(exporter)


async def test_run_reports_a_query_that_is_in_sync(exporter: Exporter) -> None:
    ended = await exporter.execute()

    assert ended.query
    assert ended.query.in_sync


async def test_run_of_a_drifted_query_reports_the_drift_and_sends(exporter: Exporter) -> None:
    exporter.change_spec("nexthink", query="users | list ad.email_address")
    ended = await exporter.execute()

    assert ended.query
    assert not ended.query.in_sync
    assert (
        "First at line 1, column 9: the spec has 'list ad.email_address', Nexthink runs 'with " in ended.query.message
    )
    assert (ended.entry.result, ended.entry.reason) == ("Succeeded", "QueryDrift")
    assert len(exporter.mailed()) == 6


async def test_query_with_parameters_is_in_sync(exporter: Exporter) -> None:
    query = "users | where name == $name | list ad.email_address"
    exporter.change_spec("nexthink", query=query, parameters={"name": "Eva"})
    exporter.set_people(["eva@example.com"])
    for exporter.account.parameters_quoted in (True, False):
        ended = await exporter.execute()
        assert ended.query
        assert ended.query.in_sync


@pytest.mark.parametrize(
    ("change", "rows", "result", "reason"),
    [
        ({"nexthink": {"query": "users | list ad.email_address", "drift_policy": "Hold"}}, NAMES, "Held", "QueryDrift"),
        ({"spec": {"max_recipients": 5}}, NAMES, "Held", "RecipientLimitExceeded"),
        ({"qualtrics": {"from_email": "dex@example.com"}}, NAMES, "Failed", "FromEmailNotAllowed"),
        ({"qualtrics": {"from_email": "dex@not-qemailserver.com"}}, NAMES, "Failed", "FromEmailNotAllowed"),
        ({"nexthink": {"query_id": "#no_such_query"}}, NAMES, "Failed", "QueryNotFound"),
        ({}, ["", "", ""], "Failed", "QueryReturnsNoEmail"),
        ({}, ["ana", "S-1-5-21", "#N/A"], "Failed", "QueryReturnsNoEmail"),
    ],
)
async def test_guard_ends_the_run_before_anything_is_created_in_qualtrics(
    exporter: Exporter, change: dict[str, dict[str, Any]], rows: list[str], result: str, reason: str
) -> None:
    exporter.set_people([f"{name}@example.com" if name in NAMES and rows is NAMES else name for name in rows])
    for part, fields in change.items():
        exporter.change_spec(part, **fields)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == (result, reason)
    assert nothing_created(exporter)
    assert "obody was mailed" in entry.message


async def test_drift_policy_hold_holds_a_run_whose_query_cannot_be_compared(exporter: Exporter) -> None:
    exporter.change_spec("nexthink", drift_policy="Hold")
    exporter.faults.add("nexthink.execute", body='{"rows": 1, "data": [{"user.ad.email_address": "ana@example.com"}]}')
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Held", "QueryNotCompared")
    assert nothing_created(exporter)


@pytest.mark.parametrize("rows", [3, 2000])
async def test_run_fails_if_the_query_returns_several_fields(exporter: Exporter, rows: int) -> None:
    query = exporter.set_people([])
    query.columns, query.rows = ["user.name", "user.ad.email_address"], [["Eva", "eva@example.com"]] * rows
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "QueryReturnsSeveralFields")
    assert nothing_created(exporter)
    assert exporter.sandbox.recorder.count("nexthink.export") == 0


async def test_run_with_exactly_max_recipients_is_sent(exporter: Exporter) -> None:
    exporter.change_spec("spec", max_recipients=6)

    assert (await exporter.run()).result == "Succeeded"


async def test_custom_sender_domain_is_accepted_if_the_spec_allows_it(exporter: Exporter) -> None:
    exporter.account.own_domains.add("example.com")
    exporter.change_spec("qualtrics", from_email="dex@example.com", allow_custom_from_domain=True)

    assert (await exporter.run()).result == "Succeeded"
    assert len(exporter.mailed()) == 6


@pytest.mark.parametrize("people", [3, 1500])
async def test_result_truncated_by_the_licence_is_sent_and_reported(exporter: Exporter, people: int) -> None:
    exporter.set_people_count(people)
    exporter.change_spec("nexthink", result_source="Export")
    exporter.account.queries[exporter.account.query_id].truncated = True
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "ResultTruncated")
    assert len(exporter.mailed()) == people


async def test_truncation_that_only_the_export_shows_is_reported(exporter: Exporter) -> None:
    exporter.set_people_count(1500)
    query = exporter.account.queries[exporter.account.query_id]
    entry = await exporter.run_with_change_before("nexthink.export", lambda: setattr(query, "truncated", True))

    assert entry.reason == "ResultTruncated"


async def test_run_fails_if_the_export_has_more_fields_than_the_execution(exporter: Exporter) -> None:
    exporter.set_people_count(1500)

    def edit() -> None:
        query = exporter.account.queries[exporter.account.query_id]
        query.columns, query.rows = ["user.name", "user.ad.email_address"], [["Eva", "eva@example.com"]] * 1500

    entry = await exporter.run_with_change_before("nexthink.export", edit)

    assert entry.reason == "QueryReturnsSeveralFields"
    assert nothing_created(exporter)


async def test_token_that_expires_soon_is_renewed_before_the_send(exporter: Exporter) -> None:
    exporter.account.qualtrics_token_seconds = 600
    await exporter.run_with_change_before("qualtrics.import_status", lambda: exporter.clock.advance(400))

    assert exporter.sandbox.recorder.operations()[-2:] == ["qualtrics.token", "qualtrics.create_distribution"]


async def test_dry_run_counts_the_people_and_creates_nothing(exporter: Exporter) -> None:
    exporter.change_spec("spec", dry_run=True)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("DryRun", "DryRun")
    assert "The query returned 8 rows: 6 people, 1 without an address, 1 duplicate." in entry.message
    assert entry.recipients
    assert (entry.recipients.accepted, entry.recipients.imported) == (6, None)
    assert not exporter.mailed()
    assert not exporter.sandbox.recorder.batches


async def test_dry_run_is_held_like_a_run(exporter: Exporter) -> None:
    exporter.change_spec("spec", dry_run=True, max_recipients=5)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Held", "RecipientLimitExceeded")


async def test_run_fails_and_sends_nothing_if_the_mailing_list_accepts_nobody(exporter: Exporter) -> None:
    exporter.change_spec("qualtrics", mailing_list_id="CG_nobody0000001")
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "ImportIncomplete")
    assert "imported none of 6 people" in entry.message
    assert exporter.count_calls("create_distribution") == 0


async def test_run_reports_people_who_are_missing_after_the_import(exporter: Exporter) -> None:
    exporter.account.vanishing_addresses = {"eva@example.com"}
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "ImportIncomplete")
    assert "imported 5 of 6 people" in entry.message
    assert entry.recipients
    assert (entry.recipients.accepted, entry.recipients.imported) == (6, 5)


async def test_run_counts_the_addresses_that_qualtrics_rejects(exporter: Exporter) -> None:
    exporter.account.refused_addresses = {"eva@example.com"}
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert "Qualtrics rejected the other 1 of 6 addresses" in entry.message


async def test_truncation_is_the_reason_of_a_run_with_several_warnings(exporter: Exporter) -> None:
    exporter.set_people_count(1500)  # only an export reports a truncated result
    exporter.account.vanishing_addresses = {"user000007@example.com"}
    exporter.change_spec("nexthink", query="users | list ad.email_address")
    exporter.account.queries[exporter.account.query_id].truncated = True
    entry = await exporter.run()

    assert entry.reason == "ResultTruncated"
    assert "Nexthink truncated the result" in entry.message
    assert "imported 1499 of 1500 people" in entry.message
    assert "a query that differs from the one in the spec" in entry.message


async def test_run_fails_if_qualtrics_refuses_the_send(exporter: Exporter) -> None:
    exporter.add_fault("create_distribution", status=400)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "SendRefused")
    assert not exporter.mailed()
    assert exporter.count_calls("list_distributions") == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, "<html>"),
        (401, "<html>"),
        (403, "<html>"),
        (406, "<html>"),
        (413, "<html>"),
        (403, b""),
        (404, b""),
        (409, "Conflict"),
        (403, '{"message": "blocked by policy"}'),
    ],
)
@pytest.mark.parametrize("sent", [True, False], ids=["sent", "not sent"])
async def test_reply_of_a_filter_to_a_send_is_not_a_refusal(
    exporter: Exporter, status: int, body: str | bytes, sent: bool
) -> None:
    """Otherwise a user would read that nobody was mailed, and request the run again."""
    exporter.add_fault("create_distribution", status=status, body=body, apply_effect=sent)
    entry = await exporter.run()

    assert entry.result == ("Succeeded" if sent else "Unknown")
    assert "Nobody was mailed" not in entry.message
    assert bool(exporter.mailed()) is sent
    assert exporter.count_calls("create_distribution") == 1


async def test_run_that_checks_first_finds_an_inactive_survey_before_the_query(exporter: Exporter) -> None:
    exporter.change_spec("qualtrics", survey_id=exporter.account.inactive_survey_id)
    entry = await exporter.run(check_first=True)

    assert (entry.result, entry.reason) == ("Failed", "SurveyInactive")
    assert exporter.sandbox.recorder.count("nexthink.execute") == 0
    assert nothing_created(exporter)


async def test_journal_and_log_contain_no_address(exporter: Exporter, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "qualtrics_exporter")
    exporter.account.refused_addresses = {"eva@example.com"}
    await exporter.run()

    written = exporter.path.read_text() + caplog.text
    assert not [name for name in NAMES if f"{name}@" in written.lower()]


async def test_times_of_an_entry_come_from_the_clock(exporter: Exporter) -> None:
    entry = await exporter.run()

    assert entry.start_time
    assert entry.send_time
    assert START <= entry.start_time <= entry.send_time <= entry.completion_time
