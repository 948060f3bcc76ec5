"""The panels of the dashboard for Grafana, with their expressions. `dashboard.py` places them.

Panels about exporters take the maximum by namespace and name, so that they do not depend on which replica leads, and
the last value of five minutes, so that a change of the leader leaves no gap.
"""

from dataclasses import dataclass, field

WIDTH = 24
"""The columns of a row in Grafana."""
CHOSEN = '{namespace=~"$namespace", name=~"$name"'
"""The labels of the exporters that the user has chosen, without the last brace."""
EXPORTER = "namespace, name"


@dataclass(frozen=True)
class Query:
    """One expression of a panel."""

    expression: str
    legend: str = ""
    column: str = ""
    """The title of its column in a table."""


@dataclass(frozen=True)
class Panel:
    """One panel. `type` is the name of a visualization of Grafana."""

    title: str
    type: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    unit: str = "short"
    description: str = ""
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    """Thresholds: from which value which color."""
    units: dict[str, str] = field(default_factory=dict)
    """The units of columns of a table, if they are not `unit`."""


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def last(metric: str, labels: str = "", by: str = EXPORTER) -> str:
    """The last value of a metric for each chosen exporter."""
    more = f", {labels}" if labels else ""
    return f"max by ({by}) (last_over_time(qualtrics_exporter_{metric}{CHOSEN}{more}}}[5m]))"


def counted(expression: str) -> str:
    """How many series an expression has, also if it has none."""
    return f"count({expression}) or vector(0)"


def quantile(metric: str, by: str) -> str:
    buckets = f"sum by ({by}) (rate(qualtrics_exporter_{metric}_bucket[$__rate_interval]))"
    return f"histogram_quantile(0.95, {buckets})"


def stat(title: str, expression: str, description: str, *, bad: str = "") -> Panel:
    """One number, green, or in the color `bad` if it is not 0."""
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"), (1, bad)) if bad else ((None, "blue"),)
    return Panel(title, "stat", (Query(expression),), width=4, height=4, description=description, steps=steps)


OVERDUE = (
    f"time() - (({last('last_success_timestamp_seconds')} > {last('counted_since_timestamp_seconds')})"
    f" <= time() + 3600 or {last('counted_since_timestamp_seconds')}) > 1.5 * {last('expected_interval_seconds')}"
)
ACCEPTED = last("last_run_recipients", 'stage="accepted"')
ACCEPTED_BEFORE = last("previous_run_recipients", 'stage="accepted"')
DELIVERED_SENT = last("last_delivery_messages", 'outcome="sent"')
DELIVERED = last("last_delivery_messages", by=f"{EXPORTER}, outcome")

