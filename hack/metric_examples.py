"""An example for each metric: an expression for Prometheus, and the question that it answers.

`metrics_page.py` shows them. Each expression has a result while an operator runs, so that you can start from it.
"""

from typing import NamedTuple

_EXPORTER = "max by (namespace, name)"


class Example(NamedTuple):
    """One expression, and the question that it answers."""

    question: str
    expression: str


EXAMPLES = {
    # For each exporter
    "ready": Example("Which exporters are ready?", f"{_EXPORTER} (qualtrics_exporter_ready)"),
    "last_success_timestamp_seconds": Example(
        "How many hours ago was the last success?",
        f"(time() - {_EXPORTER} (qualtrics_exporter_last_success_timestamp_seconds)) / 3600",
    ),
    "next_slot_timestamp_seconds": Example(
        "In how many hours is the next slot?",
        f"({_EXPORTER} (qualtrics_exporter_next_slot_timestamp_seconds) - time()) / 3600",
    ),
    "expected_interval_seconds": Example(
        "How many exporters have which interval?",
        f'count_values("seconds", {_EXPORTER} (qualtrics_exporter_expected_interval_seconds))',
    ),
    "counted_since_timestamp_seconds": Example(
        "For how many days have slots counted?",
        f"(time() - {_EXPORTER} (qualtrics_exporter_counted_since_timestamp_seconds)) / 86400",
    ),
    "last_sent_timestamp_seconds": Example(
        "When did each exporter last send? Grafana shows it as a time.",
        f"{_EXPORTER} (qualtrics_exporter_last_sent_timestamp_seconds) * 1000",
    ),
    "last_run_timestamp_seconds": Example(
        "How many hours old is the newest entry?",
        f"(time() - {_EXPORTER} (qualtrics_exporter_last_run_timestamp_seconds)) / 3600",
    ),
    "last_run_info": Example(
        "How did the last run of each exporter end?",
        "count by (result, reason) (qualtrics_exporter_last_run_info)",
    ),
    "condition": Example(
        "How many exporters have which conditions?",
        "count by (type, status, reason) (qualtrics_exporter_condition)",
    ),
    "suspended": Example("How many exporters are suspended?", f"sum({_EXPORTER} (qualtrics_exporter_suspended))"),
    "unresolved_runs": Example(
        "How many runs need a decision?", f"sum({_EXPORTER} (qualtrics_exporter_unresolved_runs))"
    ),
    "last_run_recipients": Example(
        "How many people had the last run, at each stage?",
        "max by (namespace, name, stage) (qualtrics_exporter_last_run_recipients)",
    ),
    "previous_run_recipients": Example(
        "By which factor did the audience change?",
        f'{_EXPORTER} (qualtrics_exporter_last_run_recipients{{stage="accepted"}})'
        f' / {_EXPORTER} (qualtrics_exporter_previous_run_recipients{{stage="accepted"}})',
    ),
    "last_delivery_messages": Example(
        "What happened to the mails of the last run?",
        "max by (namespace, name, outcome) (qualtrics_exporter_last_delivery_messages)",
    ),
    "credentials_expiry_timestamp_seconds": Example(
        "In how many days do credentials expire?",
        "(max by (namespace, name, side) (qualtrics_exporter_credentials_expiry_timestamp_seconds) - time()) / 86400",
    ),
    "exporter_runs_total": Example(
        "How many runs of each exporter ended how, within a day?",
        "sum by (namespace, name, result) (increase(qualtrics_exporter_exporter_runs_total[1d]))",
    ),
    # For the operator
    "runs_total": Example(
        "How did the runs of the last day end?",
        "sum by (trigger, result, reason) (increase(qualtrics_exporter_runs_total[1d]))",
    ),
    "recipients_total": Example(
        "How many people had the runs of the last day, at each stage?",
        "sum by (stage) (increase(qualtrics_exporter_recipients_total[1d]))",
    ),
    "active_runs": Example("How many runs are in progress?", "sum(qualtrics_exporter_active_runs)"),
    "run_queue_wait_seconds": Example(
        "How long did 95% of the runs of the last hour wait at most?",
        "histogram_quantile(0.95, sum by (le) (rate(qualtrics_exporter_run_queue_wait_seconds_bucket[1h])))",
    ),
    "due_exporters": Example("How many exporters wait?", "max(qualtrics_exporter_due_exporters)"),
    "schedule_lag_seconds": Example("For how long?", "max(qualtrics_exporter_schedule_lag_seconds)"),
    "rate_limit_wait_seconds_total": Example(
        "How many requests wait for a rate limit, on average?",
        "sum by (side) (rate(qualtrics_exporter_rate_limit_wait_seconds_total[15m]))",
    ),
    "remote_requests_total": Example(
        "Which share of the requests had which outcome?",
        "sum by (side, outcome) (rate(qualtrics_exporter_remote_requests_total[15m]))"
        " / on (side) group_left sum by (side) (rate(qualtrics_exporter_remote_requests_total[15m]))",
    ),
    "remote_request_duration_seconds": Example(
        "How long did 95% of the requests take at most?",
        "histogram_quantile(0.95, sum by (side, operation, le)"
        " (rate(qualtrics_exporter_remote_request_duration_seconds_bucket[15m])))",
    ),
    "exporters": Example("How many exporters does the operator know?", "max(qualtrics_exporter_exporters)"),
    "failing_exporters": Example("How many of them can it not reconcile?", "max(qualtrics_exporter_failing_exporters)"),
    "internal_errors_total": Example(
        "How many unexpected errors were there within an hour?",
        "sum by (part) (increase(qualtrics_exporter_internal_errors_total[1h]))",
    ),
    "leader": Example("How many replicas lead? There must be one.", "sum by (job) (qualtrics_exporter_leader)"),
    "watch_blind_seconds": Example(
        "For how long has each namespace not been watched?",
        "max by (namespace) (qualtrics_exporter_watch_blind_seconds)",
    ),
    "watch_age_seconds": Example(
        "When did the watch last receive anything? In a quiet cluster, this is long ago.",
        "min(qualtrics_exporter_watch_age_seconds)",
    ),
    "scheduler_tick_age_seconds": Example(
        "Does the work queue of the leader run? It does so at least every half minute.",
        "qualtrics_exporter_scheduler_tick_age_seconds and on (pod) qualtrics_exporter_leader == 1",
    ),
    "build_info": Example("Which versions run?", "count by (version, python) (qualtrics_exporter_build_info)"),
    "info": Example("Which versions run?", "count by (version) (qualtrics_exporter_info)"),
}
"""By the name of the metric without the prefix."""
