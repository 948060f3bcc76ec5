"""Which Events a change deserves: changes of state, not their repetition."""

from datetime import timedelta

import pytest

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
        id=f"run{number}", trigger=trigger, completion_time=time, result=result, reason=str(reason), message="Told."
    )


def told(*entries: HistoryEntry) -> list[tuple[str, str]]:
    """The Events that come of these entries, one after the other."""
    found, status = [], Status()
    for fresh in entries:
        after = status.with_entry(fresh)
        found += events.events(exporter(status), exporter(after))
        status = after
    return [(event.type, event.reason) for event in found]


def test_a_schedule_that_keeps_failing_in_the_same_way_is_told_once_and_its_recovery_too() -> None:
    down, fine = ("Failed", Reason.REMOTE_UNAVAILABLE), ("Succeeded", Reason.SUCCEEDED)
    runs: list[tuple[Result, Reason]] = [fine, fine, down, down, down, fine, fine]  # type: ignore[list-item]
    assert told(*(entry(number, *run) for number, run in enumerate(runs))) == [
        ("Normal", "Succeeded"),
        ("Warning", "RemoteUnavailable"),
        ("Normal", "Succeeded"),
    ]


def test_another_reason_is_news() -> None:
    assert told(entry(1, "Failed", Reason.REMOTE_UNAVAILABLE), entry(2, "Failed", Reason.CREDENTIALS_REFUSED)) == [
        ("Warning", "RemoteUnavailable"),
        ("Warning", "CredentialsRefused"),
    ]


def test_who_asks_for_a_run_hears_of_each() -> None:
    assert len(told(*(entry(n, "Succeeded", Reason.SUCCEEDED, "Request") for n in range(3)))) == 3


def test_each_unknown_outcome_is_told() -> None:
    assert len(told(*(entry(n, "Unknown", Reason.DELIVERY_UNKNOWN) for n in range(3)))) == 3


def test_more_entries_than_the_history_keeps_are_told_all_the_same() -> None:
    reasons = [Reason.REMOTE_UNAVAILABLE, Reason.CREDENTIALS_REFUSED]
    assert len(told(*(entry(n, "Failed", reasons[n % 2]) for n in range(25)))) == 25


LIMITED = CheckWarning(Reason.QUERY_LIMITED, "line 1, column 64: at most 50 people get through")
PROXIED = CheckWarning(Reason.REQUESTS_PROXIED, "use https://co1.qualtrics.com")
DOWN = Permanent(Reason.SURVEY_NOT_FOUND, "Survey SV_1 does not exist")


def checked(*warnings: CheckWarning, before: Status | None = None, generation: int = 1) -> Status:
    """The status after a check that found nothing but these warnings."""
    verdict = Verdict(warnings=warnings)
    return conditions.checked(before or Status(), verdict, generation, MORNING, suspended=False)


def about_warnings(before: Status, after: Status) -> list[events.EventToRecord]:
    found = events.events(exporter(before), exporter(after))
    return [event for event in found if event.reason not in (Reason.CHECKED, Reason.SURVEY_NOT_FOUND)]


def test_a_check_stores_its_warnings_and_ready_shows_them() -> None:
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


def test_a_warning_has_an_event_when_it_is_new_and_none_while_it_stays() -> None:
    first = checked(LIMITED)
    (event,) = about_warnings(Status(), first)
    assert (event.type, event.reason, event.action) == ("Warning", "QueryLimited", "Check")
    assert event.note == "line 1, column 64: at most 50 people get through. (it stops nothing)"
    second = checked(PROXIED, LIMITED, before=first, generation=2)
    assert [event.reason for event in about_warnings(first, second)] == ["RequestsProxied"]
    assert about_warnings(second, checked(LIMITED, before=second)) == []


def test_a_warning_beside_an_error_has_an_event() -> None:
    status = conditions.checked(Status(), Verdict(qualtrics=DOWN, warnings=(LIMITED,)), 1, MORNING, suspended=False)
    assert [event.reason for event in about_warnings(Status(), status)] == ["QueryLimited"]


def test_the_event_of_a_warning_has_the_same_name_as_in_versions_without_the_field() -> None:
    """After an upgrade, the first check adds each warning to the field. The same name makes no second Event."""
    (event,) = about_warnings(Status(), checked(LIMITED))
    uid = exporter(Status()).uid
    assert event.dedup == f"{uid} QueryLimited 1 line 1, column 64: at most 50 people get through."


def test_a_crd_that_drops_the_warnings_causes_no_events() -> None:
    stored = checked(LIMITED).model_copy(update={"warnings": None})
    assert about_warnings(Status(), stored) == []
    assert about_warnings(stored, stored) == []


def test_words_in_the_message_of_ready_cause_no_events() -> None:
    error = Permanent(Reason.SURVEY_NOT_FOUND, "DuplicateTarget: QueryLimited: no")
    status = conditions.checked(Status(), Verdict(qualtrics=error), 1, MORNING, suspended=False)
    assert about_warnings(Status(), status) == []


def test_an_unexpected_error_does_not_repeat_the_events_of_warnings() -> None:
    status = checked(LIMITED)
    failed = conditions.internal_error(status, "KeyError", 1, MORNING)
    assert failed.warnings == status.warnings
    assert "QueryLimited" not in [event.reason for event in events.events(exporter(status), exporter(failed))]
    assert about_warnings(failed, checked(LIMITED, before=failed))[1:] == []
    assert "QueryLimited" not in [event.reason for event in about_warnings(failed, checked(LIMITED, before=failed))]


@pytest.mark.parametrize("number", [WARNINGS, WARNINGS + 1, 50])
def test_there_are_never_more_warnings_than_the_crd_allows(number: int) -> None:
    many = [CheckWarning(Reason.QUERY_LIMITED, f"number {n}") for n in range(number)]
    found = checked(*many).warnings
    assert found
    assert [warning.message for warning in found] == [f"number {n}." for n in range(WARNINGS)]


def test_a_warning_is_redacted_before_it_is_stored_and_cut_if_it_is_long() -> None:
    status = Status(warnings=[StatusWarning(reason="QueryLimited", message="asked by ana@example.com")])
    (stored,) = _dump(status)["warnings"]
    assert stored["reason"] == "QueryLimited"
    assert "ana" not in stored["message"]
    (long,) = checked(CheckWarning(Reason.QUERY_LIMITED, "x" * 40_000)).warnings or []
    assert len(long.message) == conditions.LONGEST_MESSAGE
