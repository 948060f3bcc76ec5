"""What a check that reads no rows repeats from an earlier test: the error in the rows of the query."""

from datetime import timedelta
from typing import Any

import pytest

from qualtrics_exporter.controller.actions.check_inputs import found_in_result
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.remote.errors import ExportError, Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import HistoryEntry, RecipientCounts, Status
from tests.controller.exporters import at, initial_status

FOUND = at("2026-11-23 12:00")
SEVERAL_FIELDS = Permanent(Reason.QUERY_RETURNS_SEVERAL_FIELDS, "The query returns 3 fields instead of one")
NO_EMAIL = Permanent(Reason.QUERY_RETURNS_NO_EMAIL, "The query returned 4 rows, but no e-mail address among them")


def after_check(nexthink: ExportError, status: Status | None = None, generation: int = 1) -> Status:
    """The status after a check or a test that found this error at Nexthink."""
    before = status or initial_status(FOUND - timedelta(hours=1))
    return conditions.checked(before, Verdict(nexthink=nexthink), generation, FOUND, suspended=False)


def ended(start: timedelta, **fields: Any) -> HistoryEntry:
    """The entry of a run that started so long after the error was found."""
    return HistoryEntry(
        id="a" * 20, trigger="Request", start_time=FOUND + start, completion_time=FOUND + start + timedelta(minutes=1),
        result="Succeeded", reason="Succeeded", message="Sent.", **fields,
    )  # fmt: skip


@pytest.mark.parametrize("error", [SEVERAL_FIELDS, NO_EMAIL], ids=lambda error: str(error.reason))
def test_error_in_the_rows_keeps_its_reason_and_its_message_in_each_later_check(error: ExportError) -> None:
    status = after_check(error)
    for _ in range(3):
        repeated = found_in_result(status, generation=1)
        assert repeated
        assert (repeated.reason, repeated.message) == (error.reason, error.message)
        status = after_check(repeated, status)
    for type_ in ("Ready", "NexthinkReady", "Stalled"):
        condition = status.condition(type_)
        assert condition
        assert (condition.reason, condition.message) == (str(error.reason), error.message)


def test_error_in_the_rows_of_another_generation_is_not_repeated() -> None:
    assert found_in_result(after_check(SEVERAL_FIELDS), generation=2) is None


def test_error_that_every_check_finds_itself_is_not_repeated() -> None:
    error = Permanent(Reason.CREDENTIALS_REFUSED, "Nexthink refused the credentials of Secret dex/nexthink")
    assert found_in_result(after_check(error), generation=1) is None


def test_error_in_the_rows_is_repeated_until_a_run_that_starts_later_has_read_rows() -> None:
    status = after_check(SEVERAL_FIELDS)
    counts = RecipientCounts(returned=6, accepted=6)
    earlier = status.with_entry(ended(timedelta(minutes=-2), recipients=counts))
    without_rows = status.with_entry(ended(timedelta(minutes=2)))
    later = status.with_entry(ended(timedelta(minutes=2), recipients=counts))
    assert found_in_result(earlier, generation=1)
    assert found_in_result(without_rows, generation=1)
    assert found_in_result(later, generation=1) is None
