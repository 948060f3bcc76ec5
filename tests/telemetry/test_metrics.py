"""The metrics that Prometheus scrapes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry, RecipientCounts
from qualtrics_exporter.telemetry.metrics import Metrics

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass
class Call:
    service: str = "qualtrics"
    operation: str = "create_distribution"
    outcome: str = "ok"
    seconds: float = 0.2


@pytest.fixture
def metrics() -> Metrics:
    """The metrics of a replica that leads."""
    metrics = Metrics()
    metrics.leading(True)
    return metrics


def page(metrics: Metrics) -> str:
    return b"".join(metrics.text()).decode()


def series_of(metrics: Metrics) -> dict[str, float]:
    """The series of the operator with their values, as Prometheus reads them."""
    text = page(metrics)
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("qualtrics_exporter_"))
    return {series.removeprefix("qualtrics_exporter_"): float(value) for series, value in pairs}


def exporter(name: str = "teams", *, suspend: bool = False, schedule: Any = None) -> Exporter:
    qualtrics = {
        "credentialsSecretRef": {"name": "qualtrics"},
        "surveyId": "SV_0123456789abcde",
        "directoryId": "POOL_0123456789abcde",
        "messageId": "MS_0123456789abcde",
        "libraryId": "UR_0123456789abcde",
        "mailingListId": "CG_0123456789abcde",
        "fromEmail": "noreply@qemailserver.com",
        "fromName": "DEX",
        "subject": "How is it?",
    }
    nexthink = {
        "credentialsSecretRef": {"name": "nexthink"},
        "query": "users | list ad.email_address",
        "queryId": "#teams",
    }
    spec = {
        "suspend": suspend,
        "schedule": schedule or {"frequency": "Hourly", "everyHours": 4},
        "nexthink": nexthink,
        "qualtrics": qualtrics,
    }
    status = {"lastSuccessfulTime": "2026-03-02T04:20:00Z", "nextScheduleTime": "2026-03-02T12:20:00Z"}
    result = Exporter.from_object({"metadata": {"namespace": "dex", "name": name}, "spec": spec, "status": status})
    assert result.spec
    return result


def series_name(name: str, series: str) -> str:
    return f'{series}{{name="{name}",namespace="dex"}}'


def test_an_exporter_has_the_series_that_an_overdue_alert_needs(metrics: Metrics) -> None:
    metrics.exporter(exporter(), True)

    series = series_of(metrics)
    assert series[series_name("teams", "ready")] == 1
    assert series[series_name("teams", "expected_interval_seconds")] == 4 * 3600
    assert (
        series[series_name("teams", "last_success_timestamp_seconds")]
        == datetime(2026, 3, 2, 4, 20, tzinfo=UTC).timestamp()
    )
    assert (
        series[series_name("teams", "next_slot_timestamp_seconds")]
        == datetime(2026, 3, 2, 12, 20, tzinfo=UTC).timestamp()
    )


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [({"frequency": "Daily"}, 86_400), ({"frequency": "Weekly", "dayOfWeek": "Monday"}, 7 * 86_400)],
    ids=["Daily", "Weekly"],
)
def test_expected_interval_is_that_of_the_schedule(metrics: Metrics, schedule: dict[str, str], seconds: int) -> None:
    metrics.exporter(exporter(schedule=schedule), True)
    assert series_of(metrics)[series_name("teams", "expected_interval_seconds")] == seconds


def test_a_suspended_exporter_has_no_expected_interval_and_no_next_slot(metrics: Metrics) -> None:
    metrics.exporter(exporter(suspend=True), False)
    series = series_of(metrics)
    assert series_name("teams", "expected_interval_seconds") not in series
    assert series_name("teams", "next_slot_timestamp_seconds") not in series
    assert series_name("teams", "last_success_timestamp_seconds") in series
    assert series[series_name("teams", "suspended")] == 1


def test_exporter_with_an_invalid_spec_and_no_status_has_only_its_state(metrics: Metrics) -> None:
    metrics.exporter(Exporter.from_object({"metadata": {"namespace": "dex", "name": "broken"}, "spec": 1}), False)
    found = {s: value for s, value in series_of(metrics).items() if 'name="broken"' in s and value}
    assert found == {}
    names = {s.partition("{")[0] for s in series_of(metrics) if 'name="broken"' in s}
    assert names == {"ready", "suspended", "unresolved_runs", "exporter_runs_total"}


def test_the_series_of_an_exporter_end_when_the_exporter_is_deleted(metrics: Metrics) -> None:
    metrics.exporter(exporter("teams"), True)
    metrics.exporter(exporter("zoom"), True)
    metrics.forget("dex", "teams", exporter("teams").uid)
    metrics.forget("dex", "zoom", "the uid of an earlier exporter with this name")
    metrics.forget("dex", "never-there", "uid")

    assert not [s for s in series_of(metrics) if 'name="teams"' in s]
    assert series_name("zoom", "ready") in series_of(metrics)


def test_only_the_leader_shows_the_series_of_exporters(metrics: Metrics) -> None:
    metrics.leading(False)
    metrics.exporter(exporter(), True)
    assert series_of(metrics)["leader"] == 0
    assert not [s for s in series_of(metrics) if 'name="teams"' in s]

    metrics.leading(True)
    assert series_of(metrics)["leader"] == 1
    assert series_of(metrics)[series_name("teams", "ready")] == 1, "it knew the exporter before it led"

    metrics.leading(False)
    assert not [s for s in series_of(metrics) if 'name="teams"' in s]


def test_remote_calls_are_counted_by_outcome_and_timed(metrics: Metrics) -> None:
    metrics.observe(Call())
    metrics.observe(Call(outcome="rate_limited", seconds=7))

    series = series_of(metrics)
    assert series['remote_requests_total{operation="create_distribution",outcome="ok",side="qualtrics"}'] == 1
    assert series['remote_requests_total{operation="create_distribution",outcome="rate_limited",side="qualtrics"}'] == 1
    assert series['remote_request_duration_seconds_count{operation="create_distribution",side="qualtrics"}'] == 2
    assert series['remote_request_duration_seconds_sum{operation="create_distribution",side="qualtrics"}'] == 7.2


def test_runs_are_counted_by_result_and_reason_and_recipients_by_stage(metrics: Metrics) -> None:
    entry = HistoryEntry(
        id="r",
        trigger="Schedule",
        completion_time=NOW,
        result="Succeeded",
        reason="Succeeded",
        message="",
        recipients=RecipientCounts(returned=12, invalid=2, accepted=10),
    )
    with metrics.running():
        assert series_of(metrics)["active_runs"] == 1
    metrics.run_ended(exporter(), entry)
    metrics.run_ended(
        exporter(), entry.model_copy(update={"result": "Failed", "reason": "SurveyNotFound", "recipients": None})
    )

    series = series_of(metrics)
    assert series["active_runs"] == 0
    assert series['runs_total{reason="Succeeded",result="Succeeded",trigger="Schedule"}'] == 1
    assert series['runs_total{reason="SurveyNotFound",result="Failed",trigger="Schedule"}'] == 1
    assert series['recipients_total{stage="accepted"}'] == 10
    assert 'recipients_total{stage="imported"}' not in series


def test_gauges_with_a_callback_are_read_at_each_scrape(metrics: Metrics) -> None:
    waiting = [3, 2, 1]
    metrics.follow(
        exporters=lambda: 7,
        due=waiting.pop,
        lag=lambda: 1.5,
        tick_age=lambda: 0.1,
        watch_age=lambda: 60.0,
        blind=lambda: {"dex": 12.0},
        failing=lambda: 2,
        rate_limit_waits=lambda: {"qualtrics": 2.5},
    )

    assert series_of(metrics)["due_exporters"] == 1
    series = series_of(metrics)
    assert series["due_exporters"] == 2
    assert (series["exporters"], series["schedule_lag_seconds"]) == (7, 1.5)
    assert series['rate_limit_wait_seconds_total{side="qualtrics"}'] == 2.5
    assert series['rate_limit_wait_seconds_total{side="nexthink"}'] == 0, "its rate begins with a zero"
    assert (series["scheduler_tick_age_seconds"], series["watch_age_seconds"]) == (0.1, 60)


def test_the_metrics_contain_no_address_and_no_created_series(metrics: Metrics) -> None:
    metrics.exporter(exporter(), True)
    metrics.observe(Call())
    text = page(metrics)
    assert "@" not in text
    assert "_created" not in text
    assert "process_resident_memory_bytes" in text


def test_two_sets_of_metrics_are_independent() -> None:
    first, second = Metrics(), Metrics()
    first.leading(True)
    assert series_of(second)["leader"] == 0
