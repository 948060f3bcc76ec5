"""The metrics that Prometheus scrapes."""

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pytest

from hack import metrics_page
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Place, Reason
from qualtrics_exporter.resource.status import HistoryEntry, RecipientCounts
from qualtrics_exporter.telemetry import metric_definitions
from qualtrics_exporter.telemetry.metric_definitions import Definition
from qualtrics_exporter.telemetry.metrics import Metrics
from qualtrics_exporter.telemetry.run_outcomes import run_outcomes

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


def test_replica_without_exporter_metrics_shows_only_those_of_the_operator() -> None:
    metrics = Metrics(per_exporter=False)
    metrics.leading(True)
    metrics.exporter(exporter(), True)
    metrics.run_ended(exporter(), ended())
    metrics.forget("dex", "teams", exporter().uid)
    series = series_of(metrics)
    assert not [s for s in series if 'name="teams"' in s]
    assert series['runs_total{reason="Succeeded",result="Succeeded",trigger="Schedule"}'] == 1


def test_every_outcome_of_a_run_is_counted_from_zero(metrics: Metrics) -> None:
    """A rate sees an increase only if it has seen the value before."""
    runs = {s: value for s, value in series_of(metrics).items() if s.startswith("runs_total{")}
    assert set(runs.values()) == {0}
    for outcome in (
        'reason="SurveyNotFound",result="Failed",trigger="Schedule"',
        'reason="DeliveryUnknown",result="Unknown",trigger="Request"',
        'reason="QueryDrift",result="Held",trigger="Schedule"',
        'reason="SlotOvertaken",result="Missed",trigger="Schedule"',
        'reason="RunActive",result="Skipped",trigger="Request"',
    ):
        assert f"runs_total{{{outcome}}}" in runs
    assert {reason for reason in Reason if Place.HISTORY in reason.places} - RESOLVED <= {
        outcome[2] for outcome in run_outcomes()
    }
    assert len(runs) < 200
    errors = {s: value for s, value in series_of(metrics).items() if s.startswith("internal_errors_total{")}
    assert set(errors.values()) == {0}
    assert len(errors) == 5


RESOLVED = {
    *(Reason.FOUND_LATER, Reason.SETTLED_AS_SENT, Reason.SETTLED_AS_NOT_SENT),
    *(Reason.PARTLY_DELIVERED, Reason.DUPLICATE_SUPPRESSED, Reason.DISTRIBUTION_NOT_FOUND),
}
"""Reasons that an entry can get later. It is counted when it is written."""


def test_entry_with_an_unknown_reason_is_counted_without_its_text(metrics: Metrics) -> None:
    metrics.run_ended(exporter(), ended(reason='jane@example.com"\n'))
    assert "jane" not in page(metrics)
    assert series_of(metrics)['runs_total{reason="Other",result="Succeeded",trigger="Schedule"}'] == 1


def test_runs_are_counted_by_how_long_they_waited_for_their_turn(metrics: Metrics) -> None:
    metrics.run_claimed(45)
    metrics.run_claimed(-3)  # a clock was set back
    series = series_of(metrics)
    assert series['run_queue_wait_seconds_bucket{le="60.0"}'] == 2
    assert series['run_queue_wait_seconds_bucket{le="30.0"}'] == 1
    assert (series["run_queue_wait_seconds_count"], series["run_queue_wait_seconds_sum"]) == (2, 45)


def test_build_info_has_the_versions(metrics: Metrics) -> None:
    (series,) = [s for s in series_of(metrics) if s.startswith("build_info{")]
    assert f'version="{version("qualtrics-exporter")}"' in series
    assert f'python="{platform.python_version()}"' in series


def test_page_of_metrics_has_each_metric_of_the_table_once() -> None:
    found = [d for d in vars(metric_definitions).values() if isinstance(d, Definition)]
    table = [*metric_definitions.EXPORTER_METRICS, *metric_definitions.OPERATOR_METRICS]
    assert sorted(d.name for d in table) == sorted({d.name for d in found})
    for definition in table:
        start = f"| [`{definition.name}`](metrics/{definition.name}.md) |"
        (line,) = [line for line in metrics_page.metrics().splitlines() if line.startswith(start)]
        assert f"| {definition.type} |" in line
        assert all(f"`{label}`" in line for label in definition.labels)
        assert definition.text in line
        assert definition.text.endswith(".")


def ended(reason: str = "Succeeded") -> HistoryEntry:
    return HistoryEntry(id="r", trigger="Schedule", completion_time=NOW, result="Succeeded", reason=reason, message="")


def test_remote_calls_are_counted_by_outcome_and_timed(metrics: Metrics) -> None:
    metrics.observe(Call())
    metrics.observe(Call(outcome="rate_limited", seconds=7))

    series = series_of(metrics)
    assert series['remote_requests_total{operation="create_distribution",outcome="ok",side="qualtrics"}'] == 1
    assert series['remote_requests_total{operation="create_distribution",outcome="rate_limited",side="qualtrics"}'] == 1
    # Otherwise `rate()` would not see rejections that all come between two scrapes.
    assert series['remote_requests_total{operation="create_distribution",outcome="limited",side="qualtrics"}'] == 0
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
    waiting, may_lead = [3, 2, 1], True
    metrics.follow(
        exporters=lambda: 7,
        due=waiting.pop,
        lag=lambda: 1.5,
        tick_age=lambda: 0.1,
        watch_age=lambda: 60.0,
        blind=lambda: {"dex": 12.0},
        failing=lambda: 2,
        rate_limit_waits=lambda: {"qualtrics": 2.5},
        may_lead=lambda: may_lead,
    )
    metrics.exporter(exporter(), True)

    assert series_of(metrics)["due_exporters"] == 1
    series = series_of(metrics)
    assert series["due_exporters"] == 2
    assert (series["exporters"], series["schedule_lag_seconds"]) == (7, 1.5)
    assert series_name("teams", "ready") in series
    assert series['rate_limit_wait_seconds_total{side="qualtrics"}'] == 2.5
    assert series['rate_limit_wait_seconds_total{side="nexthink"}'] == 0, "its rate begins with a zero"
    assert (series["scheduler_tick_age_seconds"], series["watch_age_seconds"]) == (0.1, 60)
    may_lead = False
    waiting.append(0)
    assert series_name("teams", "ready") not in series_of(metrics), "its Lease has run out, but its work has not ended"


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
