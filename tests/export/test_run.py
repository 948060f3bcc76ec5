"""A whole run, and what keeps one from mailing people."""

from datetime import timedelta
from typing import Any

import pytest

from qualtrics_exporter.resource.status import RecipientCounts as Counts
from qualtrics_exporter.resource.status import timestamp
from tests.export.conftest import START, Exporter

SIX = ["ana", "ben", "chiara", "dmitri", "eva", "farid"]


def nobody(exporter: Exporter) -> bool:
    """Whether nothing at all was made in Qualtrics."""
    return not exporter.mailed() and not exporter.sandbox.ledger.batches


async def test_everybody_of_the_query_gets_one_mail_and_nobody_else(exporter: Exporter) -> None:
    entry = await exporter.run()

    assert exporter.mailed() == {f"{name}@example.com": 1 for name in SIX}
    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert entry.message == "The survey was sent, as one distribution, to 6 people."
    assert entry.recipients == Counts(returned=8, empty=1, invalid=0, duplicate=1, accepted=6, imported=6)
    [sent] = exporter.sandbox.ledger.distributions
    assert (entry.distribution_id, entry.batch_id, entry.survey_id) == (sent.id, sent.batch_id, sent.survey_id)
    assert entry.send_time == sent.send_date
    assert sent.run_ids == [entry.id]


async def test_a_small_run_takes_seven_calls(exporter: Exporter) -> None:
    exporter.account.import_polls = 0
    await exporter.run()

    assert exporter.sandbox.ledger.operations() == [
        "nexthink.token",
        "nexthink.execute",
        "qualtrics.token",
        "qualtrics.create_batch",
        "qualtrics.import_contacts",
        "qualtrics.import_status",
        "qualtrics.create_distribution",
    ]


async def test_the_mail_is_the_one_of_the_spec(exporter: Exporter) -> None:
    exporter.change("qualtrics", reply_to_email="dex@example.com", link_expiration_days=14)
    entry = await exporter.run()

    assert entry.send_time
    account = exporter.account
    [sent] = exporter.sandbox.ledger.distributions
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
async def test_every_number_of_people_is_mailed_completely(exporter: Exporter, people: int, exports: int) -> None:
    exporter.many(people)
    entry = await exporter.run()

    assert entry.recipients == Counts(
        returned=people, empty=0, invalid=0, duplicate=0, accepted=people, imported=people
    )
    assert len(exporter.mailed()) == people
    assert set(exporter.mailed().values()) == {1}
    assert exporter.sandbox.ledger.count("nexthink.export") == exports
    assert len(exporter.sandbox.ledger.batches) == 1


async def test_nobody_in_the_result_is_a_good_end_without_a_trace_in_qualtrics(exporter: Exporter) -> None:
    exporter.people([])
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "NoRecipients")
    assert nobody(exporter)


async def test_what_nexthink_really_ran_is_learnt(exporter: Exporter) -> None:
    ended = await exporter.ended()

    assert ended.query
    assert ended.query.in_sync


async def test_another_query_is_told_and_sent_all_the_same(exporter: Exporter) -> None:
    exporter.change("nexthink", query="users | list ad.email_address")
    ended = await exporter.ended()

    assert ended.query
    assert not ended.query.in_sync
    assert (
        "First at line 1, column 9: the spec has 'list ad.email_address', Nexthink runs 'with " in ended.query.message
    )
    assert (ended.entry.result, ended.entry.reason) == ("Succeeded", "QueryDrift")
    assert len(exporter.mailed()) == 6


async def test_parameters_are_filled_in_on_both_sides(exporter: Exporter) -> None:
    query = "users | where name == $who | list ad.email_address"
    exporter.change("nexthink", query=query, parameters={"who": "Eva"})
    exporter.people(["eva@example.com"])
    for exporter.account.parameters_quoted in (True, False):
        ended = await exporter.ended()
        assert ended.query
        assert ended.query.in_sync


