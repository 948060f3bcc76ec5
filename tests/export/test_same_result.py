"""The file of an export that cannot be the result of the query that was executed."""

import pytest

from qualtrics_exporter.export.same_result import Seen
from qualtrics_exporter.nexthink.execution import Executed
from qualtrics_exporter.remote.errors import Transient
from tests.export.conftest import Exporter

DOWNLOAD = "nexthink.download"


def file(header: str, people: list[str]) -> bytes:
    return "\n".join([header, *people, ""]).encode()


def everybody(exporter: Exporter) -> list[str]:
    query = exporter.account.queries[exporter.account.query_id]
    return [str(row[0]) for row in query.stream()]


@pytest.mark.parametrize("kept", [0, 1, 499])
async def test_an_export_that_has_far_fewer_people_than_the_execution_mails_nobody(
    exporter: Exporter, kept: int
) -> None:
    exporter.many(3000)
    body = file("user.ad.email_address", everybody(exporter)[:kept])
    exporter.faults.add(DOWNLOAD, times=None, body=body)
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert f"it has {kept} rows, and the execution of the query returned 1,000 or more" in entry.message
    assert not exporter.mailed()


async def test_an_export_with_nobody_of_the_execution_mails_nobody(exporter: Exporter) -> None:
    exporter.many(1500)
    body = file("user.ad.email_address", [f"other{n}@example.com" for n in range(1500)])
    exporter.faults.add(DOWNLOAD, times=None, body=body)
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "none of the 1,000 rows" in entry.message
    assert not exporter.mailed()


@pytest.mark.parametrize("line", ["Service temporarily unavailable", "null", "OK", "dXNlckBleGFtcGxlLmNvbQ=="])
async def test_a_line_of_text_is_not_an_empty_result(exporter: Exporter, line: str) -> None:
    exporter.change("nexthink", result_source="Export")
    exporter.faults.add(DOWNLOAD, times=None, body=f"{line}\n".encode())
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "its only line is not the name of a field" in entry.message
    assert line not in entry.message


@pytest.mark.parametrize("header", ["user.ad.email_address", "ad.email_address", '"Mail"'])
async def test_an_export_with_a_header_alone_is_an_empty_result(exporter: Exporter, header: str) -> None:
    exporter.change("nexthink", result_source="Export", query="users | where mail == 1 | list mail")
    exporter.faults.add(DOWNLOAD, times=None, body=f"{header}\n".encode())
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Succeeded", "NoRecipients")


async def test_an_export_of_another_field_mails_nobody(exporter: Exporter) -> None:
    exporter.many(1500)
    exporter.faults.add(DOWNLOAD, times=None, body=file("device.owner_manager_email", everybody(exporter)))
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "device.owner_manager_email" in entry.message
    assert not exporter.mailed()


async def test_people_who_join_and_leave_meanwhile_are_no_difference(exporter: Exporter) -> None:
    exporter.many(1500)
    people = [*everybody(exporter)[:600], *(f"new{n}@example.com" for n in range(900))]
    exporter.faults.add(DOWNLOAD, times=None, body=file("user.ad.email_address", people))
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert exporter.mailed() == dict.fromkeys(people, 1)


async def test_the_people_of_a_result_that_became_small_meanwhile_are_those_of_the_second_execution(
    exporter: Exporter,
) -> None:
    """The file of the export may come from a query that was edited for a moment: nothing in it shows that."""
    exporter.many(1500)
    few = everybody(exporter)[:3]
    others = [f"other{n}@example.com" for n in range(900)]
    exporter.faults.add(DOWNLOAD, times=None, body=file("user.ad.email_address", others))
    entry = await exporter.run_changing("nexthink.export", lambda: exporter.people(few))
    assert (entry.result, entry.recipients and entry.recipients.returned) == ("Succeeded", 3)
    assert exporter.mailed() == dict.fromkeys(few, 1)


def executed(field: str, rows: int = 1000) -> Executed:
    people: list[tuple[str, ...]] = [(f"u{n}@example.com",) for n in range(rows)]
    return Executed(1, people, None, complete=False, truncated=False, fields=(field,))


@pytest.mark.parametrize(
    ("header", "field", "same"),
    [
        ("user.ad.email_address", "user.ad.email_address", True),
        ("User.AD.Email_Address", "user.ad.email_address", True),
        ("'user.ad.email_address'", "user.ad.email_address", True),
        ("ad.email_address", "user.ad.email_address", True),
        ("user.ad.email_address", "ad.email_address", True),
        ("email_address", "user.ad.email_address", True),
        ("Email address", "user.ad.email_address", True),  # it is unknown whether exports have such names
        ("E-Mail-Adresse", "user.ad.email_address", True),
        ("user.ad.email_address.last()", "mail", True),
        ("device.owner_manager_email", "user.ad.email_address", False),
        ("user.upn", "user.ad.email_address", False),
        ("user.#manager_mail", "user.#mail", False),
        ("user.organization.#mail", "user.organization.#mail", True),
        ("xad.email_address", "user.ad.email_address", False),
    ],
)
def test_names_of_fields_are_compared_if_both_are_known(header: str, field: str, same: bool) -> None:
    seen = Seen(executed(field))
    if same:
        seen.check_header((header,))
    else:
        with pytest.raises(Transient, match="it has the field"):
            seen.check_header((header,))


def test_the_message_shows_only_what_can_be_the_name_of_a_field() -> None:
    Seen(executed("user.ad.email_address")).check_header(("anna.meier@example.com",))


def test_letter_case_and_spaces_are_no_difference_between_people() -> None:
    seen = Seen(executed("mail"))
    seen.take(" U7@Example.com ")
    seen.check_rows(1000)


def test_rows_without_text_cannot_be_compared() -> None:
    Seen(Executed(1, [("",)] * 1000, None, complete=False, truncated=False)).check_rows(1000)


async def test_after_a_broken_download_the_rows_are_counted_from_the_first_one(exporter: Exporter) -> None:
    exporter.many(3000)
    exporter.faults.add(DOWNLOAD, truncate=20_000)
    entry = await exporter.run()
    assert entry.result == "Succeeded"
    assert entry.recipients
    assert (entry.recipients.returned, entry.recipients.duplicate, entry.recipients.accepted) == (3000, 0, 3000)
    assert len(exporter.mailed()) == 3000
    assert exporter.sandbox.ledger.count(DOWNLOAD) == 2


async def test_rows_of_a_broken_download_do_not_stand_for_those_of_the_next_one(exporter: Exporter) -> None:
    exporter.many(3000)
    exporter.faults.add(DOWNLOAD, truncate=20_000)
    body = file("user.ad.email_address", [f"other{n}@example.com" for n in range(3000)])
    exporter.faults.add(DOWNLOAD, times=None, body=body)
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "none of the 1,000 rows" in entry.message
    assert not exporter.mailed()
