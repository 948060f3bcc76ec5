"""Which changes of a status create Events: changes of state, not repetitions."""

from datetime import timedelta

import pytest

from qualtrics_exporter.controller.kube.event_recorder import EventToRecord
from qualtrics_exporter.controller.status import conditions, events
from qualtrics_exporter.controller.status.store import _dump
from qualtrics_exporter.export.guards import CheckWarning
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import WARNINGS, HistoryEntry, Result, Status, StatusWarning, Trigger
from tests.controller.exporters import at, exporter

MORNING = at("2026-11-24 08:20")


def entry(number: int, result: Result, reason: Reason, trigger: Trigger = "Schedule") -> HistoryEntry:
    time = MORNING + timedelta(hours=number)
    return HistoryEntry(
        id=f"run{number}", trigger=trigger, completion_time=time, result=result, reason=str(reason), message="Ended."
    )


def events_of(*entries: HistoryEntry) -> list[tuple[str, str]]:
    """The types and reasons of the Events, if these entries are added one after the other."""
    found, status = [], Status()
    for new_entry in entries:
        after = status.with_entry(new_entry)
        found += events.events(exporter(status), exporter(after))
        status = after
    return [(event.type, event.reason) for event in found]


def test_repeated_failure_of_slots_creates_one_event_and_so_does_the_recovery() -> None:
    failure, success = ("Failed", Reason.REMOTE_UNAVAILABLE), ("Succeeded", Reason.SUCCEEDED)
    runs: list[tuple[Result, Reason]] = [success, success, failure, failure, failure, success, success]  # type: ignore[list-item]
    assert events_of(*(entry(number, *run) for number, run in enumerate(runs))) == [
        ("Normal", "Succeeded"),
        ("Warning", "RemoteUnavailable"),
        ("Normal", "Succeeded"),
    ]


def test_failure_with_another_reason_creates_an_event() -> None:
    assert events_of(entry(1, "Failed", Reason.REMOTE_UNAVAILABLE), entry(2, "Failed", Reason.CREDENTIALS_REFUSED)) == [
        ("Warning", "RemoteUnavailable"),
        ("Warning", "CredentialsRefused"),
    ]


def test_each_requested_run_creates_an_event() -> None:
    assert len(events_of(*(entry(n, "Succeeded", Reason.SUCCEEDED, "Request") for n in range(3)))) == 3


def test_each_unknown_outcome_creates_an_event() -> None:
    assert len(events_of(*(entry(n, "Unknown", Reason.DELIVERY_UNKNOWN) for n in range(3)))) == 3


def test_more_entries_than_the_history_keeps_all_create_events() -> None:
    reasons = [Reason.REMOTE_UNAVAILABLE, Reason.CREDENTIALS_REFUSED]
    assert len(events_of(*(entry(n, "Failed", reasons[n % 2]) for n in range(25)))) == 25


LIMITED = CheckWarning(Reason.QUERY_LIMITED, "line 1, column 64: at most 50 people get through")
PROXIED = CheckWarning(Reason.REQUESTS_PROXIED, "use https://co1.qualtrics.com")
NO_SURVEY = Permanent(Reason.SURVEY_NOT_FOUND, "Survey SV_1 does not exist")


def checked(*warnings: CheckWarning, before: Status | None = None, generation: int = 1) -> Status:
    """The status after a check that found nothing but these warnings."""
    verdict = Verdict(warnings=warnings)
    return conditions.checked(before or Status(), verdict, generation, MORNING, suspended=False)


def warning_events(before: Status, after: Status) -> list[EventToRecord]:
    found = events.events(exporter(before), exporter(after))
    return [event for event in found if event.reason not in (Reason.CHECKED, Reason.SURVEY_NOT_FOUND)]


def test_check_stores_its_warnings_and_ready_shows_them() -> None:
    status = checked(LIMITED, PROXIED)
    assert [(warning.reason, warning.message) for warning in status.warnings or []] == [
        ("QueryLimited", "line 1, column 64: at most 50 people get through."),
        ("RequestsProxied", "use https://co1.qualtrics.com."),
    ]
    ready = status.condition("Ready")
    assert ready
    assert ready.message == (
        f"{Reason.CHECKED.meaning} QueryLimited: line 1, column 64: at most 50 people get through. "
        "RequestsProxied: use https://co1.qualtrics.com."
    )
    assert checked(before=status).warnings is None, "the next check does not find them"


def test_new_warning_creates_an_event_and_an_unchanged_warning_does_not() -> None:
    first = checked(LIMITED)
    (event,) = warning_events(Status(), first)
    assert (event.type, event.reason, event.action) == ("Warning", "QueryLimited", "Check")
    assert event.note == "line 1, column 64: at most 50 people get through. (it stops nothing)"
    second = checked(PROXIED, LIMITED, before=first, generation=2)
    assert [event.reason for event in warning_events(first, second)] == ["RequestsProxied"]
    assert warning_events(second, checked(LIMITED, before=second)) == []


def test_warning_next_to_an_error_creates_an_event() -> None:
    status = conditions.checked(
        Status(), Verdict(qualtrics=NO_SURVEY, warnings=(LIMITED,)), 1, MORNING, suspended=False
    )
    assert [event.reason for event in warning_events(Status(), status)] == ["QueryLimited"]


def test_event_of_a_warning_has_the_same_name_as_in_versions_without_the_field() -> None:
    """After an upgrade, the first check adds each warning to the field. The same name prevents a second Event."""
    (event,) = warning_events(Status(), checked(LIMITED))
    uid = exporter(Status()).uid
    assert event.dedup == f"{uid} QueryLimited 1 line 1, column 64: at most 50 people get through."


def test_warnings_that_the_crd_prunes_create_no_events() -> None:
    stored = checked(LIMITED).model_copy(update={"warnings": None})
    assert warning_events(Status(), stored) == []
    assert warning_events(stored, stored) == []


def test_reasons_in_the_message_of_ready_create_no_events() -> None:
    error = Permanent(Reason.SURVEY_NOT_FOUND, "DuplicateTarget: QueryLimited: no")
    status = conditions.checked(Status(), Verdict(qualtrics=error), 1, MORNING, suspended=False)
    assert warning_events(Status(), status) == []


def test_unexpected_error_does_not_repeat_the_events_of_warnings() -> None:
    status = checked(LIMITED)
    failed = conditions.internal_error(status, "KeyError", 1, MORNING)
    assert failed.warnings == status.warnings
    assert "QueryLimited" not in [event.reason for event in events.events(exporter(status), exporter(failed))]
    assert warning_events(failed, checked(LIMITED, before=failed))[1:] == []
    assert "QueryLimited" not in [event.reason for event in warning_events(failed, checked(LIMITED, before=failed))]


@pytest.mark.parametrize("number", [WARNINGS, WARNINGS + 1, 50])
def test_check_stores_at_most_as_many_warnings_as_the_crd_allows(number: int) -> None:
    many = [CheckWarning(Reason.QUERY_LIMITED, f"number {n}") for n in range(number)]
    found = checked(*many).warnings
    assert found
    assert [warning.message for warning in found] == [f"number {n}." for n in range(WARNINGS)]


def test_stored_warning_is_redacted_and_truncated() -> None:
    status = Status(warnings=[StatusWarning(reason="QueryLimited", message="asked by ana@example.com")])
    (stored,) = _dump(status)["warnings"]
    assert stored["reason"] == "QueryLimited"
    assert "ana" not in stored["message"]
    (long,) = checked(CheckWarning(Reason.QUERY_LIMITED, "x" * 40_000)).warnings or []
    assert len(long.message) == conditions.LONGEST_MESSAGE