ROWS = (
    Row(
        "Exporters at a glance",
        (
            stat("Exporters", counted(last("ready")), "Exporters that the operator manages."),
            stat("Not ready", counted(f"{last('ready')} == 0"), "The last check found an error.", bad="red"),
            stat("Overdue", counted(OVERDUE), "No success for one and a half intervals.", bad="red"),
            stat(
                "Last run not sent",
                counted(last("last_run_info", 'result=~"Failed|Held|Missed"', f"{EXPORTER}, result")),
                "The newest run failed, was held, or was missed.",
                bad="orange",
            ),
            stat(
                "Unknown outcomes",
                f"sum({last('unresolved_runs')}) or vector(0)",
                "Runs that may have sent. Look in Qualtrics, and resolve them.",
                bad="red",
            ),
            stat("Suspended", f"sum({last('suspended')}) or vector(0)", "Exporters with suspend: true."),
            Panel(
                "Exporters",
                "table",
                (
                    Query(last("last_run_info", by=f"{EXPORTER}, result, reason"), column="Runs"),
                    Query(last("ready"), column="Ready"),
                    Query(last("suspended"), column="Suspended"),
                    Query(ACCEPTED, column="Recipients"),
                    Query(f"{last('last_success_timestamp_seconds')} * 1000", column="Last success"),
                    Query(f"{last('next_slot_timestamp_seconds')} * 1000", column="Next slot"),
                ),
                width=WIDTH,
                units={"Last success": "dateTimeFromNow", "Next slot": "dateTimeFromNow"},
                description="The newest run of each exporter, with its result and reason.",
            ),
        ),
    ),
    Row(
        "Next slots",
        (
            Panel(
                "Next slots",
                "table",
                (Query(f"sort({last('next_slot_timestamp_seconds')}) * 1000", column="Next slot"),),
                width=12,
                units={"Next slot": "dateTimeAsIso"},
            ),
            Panel(
                "Slots in the next hour and day",
                "timeseries",
                (
                    Query(counted(f"{last('next_slot_timestamp_seconds')} - time() < 3600"), "hour"),
                    Query(counted(f"{last('next_slot_timestamp_seconds')} - time() < 86400"), "day"),
                ),
                width=12,
                description="Many slots at the same time wait for each other.",
            ),
        ),
    ),
    Row(
        "Audience",
        (
            Panel(
                "Recipients of the last run",
                "timeseries",
                (Query(ACCEPTED, "{{namespace}}/{{name}}"),),
                width=12,
            ),
            Panel(
                "Recipients compared with the run before",
                "timeseries",
                (
                    Query(
                        f"{ACCEPTED} / {ACCEPTED_BEFORE}",
                        "{{namespace}}/{{name}}",
                    ),
                ),
                unit="percentunit",
            ),
            Panel(
                "People by stage",
                "bargauge",
                (Query(f"sum by (stage) ({last('last_run_recipients', by=f'{EXPORTER}, stage')})", "{{stage}}"),),
                width=4,
                description="The last run of each exporter: how many people were returned, left out and imported.",
            ),
        ),
    ),
    Row(
        "Delivery",
        (
            Panel(
                "Delivery funnel",
                "bargauge",
                (Query(f"sort_desc(sum by (outcome) ({DELIVERED}))", "{{outcome}}"),),
                description="The last run of each exporter: sent, then opened, started and finished.",
            ),
            Panel(
                "Share that was not delivered",
                "timeseries",
                (
                    Query(
                        f"sum by ({EXPORTER}) ("
                        + last("last_delivery_messages", 'outcome=~"failed|bounced|blocked"', f"{EXPORTER}, outcome")
                        + f") / {DELIVERED_SENT}",
                        "{{namespace}}/{{name}}",
                    ),
                ),
                unit="percentunit",
            ),
            Panel(
                "Runs by result",
                "timeseries",
                (
                    Query(
                        "sum by (result) (increase(qualtrics_exporter_exporter_runs_total"
                        + CHOSEN
                        + "}[$__rate_interval]))",
                        "{{result}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Nexthink and Qualtrics",
        (
            Panel(
                "Requests",
                "timeseries",
                (
                    Query(
                        "sum by (side, outcome) (rate(qualtrics_exporter_remote_requests_total[$__rate_interval]))",
                        "{{side}}: {{outcome}}",
                    ),
                ),
                unit="reqps",
                width=6,
            ),
            Panel(
                "Duration of requests (95%)",
                "timeseries",
                (Query(quantile("remote_request_duration_seconds", "side, operation, le"), "{{side}}: {{operation}}"),),
                unit="s",
                width=6,
            ),
            Panel(
                "Requests that wait for rate limits",
                "timeseries",
                (
                    Query(
                        "sum by (side) (rate(qualtrics_exporter_rate_limit_wait_seconds_total[$__rate_interval]))",
                        "{{side}}",
                    ),
                ),
                width=6,
            ),
            Panel(
                "Credentials expire in",
                "table",
                (
                    Query(
                        f"sort({last('credentials_expiry_timestamp_seconds', by=f'{EXPORTER}, side')}) - time()",
                        column="Time left",
                    ),
                ),
                unit="s",
                width=6,
                description="Only for Secrets with the annotation qualtrics-exporter.dev/expires-at.",
            ),
        ),
    ),
    Row(
        "Queue and operator",
        (
            Panel(
                "Waiting and running",
                "timeseries",
                (
                    Query("max(qualtrics_exporter_due_exporters)", "waiting exporters"),
                    Query("max(qualtrics_exporter_active_runs)", "runs in progress"),
                    Query("max(qualtrics_exporter_failing_exporters)", "failing exporters"),
                ),
                width=6,
            ),
            Panel(
                "Longest wait",
                "timeseries",
                (
                    Query("max(qualtrics_exporter_schedule_lag_seconds)", "waiting now"),
                    Query(quantile("run_queue_wait_seconds", "le"), "started runs (95%)"),
                    Query("max by (namespace) (qualtrics_exporter_watch_blind_seconds)", "not watched {{namespace}}"),
                ),
                unit="s",
                width=6,
            ),
            Panel(
                "Leader",
                "timeseries",
                (Query("qualtrics_exporter_leader", "{{pod}}"),),
                width=6,
                description="One pod must have 1.",
            ),
            Panel(
                "Unexpected errors",
                "timeseries",
                (
                    Query(
                        "sum by (part) (increase(qualtrics_exporter_internal_errors_total[$__rate_interval]))",
                        "{{part}}",
                    ),
                ),
                width=6,
            ),
        ),
    ),
)
