"""The series that the alerts about late and failed runs read: nothing that sends no survey hides a failure."""

from typing import Any

import pytest

from qualtrics_exporter.controller.plan.next_status import finished
from qualtrics_exporter.export.journal import Ended
from qualtrics_exporter.resource.status import HistoryEntry, Status
from tests.controller.exporters import ZONE, at
from tests.controller.exporters import exporter as planned_exporter
from tests.telemetry.test_exporter_series import EXPECTED, entry, exporter, series_with, shown, text_of, time


def last_run(status: dict[str, Any]) -> dict[str, str]:
    """The labels of `last_run_info`."""
    (labels,) = [
        dict(labels) for name, labels in shown(series_with(exporter(status=status))) if name == "last_run_info"
    ]
    return labels


@pytest.mark.parametrize("result", ["Failed", "Held", "Missed", "Unknown", "Succeeded", "DryRun"])
def test_a_skipped_slot_or_request_does_not_hide_the_result_of_the_run_before_it(result: str) -> None:
    skipped = [entry("Skipped", 41, reason="RunActive"), entry("Skipped", 40, reason="RunActive", trigger="Request")]
    history = [*skipped, entry(result, 39, reason="SurveyNotFound"), entry("Succeeded", 1)]
    assert last_run({"history": history}) == {"result": result, "reason": "SurveyNotFound"}
    assert shown(series_with(exporter(status={"history": history})))[("last_run_timestamp_seconds", ())] == time(
        "2026-03-02 09:41"
    ), "the time is that of the newest entry"


def test_exporter_that_only_skipped_slots_shows_the_newest_of_them() -> None:
    history = [entry("Skipped", 41, reason="RunActive"), entry("Skipped", 40, reason="ClockStepped")]
    assert last_run({"history": history}) == {"result": "Skipped", "reason": "RunActive"}


def test_a_request_during_a_run_that_fails_leaves_the_failure_in_the_series() -> None:
    """The operator writes both entries at once, and the skipped request is the newer one."""
    run = {"id": "run-1", "trigger": "Schedule", "startTime": "2026-03-02T09:20:00Z", "generation": 1}
    before = Status.model_validate(
        {
            "schedule": "every day at 00:20, UTC",
            "scheduleSince": "2026-03-02T08:00:00Z",
            "nextScheduleTime": "2026-03-03T00:20:00Z",
            "activeRun": {**run, "holder": "operator", "heartbeatTime": "2026-03-02T09:20:00Z", "step": "Claimed"},
        }
    )
    failed = HistoryEntry.model_validate(entry("Failed", 30, id="run-1", reason="SurveyNotFound"))
    requested = planned_exporter(before, annotations={"run-requested-at": "again"})
    status = finished(requested, Ended(failed), at("2026-03-02 09:30"), ZONE)
    assert [(one.result, one.reason) for one in status.history or []] == [
        ("Skipped", "RunActive"),
        ("Failed", "SurveyNotFound"),
    ]
    written = status.model_dump(by_alias=True, mode="json", exclude_none=True)
    assert last_run(written) == {"result": "Failed", "reason": "SurveyNotFound"}


def counted_since(status: dict[str, Any], **spec: Any) -> float | None:
    return shown(series_with(exporter(status=status, **spec))).get(("counted_since_timestamp_seconds", ()))


def test_slots_of_an_exporter_count_from_its_last_dry_run_when_dry_runs_end() -> None:
    """Otherwise an exporter that was tried for weeks is overdue as soon as it is activated."""
    dry = {**entry("DryRun", 20), "completionTime": "2026-03-08T00:25:00Z"}
    status = {"scheduleSince": "2026-02-01T00:00:00Z", "history": [entry("Skipped", 59), dry, entry("DryRun", 1)]}
    assert counted_since(status) == time("2026-03-08 00:25")
    assert counted_since(status, dryRun=True) is None
    assert counted_since(status, suspend=True) is None


def test_a_dry_run_from_before_a_resumption_does_not_count() -> None:
    status = {"scheduleSince": "2026-03-02T12:00:00Z", "history": [entry("DryRun", 20)]}
    assert counted_since(status) == time("2026-03-02 12:00")


def test_a_failed_run_does_not_count_as_a_dry_run() -> None:
    status = {"scheduleSince": "2026-02-01T00:00:00Z", "history": [entry("Failed", 20), entry("Held", 10)]}
    assert counted_since(status) == time("2026-02-01 00:00")


def test_exporters_with_the_same_name_in_two_namespaces_are_different_exporters() -> None:
    dex, hr = exporter(namespace="dex", uid="in-dex"), exporter(namespace="hr", uid="in-hr", status={}, suspend=True)
    series = series_with(dex, hr)
    series.count_run(hr, "Failed")
    text = text_of(series)
    assert 'qualtrics_exporter_suspended{name="teams",namespace="dex"} 0\n' in text
    assert 'qualtrics_exporter_suspended{name="teams",namespace="hr"} 1\n' in text
    assert 'exporter_runs_total{name="teams",namespace="dex",result="Failed"} 0\n' in text
    assert 'exporter_runs_total{name="teams",namespace="hr",result="Failed"} 1\n' in text
    series.forget("hr", "teams", "in-dex")
    assert series.uids() == {"in-dex", "in-hr"}, "a deletion in one namespace does not touch the other"
    series.forget("hr", "teams", "in-hr")
    assert series.uids() == {"in-dex"}
    assert shown(series) == EXPECTED
