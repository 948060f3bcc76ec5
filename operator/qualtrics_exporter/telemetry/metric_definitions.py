"""The table of all metrics: name, type, labels and help. `metrics.py` exposes them, and docs/metrics.md lists them.

Names have the prefix `qualtrics_exporter_`. Users have them in alerts and dashboards, so they never change.
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "qualtrics_exporter"

Type = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric. `labels` does not have `namespace` and `name` of a metric of each exporter."""

    short_name: str
    """The name without the prefix."""
    type: Type
    text: str
    """What it means. Prometheus shows it as help."""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """The upper bounds of the buckets of a histogram."""

    @property
    def name(self) -> str:
        """The name that Prometheus knows. A histogram has series with suffixes, such as `_bucket`."""
        return f"{PREFIX}_{self.short_name}"


# For each exporter, from the leader only. The labels namespace and name come first.

READY = Definition("ready", "gauge", "1 if the current spec was checked without an error, otherwise 0.")
LAST_SUCCESS = Definition("last_success_timestamp_seconds", "gauge", "When the last successful run ended.")
NEXT_SLOT = Definition("next_slot_timestamp_seconds", "gauge", "When the next slot is due. Absent while suspended.")
INTERVAL = Definition(
    "expected_interval_seconds", "gauge", "The time between two slots of the schedule. Absent while suspended."
)
COUNTED_SINCE = Definition(
    "counted_since_timestamp_seconds",
    "gauge",
    "Since when slots count: when the exporter was first seen or resumed, when its schedule changed, or when its last "
    "dry run ended. Absent while suspended, and with spec.dryRun, because a dry run is not a success.",
)
LAST_SENT = Definition(
    "last_sent_timestamp_seconds",
    "gauge",
    "When a run last requested a distribution, as far as the status shows it. Tests do not count.",
)
LAST_RUN = Definition(
    "last_run_timestamp_seconds", "gauge", "When the newest entry of a run or slot was written. Tests do not count."
)
LAST_RUN_INFO = Definition(
    "last_run_info",
    "gauge",
    "1 with the result and the reason of the newest entry that is not Skipped, or of the newest one if all are. A slot "
    "or request that was skipped does not hide that the run before it failed. Tests do not count.",
    ("result", "reason"),
)
CONDITION = Definition(
    "condition", "gauge", "1 for each condition, with its status and reason.", ("type", "status", "reason")
)
SUSPENDED = Definition("suspended", "gauge", "1 if spec.suspend is true, otherwise 0.")
UNRESOLVED = Definition(
    "unresolved_runs", "gauge", "Runs and tests that ended as Unknown, and whose outcome nobody has resolved."
)
LAST_RECIPIENTS = Definition(
    "last_run_recipients",
    "gauge",
    "People in the newest run that counted them, by stage. Tests do not count.",
    ("stage",),
)
PREVIOUS_RECIPIENTS = Definition(
    "previous_run_recipients",
    "gauge",
    "The same for the newest completed run before that: accepted, and with spec.sample also sampled_out. A run that "
    "was held or failed does not count.",
    ("stage",),
)
LAST_DELIVERY = Definition(
    "last_delivery_messages",
    "gauge",
    "The delivery figures of the newest run that has them, by outcome.",
    ("outcome",),
)
CREDENTIALS_EXPIRY = Definition(
    "credentials_expiry_timestamp_seconds",
    "gauge",
    "When the credentials of a side expire, from the annotation qualtrics-exporter.dev/expires-at of their Secret.",
    ("side",),
)
EXPORTER_RUNS = Definition(
    "exporter_runs_total",
    "counter",
    "Entries of runs and slots that this process wrote, by result. Tests do not count.",
    ("result",),
)

EXPORTER_METRICS = (
    READY,
    LAST_SUCCESS,
    NEXT_SLOT,
    INTERVAL,
    COUNTED_SINCE,
    LAST_SENT,
    LAST_RUN,
    LAST_RUN_INFO,
    CONDITION,
    SUSPENDED,
    UNRESOLVED,
    LAST_RECIPIENTS,
    PREVIOUS_RECIPIENTS,
    LAST_DELIVERY,
    CREDENTIALS_EXPIRY,
    EXPORTER_RUNS,
)
"""The metrics of each exporter, in the order of the page."""

# For the operator.

RUNS = Definition(
    "runs_total",
    "counter",
    "Entries of runs and slots that this process wrote, by trigger, result and reason.",
    ("trigger", "result", "reason"),
)
RECIPIENTS = Definition(
    "recipients_total", "counter", "People in the results of queries, by what the run did with them.", ("stage",)
)
ACTIVE_RUNS = Definition(
    "active_runs", "gauge", "Runs in progress, including those that wait for a rate limit or an import."
)
QUEUE_WAIT = Definition(
    "run_queue_wait_seconds",
    "histogram",
    "How long runs waited for their turn: from the time when the slot was due, or when the operator saw the request, "
    "until the run was claimed.",
    buckets=(1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600),
)
DUE = Definition(
    "due_exporters", "gauge", "Exporters that wait: for their turn, a rate limit, a concurrent request or memory."
)
LAG = Definition("schedule_lag_seconds", "gauge", "How long the exporter that waits longest has been waiting.")
RATE_LIMIT_WAIT = Definition(
    "rate_limit_wait_seconds_total",
    "counter",
    "Time that requests waited until they were within the rate limits of a side, summed over all requests.",
    ("side",),
)
REMOTE_REQUESTS = Definition(
    "remote_requests_total", "counter", "Requests to Nexthink and Qualtrics.", ("side", "operation", "outcome")
)
REMOTE_SECONDS = Definition(
    "remote_request_duration_seconds",
    "histogram",
    "How long a request to Nexthink or Qualtrics took.",
    ("side", "operation"),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
EXPORTERS = Definition("exporters", "gauge", "Known exporters.")
FAILING = Definition("failing_exporters", "gauge", "Exporters whose last reconciliation failed, 0 on a standby.")
INTERNAL_ERRORS = Definition(
    "internal_errors_total", "counter", "Unexpected internal errors for one exporter, by component.", ("part",)
)
LEADER = Definition("leader", "gauge", "1 while this replica leads.")
WATCH_BLIND = Definition(
    "watch_blind_seconds",
    "gauge",
    "Time for which the namespace has not been watched, 0 if it is. An empty name means all namespaces.",
    ("namespace",),
)
WATCH_AGE = Definition("watch_age_seconds", "gauge", "Time since the watch last received anything.")
TICK_AGE = Definition("scheduler_tick_age_seconds", "gauge", "Time since the work queue last ran.")
BUILD_INFO = Definition(
    "build_info", "gauge", "1 with the versions of the operator and of Python.", ("version", "python")
)
INFO = Definition("info", "gauge", "1 with the version. build_info has more.", ("version",))

OPERATOR_METRICS = (
    RUNS,
    RECIPIENTS,
    ACTIVE_RUNS,
    QUEUE_WAIT,
    DUE,
    LAG,
    RATE_LIMIT_WAIT,
    REMOTE_REQUESTS,
    REMOTE_SECONDS,
    EXPORTERS,
    FAILING,
    INTERNAL_ERRORS,
    LEADER,
    WATCH_BLIND,
    WATCH_AGE,
    TICK_AGE,
    BUILD_INFO,
    INFO,
)
"""The metrics of the process, in the order of the page."""
