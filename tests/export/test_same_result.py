"""An exported file is rejected if it cannot be the result of the executed query."""

import pytest

from qualtrics_exporter.export.same_result import Seen
from qualtrics_exporter.nexthink.execution import Executed
from qualtrics_exporter.remote.errors import Transient
from tests.export.conftest import Exporter

DOWNLOAD = "nexthink.download"


def csv_file(header: str, people: list[str]) -> bytes:
    return "\n".join([header, *people, ""]).encode()


def all_people(exporter: Exporter) -> list[str]:
    query = exporter.account.queries[exporter.account.query_id]
    return [str(row[0]) for row in query.stream()]


@pytest.mark.parametrize("kept", [0, 1, 499])
async def test_export_with_far_fewer_rows_than_the_execution_mails_nobody(exporter: Exporter, kept: int) -> None:
    exporter.set_people_count(3000)
    body = csv_file("user.ad.email_address", all_people(exporter)[:kept])
    exporter.faults.add(DOWNLOAD, times=None, body=body)
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert f"it has {kept} rows, and the execution of the query returned 1,000 or more" in entry.message
    assert not exporter.mailed()


async def test_export_without_anyone_of_the_execution_mails_nobody(exporter: Exporter) -> None:
    exporter.set_people_count(1500)
    body = csv_file("user.ad.email_address", [f"other{n}@example.com" for n in range(1500)])
    exporter.faults.add(DOWNLOAD, times=None, body=body)
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "none of the 1,000 rows" in entry.message
    assert not exporter.mailed()


@pytest.mark.parametrize("line", ["Service temporarily unavailable", "null", "OK", "dXNlckBleGFtcGxlLmNvbQ=="])
async def test_export_with_a_single_line_of_text_is_not_an_empty_result(exporter: Exporter, line: str) -> None:
    exporter.change_spec("nexthink", result_source="Export")
    exporter.faults.add(DOWNLOAD, times=None, body=f"{line}\n".encode())
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "its only line is not the name of a field" in entry.message
    assert line not in entry.message


@pytest.mark.parametrize("header", ["user.ad.email_address", "ad.email_address", '"Mail"'])
async def test_export_with_only_a_header_is_an_empty_result(exporter: Exporter, header: str) -> None:
    exporter.change_spec("nexthink", result_source="Export", query="users | where mail == 1 | list mail")
    exporter.faults.add(DOWNLOAD, times=None, body=f"{header}\n".encode())
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Succeeded", "NoRecipients")


async def test_export_of_a_different_field_mails_nobody(exporter: Exporter) -> None:
    exporter.set_people_count(1500)
    exporter.faults.add(DOWNLOAD, times=None, body=csv_file("device.owner_manager_email", all_people(exporter)))
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "device.owner_manager_email" in entry.message
    assert not exporter.mailed()


async def test_export_is_accepted_if_some_people_changed_since_the_execution(exporter: Exporter) -> None:
    exporter.set_people_count(1500)
    people = [*all_people(exporter)[:600], *(f"new{n}@example.com" for n in range(900))]
    exporter.faults.add(DOWNLOAD, times=None, body=csv_file("user.ad.email_address", people))
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Succeeded", "Succeeded")
    assert exporter.mailed() == dict.fromkeys(people, 1)


async def test_people_of_a_result_that_became_small_come_from_the_second_execution(
    exporter: Exporter,
) -> None:
    """The file may come from a query that was edited only for a moment. Nothing in the file shows that."""
    exporter.set_people_count(1500)
    few = all_people(exporter)[:3]
    others = [f"other{n}@example.com" for n in range(900)]
    exporter.faults.add(DOWNLOAD, times=None, body=csv_file("user.ad.email_address", others))
    entry = await exporter.run_with_change_before("nexthink.export", lambda: exporter.set_people(few))
    assert (entry.result, entry.recipients and entry.recipients.returned) == ("Succeeded", 3)
    assert exporter.mailed() == dict.fromkeys(few, 1)


def execution(field: str, rows: int = 1000) -> Executed:
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
        ("Email address", "user.ad.email_address", True),  # it is unknown whether exports use display names
        ("E-Mail-Adresse", "user.ad.email_address", True),
        ("user.ad.email_address.last()", "mail", True),
        ("device.owner_manager_email", "user.ad.email_address", False),
        ("user.upn", "user.ad.email_address", False),
        ("user.#manager_mail", "user.#mail", False),
        ("user.organization.#mail", "user.organization.#mail", True),
        ("xad.email_address", "user.ad.email_address", False),
    ],
)
def test_field_name_of_an_export_is_compared_if_both_names_are_known(header: str, field: str, same: bool) -> None:
    seen = Seen(execution(field))
    if same:
        seen.check_header((header,))
    else:
        with pytest.raises(Transient, match="it has the field"):
            seen.check_header((header,))


def test_header_that_is_not_a_field_name_is_not_compared() -> None:
    Seen(execution("user.ad.email_address")).check_header(("anna.meier@example.com",))


def test_comparison_of_people_ignores_letter_case_and_spaces() -> None:
    seen = Seen(execution("mail"))
    seen.take([" U7@Example.com "])
    seen.check_rows(1000)


def test_empty_rows_are_not_compared() -> None:
    Seen(Executed(1, [("",)] * 1000, None, complete=False, truncated=False)).check_rows(1000)


async def test_rows_are_counted_from_the_start_after_an_interrupted_download(exporter: Exporter) -> None:
    exporter.set_people_count(3000)
    exporter.faults.add(DOWNLOAD, truncate=20_000)
    entry = await exporter.run()
    assert entry.result == "Succeeded"
    assert entry.recipients
    assert (entry.recipients.returned, entry.recipients.duplicate, entry.recipients.accepted) == (3000, 0, 3000)
    assert len(exporter.mailed()) == 3000
    assert exporter.sandbox.recorder.count(DOWNLOAD) == 2


async def test_rows_of_an_interrupted_download_do_not_confirm_the_next_download(exporter: Exporter) -> None:
    exporter.set_people_count(3000)
    exporter.faults.add(DOWNLOAD, truncate=20_000)
    body = csv_file("user.ad.email_address", [f"other{n}@example.com" for n in range(3000)])
    exporter.faults.add(DOWNLOAD, times=None, body=body)
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "none of the 1,000 rows" in entry.message
    assert not exporter.mailed()