@pytest.mark.parametrize(
    ("change", "rows", "result", "reason"),
    [
        ({"nexthink": {"query": "users | list ad.email_address", "drift_policy": "Hold"}}, SIX, "Held", "QueryDrift"),
        ({"spec": {"max_recipients": 5}}, SIX, "Held", "RecipientLimitExceeded"),
        ({"qualtrics": {"from_email": "dex@example.com"}}, SIX, "Failed", "FromEmailNotAllowed"),
        ({"qualtrics": {"from_email": "dex@not-qemailserver.com"}}, SIX, "Failed", "FromEmailNotAllowed"),
        ({"nexthink": {"query_id": "#no_such_query"}}, SIX, "Failed", "QueryNotFound"),
        ({}, ["", "", ""], "Failed", "QueryReturnsNoEmail"),
        ({}, ["ana", "S-1-5-21", "#N/A"], "Failed", "QueryReturnsNoEmail"),
    ],
)
async def test_a_guard_ends_the_run_before_anything_is_made_in_qualtrics(
    exporter: Exporter, change: dict[str, dict[str, Any]], rows: list[str], result: str, reason: str
) -> None:
    exporter.people([f"{name}@example.com" if name in SIX and rows is SIX else name for name in rows])
    for part, fields in change.items():
        exporter.change(part, **fields)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == (result, reason)
    assert nobody(exporter)
    assert "obody was mailed" in entry.message


async def test_a_hold_that_cannot_be_judged_holds(exporter: Exporter) -> None:
    exporter.change("nexthink", drift_policy="Hold")
    exporter.faults.add("nexthink.execute", body='{"rows": 1, "data": [{"user.ad.email_address": "ana@example.com"}]}')
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Held", "QueryNotCompared")
    assert nobody(exporter)


@pytest.mark.parametrize("rows", [3, 2000])
async def test_several_fields_are_refused(exporter: Exporter, rows: int) -> None:
    query = exporter.people([])
    query.columns, query.rows = ["user.name", "user.ad.email_address"], [["Eva", "eva@example.com"]] * rows
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "QueryReturnsSeveralFields")
    assert nobody(exporter)
    assert exporter.sandbox.ledger.count("nexthink.export") == 0


async def test_exactly_as_many_as_allowed_are_mailed(exporter: Exporter) -> None:
    exporter.change("spec", max_recipients=6)

    assert (await exporter.run()).result == "Succeeded"


async def test_a_custom_sender_is_for_those_who_say_so(exporter: Exporter) -> None:
    exporter.account.own_domains.add("example.com")
    exporter.change("qualtrics", from_email="dex@example.com", allow_custom_from_domain=True)

    assert (await exporter.run()).result == "Succeeded"
    assert len(exporter.mailed()) == 6


@pytest.mark.parametrize("people", [3, 1500])
async def test_a_result_cut_by_the_licence_is_sent_and_told(exporter: Exporter, people: int) -> None:
    exporter.many(people)
    exporter.change("nexthink", result_source="Export")
    exporter.account.queries[exporter.account.query_id].truncated = True
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "ResultTruncated")
    assert len(exporter.mailed()) == people


async def test_an_export_cut_by_the_licence_is_told_too(exporter: Exporter) -> None:
    exporter.many(1500)
    query = exporter.account.queries[exporter.account.query_id]
    entry = await exporter.run_changing("nexthink.export", lambda: setattr(query, "truncated", True))

    assert entry.reason == "ResultTruncated"


async def test_an_export_with_more_fields_than_its_beginning_is_refused(exporter: Exporter) -> None:
    exporter.many(1500)

    def edit() -> None:
        query = exporter.account.queries[exporter.account.query_id]
        query.columns, query.rows = ["user.name", "user.ad.email_address"], [["Eva", "eva@example.com"]] * 1500

    entry = await exporter.run_changing("nexthink.export", edit)

    assert entry.reason == "QueryReturnsSeveralFields"
    assert nobody(exporter)


async def test_the_token_of_a_send_is_good_for_minutes_more(exporter: Exporter) -> None:
    exporter.account.qualtrics_token_seconds = 600
    await exporter.run_changing("qualtrics.import_status", lambda: exporter.clock.advance(400))

    assert exporter.sandbox.ledger.operations()[-2:] == ["qualtrics.token", "qualtrics.create_distribution"]


async def test_a_dry_run_counts_the_people_and_creates_nothing(exporter: Exporter) -> None:
    exporter.change("spec", dry_run=True)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("DryRun", "DryRun")
    assert "The query returned 8 rows: 6 people, 1 without an address, 1 duplicate." in entry.message
    assert entry.recipients
    assert (entry.recipients.accepted, entry.recipients.imported) == (6, None)
    assert not exporter.mailed()
    assert not exporter.sandbox.ledger.batches


async def test_a_dry_run_is_held_as_a_run_would_be(exporter: Exporter) -> None:
    exporter.change("spec", dry_run=True, max_recipients=5)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Held", "RecipientLimitExceeded")


