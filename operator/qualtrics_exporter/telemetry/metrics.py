"""Metrics, in their own registry. Their number grows only with the number of exporters.

Each exporter has a few series, which are read from one tuple at each scrape. `exposition.py` formats them in pieces.
`forget` removes them with the object, so that no alert stays active. They are also removed when another replica leads,
because two replicas could report different values for an exporter. No label has an address, a query or the id of a run.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import lru_cache
from importlib.metadata import version
from typing import Any, NamedTuple, Protocol, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Sample
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry

PREFIX = "qualtrics_exporter"
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

PER_EXPORTER = (
    ("ready", "1 if the current spec was checked without an error, otherwise 0."),
    ("last_success_timestamp_seconds", "When the last successful run ended."),
    ("next_slot_timestamp_seconds", "When the next slot is due. Absent while suspended."),
    ("expected_interval_seconds", "The time between two slots. Absent while suspended."),
)
"""The series of each exporter, in the order of `_Figures` after `uid`. Labels: namespace and name."""


class Call(Protocol):
    """One finished request to Nexthink or Qualtrics."""

    @property
    def service(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class _Figures(NamedTuple):
    uid: str
    ready: float
    last_success: float | None
    next_slot: float | None
    interval: float | None


class Metrics:
    """All metrics of a process. `registry` is served to Prometheus."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # would double the series of each counter
        self.registry = CollectorRegistry()
        self._figures: dict[tuple[str, str], _Figures] = {}
        self._remote = self._counter("remote_requests", "Requests to Nexthink and Qualtrics.", "side operation outcome")
        self._remote_seconds = Histogram(
            "remote_request_duration_seconds",
            "How long a request to Nexthink or Qualtrics took.",
            ["side", "operation"],
            namespace=PREFIX,
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._runs = self._counter(
            "runs", "Finished runs and slots, by trigger, result and reason.", "trigger result reason"
        )
        self._recipients = self._counter(
            "recipients", "People in the results of queries, by what the run did with them.", "stage"
        )
        self._failures = self._counter(
            "internal_errors", "Unexpected internal errors for one exporter, by component.", "part"
        )
        self._active = self._gauge("active_runs", "Runs in progress.")
        self._leader = self._gauge("leader", "1 while this replica leads.")
        info = Gauge("info", "The version.", ["version"], namespace=PREFIX, registry=self.registry)
        info.labels(version("qualtrics-exporter")).set(1)
        self.registry.register(_AtScrape(self._per_exporter))
        ProcessCollector(registry=self.registry)

    def observe(self, call: Call) -> None:
        self._remote.labels(call.service, call.operation, call.outcome).inc()
        self._remote_seconds.labels(call.service, call.operation).observe(call.seconds)

    def running(self) -> AbstractContextManager[object]:
        return self._active.track_inprogress()

    def run_ended(self, entry: HistoryEntry) -> None:
        self._runs.labels(entry.trigger, entry.result, entry.reason).inc()
        for stage, count in (entry.recipients.model_dump(exclude_none=True) if entry.recipients else {}).items():
            self._recipients.labels(stage).inc(max(0, count))  # a tool may have changed the journal

    def failed(self, part: str) -> None:
        """Count an unexpected error of a component for one exporter."""
        self._failures.labels(part).inc()

    def leading(self, leading: bool) -> None:
        self._leader.set(leading)

    def follow(
        self,
        *,
        exporters: Callable[[], int],
        due: Callable[[], int],
        lag: Callable[[], float],
        tick_age: Callable[[], float],
        watch_age: Callable[[], float],
        blind: Callable[[], Mapping[str, float]],
        failing: Callable[[], int],
    ) -> None:
        """Set the functions to call at each scrape. They are called in a thread, so they must only read."""
        self._gauge("exporters", "Known exporters.").set_function(exporters)
        self._gauge("due_exporters", "Exporters that are due and wait for their turn.").set_function(due)
        self._gauge("schedule_lag_seconds", "How long the longest-waiting exporter has been due.").set_function(lag)
        self._gauge("scheduler_tick_age_seconds", "Time since the work queue last ran.").set_function(tick_age)
        self._gauge("watch_age_seconds", "Time since the watch last received anything.").set_function(watch_age)
        self._gauge("failing_exporters", "Exporters whose last reconciliation failed.").set_function(failing)
        self.registry.register(_AtScrape(lambda: _per_namespace(blind())))

    def exporter(self, exporter: Exporter, ready: bool) -> None:
        """Update the series of an exporter."""
        status, spec = exporter.status, exporter.spec
        interval = spec.schedule.interval() if spec and not exporter.suspended else None
        # Numbers that many exporters share are the same object.
        self._figures[sys.intern(exporter.namespace), exporter.name] = _Figures(
            uid=exporter.uid,
            ready=1.0 if ready else 0.0,
            last_success=_seconds(status.last_successful_time),
            next_slot=None if exporter.suspended else _seconds(status.next_schedule_time),
            interval=_length(interval) if interval else None,
        )

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """Remove the series of a deleted exporter, but not those of a new one with the same name."""
        known = self._figures.get((namespace, name))
        if known and known.uid == uid:
            del self._figures[namespace, name]

    def _per_exporter(self) -> Iterator[Metric]:
        """The series of each exporter. `copy` reads the dictionary in one step of the interpreter; `list` does not."""
        known = self._figures.copy()
        for position, (name, text) in enumerate(PER_EXPORTER, 1):
            family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["namespace", "name"])
            family.samples = cast("Any", _samples(family.name, position, known))  # each exists while it is formatted
            yield family

    def _counter(self, name: str, text: str, labels: str) -> Counter:
        return Counter(name, text, labels.split(), namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, namespace=PREFIX, registry=self.registry)


class _AtScrape(Collector):
    """Creates series at each scrape, by a function that is called in a thread."""

    def __init__(self, series: Callable[[], Iterator[Metric]]) -> None:
        self._series = series

    def collect(self) -> Iterator[Metric]:
        return self._series()

    def describe(self) -> Iterator[Metric]:
        """Empty, so that the registration does not call `collect`."""
        return iter(())


def _samples(name: str, position: int, known: dict[tuple[str, str], _Figures]) -> Iterator[Sample]:
    for (namespace, exporter), figures in known.items():
        if (value := cast("float | None", figures[position])) is not None:
            yield Sample(name, {"namespace": namespace, "name": exporter}, value)


def _per_namespace(blind: Mapping[str, float]) -> Iterator[Metric]:
    """The time for which each namespace has not been watched."""
    text = "Time for which the namespace has not been watched, 0 if it is. An empty name means all namespaces."
    family = GaugeMetricFamily(f"{PREFIX}_watch_blind_seconds", text, labels=["namespace"])
    for namespace, seconds in blind.items():
        family.add_metric((namespace,), seconds)
    yield family


@lru_cache(maxsize=1024)
def _length(interval: timedelta) -> float:
    return interval.total_seconds()


def _seconds(time: datetime | None) -> float | None:
    return time.timestamp() if time else None
