"""Metrics, in a registry of their own: no globals, and nothing that grows with more than the number of exporters.

An exporter's series are few, come from one tuple each that is read when Prometheus asks, and go with the object:
`forget` it and nothing is left that could keep an alert alive. They also go when another replica leads: two replicas
that tell of the same exporter would contradict each other. No label holds an address, a query or the id of a run.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry

PREFIX = "qualtrics_exporter"
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

PER_EXPORTER = (
    ("ready", "1 when this very spec was checked and found well, else 0."),
    ("last_success_timestamp_seconds", "When the last run that succeeded ended."),
    ("next_slot_timestamp_seconds", "When the next slot falls due; absent while suspended."),
    ("expected_interval_seconds", "The time from one slot to the next; absent while suspended."),
)
"""The series of each exporter, in the order of `_Figures`. Labels: namespace and name."""


class Call(Protocol):
    """One request to a remote side that ended, as the HTTP side tells it."""

    @property
    def service(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class _Figures(NamedTuple):
    ready: float
    last_success: float | None
    next_slot: float | None
    interval: float | None


class Metrics:
    """Everything that is counted and measured. `registry` is what is served."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter that nobody asks for
        self.registry = CollectorRegistry()
        self._figures: dict[tuple[str, str], tuple[str, _Figures]] = {}
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
            "runs", "Runs and slots that ended, by trigger, result and reason.", "trigger result reason"
        )
        self._recipients = self._counter("recipients", "People that runs dealt with, by what became of them.", "stage")
        self._failures = self._counter(
            "internal_errors", "Unexpected errors about one exporter, by the part that met them.", "part"
        )
        self._active = self._gauge("active_runs", "Runs in progress.")
        self._leader = self._gauge("leader", "1 while this replica leads.")
        info = Gauge("info", "The version.", ["version"], namespace=PREFIX, registry=self.registry)
        info.labels(version("qualtrics-exporter")).set(1)
        self.registry.register(_PerExporter(self._figures))
        ProcessCollector(registry=self.registry)

    def observe(self, call: Call) -> None:
        """A request to a remote side ended."""
        self._remote.labels(call.service, call.operation, call.outcome).inc()
        self._remote_seconds.labels(call.service, call.operation).observe(call.seconds)

    @contextmanager
    def running(self) -> Iterator[None]:
        """A run is in progress as long as the block lasts."""
        with self._active.track_inprogress():
            yield

    def run_ended(self, entry: HistoryEntry) -> None:
        """A run or slot ended."""
        self._runs.labels(entry.trigger, entry.result, entry.reason).inc()
        for stage, count in (entry.recipients.model_dump(exclude_none=True) if entry.recipients else {}).items():
            self._recipients.labels(stage).inc(max(0, count))  # a tool may have changed the journal

    def failed(self, part: str) -> None:
        """A part of the operator met an error about one exporter that nobody expected."""
        self._failures.labels(part).inc()

    def leading(self, leading: bool) -> None:
        """This replica begins or ceases to lead: fits `Elector(on_change=…)`."""
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
        """Say whom to ask, at each scrape, for what nobody tells. Asked in a thread: they read and change nothing."""
        self._gauge("exporters", "Exporters that are known.").set_function(exporters)
        self._gauge("due_exporters", "Exporters that are due and wait for their turn.").set_function(due)
        self._gauge("schedule_lag_seconds", "How long the one that waits longest has been due.").set_function(lag)
        self._gauge("scheduler_tick_age_seconds", "Since the scheduler last looked for work.").set_function(tick_age)
        self._gauge("watch_age_seconds", "Since the watch last told anything.").set_function(watch_age)
        self._gauge("failing_exporters", "Exporters whose last reconciliation failed.").set_function(failing)
        self.registry.register(_PerNamespace(blind))

    def exporter(self, exporter: Exporter, ready: bool) -> None:
        """What is known of an exporter now."""
        status, spec = exporter.status, exporter.spec
        interval = spec.schedule.interval() if spec and not exporter.suspended else None
        figures = _Figures(
            ready=float(ready),
            last_success=_seconds(status.last_successful_time),
            next_slot=None if exporter.suspended else _seconds(status.next_schedule_time),
            interval=interval.total_seconds() if interval else None,
        )
        self._figures[exporter.namespace, exporter.name] = exporter.uid, figures

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """The exporter is gone, and its series with it; not those of another one with its name."""
        known = self._figures.get((namespace, name))
        if known and known[0] == uid:
            del self._figures[namespace, name]

    def _counter(self, name: str, text: str, labels: str) -> Counter:
        return Counter(name, text, labels.split(), namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, namespace=PREFIX, registry=self.registry)


class _PerExporter(Collector):
    """The series of each exporter, made when they are asked for.

    That happens in a thread: `copy` takes the dictionary in one step of the interpreter, `list` would not.
    """

    def __init__(self, figures: dict[tuple[str, str], tuple[str, _Figures]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        known = list(self._figures.copy().items())
        for position, (name, text) in enumerate(PER_EXPORTER):
            family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["namespace", "name"])
            for key, (_, figures) in known:
                if (value := figures[position]) is not None:
                    family.add_metric(key, value)
            yield family

    def describe(self) -> Iterator[Metric]:
        """Nobody is asked while this is registered."""
        return iter(())


class _PerNamespace(Collector):
    """For how long each namespace has not been watched."""

    def __init__(self, blind: Callable[[], Mapping[str, float]]) -> None:
        self._blind = blind

    def collect(self) -> Iterator[Metric]:
        text = "For how long the namespace has not been watched, 0 if it is; an empty name stands for all namespaces."
        family = GaugeMetricFamily(f"{PREFIX}_watch_blind_seconds", text, labels=["namespace"])
        for namespace, seconds in self._blind().items():
            family.add_metric((namespace,), seconds)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Nobody is asked while this is registered."""
        return iter(())


def _seconds(time: datetime | None) -> float | None:
    return time.timestamp() if time else None