async def test_a_wrong_list_lets_nobody_in_and_nothing_is_sent(exporter: Exporter) -> None:
    exporter.change("qualtrics", mailing_list_id="CG_nobody0000001")
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "ImportIncomplete")
    assert "imported none of 6 people" in entry.message
    assert exporter.count("create_distribution") == 0


async def test_people_who_vanish_are_missed_and_the_others_mailed(exporter: Exporter) -> None:
    exporter.account.vanishing_addresses = {"eva@example.com"}
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "ImportIncomplete")
    assert "imported 5 of 6 people" in entry.message
    assert entry.recipients
    assert (entry.recipients.accepted, entry.recipients.imported) == (6, 5)


async def test_people_whom_qualtrics_refuses_are_accounted_for(exporter: Exporter) -> None:
    exporter.account.refused_addresses = {"eva@example.com"}
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert "Qualtrics rejected the other 1 of 6 addresses" in entry.message


async def test_of_several_warnings_the_people_who_are_missing_come_first(exporter: Exporter) -> None:
    exporter.many(1500)  # only an export tells that its result is cut
    exporter.account.vanishing_addresses = {"user000007@example.com"}
    exporter.change("nexthink", query="users | list ad.email_address")
    exporter.account.queries[exporter.account.query_id].truncated = True
    entry = await exporter.run()

    assert entry.reason == "ResultTruncated"
    assert "Nexthink truncated the result" in entry.message
    assert "imported 1499 of 1500 people" in entry.message
    assert "a query that differs from the one in the spec" in entry.message


async def test_a_send_that_qualtrics_refuses_has_failed(exporter: Exporter) -> None:
    exporter.fault("create_distribution", status=400)
    entry = await exporter.run()

    assert (entry.result, entry.reason) == ("Failed", "SendRefused")
    assert not exporter.mailed()
    assert exporter.count("list_distributions") == 0


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
async def test_a_filter_that_replaces_the_reply_to_a_send_does_not_make_it_a_refusal(
    exporter: Exporter, status: int, body: str | bytes, sent: bool
) -> None:
    """Else a user who reads that nobody was mailed requests the run again."""
    exporter.fault("create_distribution", status=status, body=body, apply_effect=sent)
    entry = await exporter.run()

    assert entry.result == ("Succeeded" if sent else "Unknown")
    assert "Nobody was mailed" not in entry.message
    assert bool(exporter.mailed()) is sent
    assert exporter.count("create_distribution") == 1


async def test_what_is_wrong_is_found_before_the_query_when_asked_to_check_first(exporter: Exporter) -> None:
    exporter.change("qualtrics", survey_id=exporter.account.inactive_survey_id)
    entry = await exporter.run(check_first=True)

    assert (entry.result, entry.reason) == ("Failed", "SurveyInactive")
    assert exporter.sandbox.ledger.count("nexthink.execute") == 0
    assert nobody(exporter)


async def test_no_address_is_ever_written_down(exporter: Exporter, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "qualtrics_exporter")
    exporter.account.refused_addresses = {"eva@example.com"}
    await exporter.run()

    written = exporter.path.read_text() + caplog.text
    assert not [name for name in SIX if f"{name}@" in written.lower()]


# Tests that deliver


async def test_a_test_delivers_to_twenty_people_and_leaves_history_alone(exporter: Exporter) -> None:
    exporter.many(1500)
    exporter.change("spec", max_recipients=100)
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason, entry.trigger) == ("Succeeded", "TestDelivered", "Test")
    assert list(exporter.mailed()) == [f"user{n:06d}@example.com" for n in range(1, 21)]
    assert exporter.sandbox.ledger.count("nexthink.export") == 0
    with exporter.open() as journal:
        assert journal.history == []


async def test_a_test_checks_everything_first(exporter: Exporter) -> None:
    exporter.change("qualtrics", message_id=exporter.account.other_message_id)
    entry = await exporter.run(trigger="Test")

    assert (entry.result, entry.reason) == ("Failed", "MessageNotInvitation")
    assert nobody(exporter)


async def test_a_test_does_not_mail_more_people_than_a_run_may(exporter: Exporter) -> None:
    exporter.change("spec", max_recipients=2)
    await exporter.run(trigger="Test")

    assert list(exporter.mailed()) == ["ana@example.com", "ben@example.com"]


async def test_the_times_of_an_entry_are_those_of_the_clock(exporter: Exporter) -> None:
    entry = await exporter.run()

    assert entry.start_time
    assert entry.send_time
    assert START <= entry.start_time <= entry.send_time <= entry.completion_time
