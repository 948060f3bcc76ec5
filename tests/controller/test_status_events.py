"""Which Events a change deserves: changes of state, not their repetition."""

from datetime import timedelta

from qualtrics_exporter.controller.status import events
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import HistoryEntry, Result, Status, Trigger
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
