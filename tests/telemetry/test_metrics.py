"""What Prometheus is told."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import generate_latest

from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry, RecipientCounts
from qualtrics_exporter.telemetry.metrics import Metrics

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass
class Called:
    service: str = "qualtrics"
    operation: str = "create_distribution"
    outcome: str = "ok"
    seconds: float = 0.2


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def shown(metrics: Metrics) -> dict[str, float]:
    """Every series of ours, as Prometheus would read it."""
    text = generate_latest(metrics.registry).decode()
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
    read = Exporter.from_object({"metadata": {"namespace": "dex", "name": name}, "spec": spec, "status": status})
    assert read.spec
    return read


def of(name: str, series: str) -> str:
    return f'{series}{{name="{name}",namespace="dex"}}'


def test_an_exporter_has_what_an_overdue_alert_needs(metrics: Metrics) -> None:
    metrics.exporter(exporter(), True)

    series = shown(metrics)
    assert series[of("teams", "ready")] == 1
    assert series[of("teams", "expected_interval_seconds")] == 4 * 3600
    assert series[of("teams", "last_success_timestamp_seconds")] == datetime(2026, 3, 2, 4, 20, tzinfo=UTC).timestamp()
    assert series[of("teams", "next_slot_timestamp_seconds")] == datetime(2026, 3, 2, 12, 20, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [({"frequency": "Daily"}, 86_400), ({"frequency": "Weekly", "dayOfWeek": "Monday"}, 7 * 86_400)],
)
def test_the_interval_is_that_of_the_schedule(metrics: Metrics, schedule: dict[str, str], seconds: int) -> None:
    metrics.exporter(exporter(schedule=schedule), True)
    assert shown(metrics)[of("teams", "expected_interval_seconds")] == seconds


def test_a_suspended_exporter_expects_nothing(metrics: Metrics) -> None:
    metrics.exporter(exporter(suspend=True), False)
    assert {s for s in shown(metrics) if 'name="teams"' in s} == {
        of("teams", "ready"),
        of("teams", "last_success_timestamp_seconds"),
    }


def test_an_exporter_whose_spec_cannot_be_read_is_there_and_not_ready(metrics: Metrics) -> None:
    metrics.exporter(Exporter.from_object({"metadata": {"namespace": "dex", "name": "broken"}, "spec": 1}), False)
    assert {s for s in shown(metrics) if 'name="broken"' in s} == {of("broken", "ready")}


def test_series_go_with_the_object(metrics: Metrics) -> None:
    metrics.exporter(exporter("teams"), True)
    metrics.exporter(exporter("zoom"), True)
    metrics.forget("dex", "teams", exporter("teams").uid)
    metrics.forget("dex", "zoom", "the uid of another one that had its name")
    metrics.forget("dex", "never-there", "uid")

    assert not [s for s in shown(metrics) if 'name="teams"' in s]
    assert of("zoom", "ready") in shown(metrics)


def test_a_replica_that_no_longer_leads_still_tells_what_its_watch_sees(metrics: Metrics) -> None:
    metrics.leading(True)
    metrics.exporter(exporter(), True)
    assert shown(metrics)["leader"] == 1

    metrics.leading(False)
    assert shown(metrics)["leader"] == 0
    assert [s for s in shown(metrics) if 'name="teams"' in s]


def test_remote_calls_are_counted_by_outcome_and_timed(metrics: Metrics) -> None:
    metrics.observe(Called())
    metrics.observe(Called(outcome="rate_limited", seconds=7))

    series = shown(metrics)
    assert series['remote_requests_total{operation="create_distribution",outcome="ok",side="qualtrics"}'] == 1
    assert series['remote_requests_total{operation="create_distribution",outcome="rate_limited",side="qualtrics"}'] == 1
    assert series['remote_request_duration_seconds_count{operation="create_distribution",side="qualtrics"}'] == 2
    assert series['remote_request_duration_seconds_sum{operation="create_distribution",side="qualtrics"}'] == 7.2


def test_runs_are_counted_by_result_and_reason_and_so_are_their_people(metrics: Metrics) -> None:
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
        assert shown(metrics)["active_runs"] == 1
    metrics.run_ended(entry)
    metrics.run_ended(entry.model_copy(update={"result": "Failed", "reason": "SurveyNotFound", "recipients": None}))

    series = shown(metrics)
    assert series["active_runs"] == 0
    assert series['runs_total{reason="Succeeded",result="Succeeded",trigger="Schedule"}'] == 1
    assert series['runs_total{reason="SurveyNotFound",result="Failed",trigger="Schedule"}'] == 1
    assert series['recipients_total{stage="accepted"}'] == 10
    assert 'recipients_total{stage="imported"}' not in series


def test_what_nobody_tells_is_asked_at_each_scrape(metrics: Metrics) -> None:
    waiting = [3, 2, 1]
    metrics.follow(
        exporters=lambda: 7,
        due=waiting.pop,
        lag=lambda: 1.5,
        tick_age=lambda: 0.1,
        watch_age=lambda: 60.0,
        blind=lambda: {"dex": 12.0},
        failing=lambda: 2,
    )

    assert shown(metrics)["due_exporters"] == 1
    series = shown(metrics)
    assert series["due_exporters"] == 2
    assert (series["exporters"], series["schedule_lag_seconds"]) == (7, 1.5)
    assert (series["scheduler_tick_age_seconds"], series["watch_age_seconds"]) == (0.1, 60)


def test_no_series_tells_of_a_person_or_a_run(metrics: Metrics) -> None:
    metrics.exporter(exporter(), True)
    metrics.observe(Called())
    text = generate_latest(metrics.registry).decode()
    assert "@" not in text
    assert "_created" not in text
    assert "process_resident_memory_bytes" in text


def test_two_sets_of_metrics_do_not_meet() -> None:
    one, other = Metrics(), Metrics()
    one.leading(True)
    assert shown(other)["leader"] == 0
