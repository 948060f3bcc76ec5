"""Metrics, in a registry of their own: no globals, and nothing that grows with more than the number of exporters.

An exporter's series are few, come from one tuple each that is read when Prometheus asks, and go with the object:
`forget` it and nothing is left that could keep an alert alive. No label holds an address, a query or the id of a run.
Times are timestamps, as Prometheus wants them: it knows best what time it is when it looks.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from qualtrics_exporter.resource.status import Recipients

PREFIX = "qualtrics_exporter"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Call(Protocol):
    """One remote call that ended, as the HTTP side reports it."""

    @property
    def side(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class _Exporter(NamedTuple):
    ready: bool | None
    last_success: float | None
    next_slot: float | None
    interval: float | None


class Metrics:
    """Everything that is counted and measured. Pass `registry` to whoever serves it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._exporters: dict[tuple[str, str], _Exporter] = {}
        self._remote = self._counter("remote_requests", "Requests to Nexthink and Qualtrics.", "side operation outcome")
        self._remote_seconds = Histogram(
            "remote_request_duration_seconds", "How long a request to a remote side took.", ["side", "operation"],
            namespace=PREFIX, registry=self.registry, buckets=SECONDS,
        )  # fmt: skip
        self._runs = self._counter("runs", "Runs, slots and tests that ended.", "trigger result reason")
        self._recipients = self._counter("recipients", "People that runs dealt with, by what became of them.", "stage")
        self._active = self._gauge("active_runs", "Runs in progress.")
        self._due = self._gauge("due_exporters", "Exporters that are due and wait for their turn.")
        self._lag = self._gauge("schedule_lag_seconds", "How long the oldest of those has waited.")
        self._tick = self._gauge("scheduler_last_tick_timestamp_seconds", "When the scheduler last looked at its heap.")
        self._watch = self._gauge(
            "watch_last_event_timestamp_seconds", "When the watch or the sweep last told anything."
        )
        self._leader = self._gauge("leader", "1 while this replica leads.")
        Gauge("info", "The version.", ["version"], namespace=PREFIX, registry=self.registry).labels(
            version("qualtrics-exporter")
        ).set(1)
        self.registry.register(_PerExporter(self._exporters))
        ProcessCollector(registry=self.registry)

    def observe(self, call: Call) -> None:
        """One call to a remote side ended."""
        self._remote.labels(call.side, call.operation, call.outcome).inc()
        self._remote_seconds.labels(call.side, call.operation).observe(call.seconds)

    def run_ended(self, trigger: str, result: str, reason: str, recipients: Recipients | None = None) -> None:
        """A run, slot or test ended: the words of its history entry."""
        self._runs.labels(trigger, result, reason).inc()
        for stage, count in (recipients.model_dump(exclude_none=True) if recipients else {}).items():
            self._recipients.labels(stage).inc(count)

    def scheduler(self, *, active: int, due: int, lag: float, now: datetime) -> None:
        """The scheduler looked at its heap."""
        self._active.set(active)
        self._due.set(due)
        self._lag.set(max(0.0, lag))
        self._tick.set(now.timestamp())

    def watched(self, now: datetime) -> None:
        """The watch is alive: it, or the sweep beside it, has just told something."""
        self._watch.set(now.timestamp())

    def leading(self, leading: bool) -> None:
        """Fits `Elector(on_change=…)`."""
        self._leader.set(leading)

    def leading_from(self, asked: Callable[[], bool]) -> None:
        """Ask instead of being told, at each scrape: right also while a body is slow to end."""
        self._leader.set_function(lambda: float(asked()))

    def exporter(
        self,
        namespace: str,
        name: str,
        *,
        ready: bool | None,
        last_success: datetime | None,
        next_slot: datetime | None,
        interval: timedelta | None,
    ) -> None:
        """What is known of an exporter now; what is None has no series. A suspended one has no slot and interval."""
        self._exporters[namespace, name] = _Exporter(
            ready,
            last_success.timestamp() if last_success else None,
            next_slot.timestamp() if next_slot else None,
            interval.total_seconds() if interval else None,
        )

    def forget(self, namespace: str, name: str) -> None:
        """The exporter is gone, and its series with it."""
        self._exporters.pop((namespace, name), None)

    def _counter(self, name: str, text: str, labels: str) -> Counter:
        return Counter(name, text, labels.split(), namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, namespace=PREFIX, registry=self.registry)


class _PerExporter(Collector):
    """The series of each exporter, made when asked for. Called in a thread: it works on a copy of the dictionary."""

    def __init__(self, exporters: dict[tuple[str, str], _Exporter]) -> None:
        self._exporters = exporters

    def collect(self) -> Iterator[Metric]:
        known = list(self._exporters.items())
        exporters = GaugeMetricFamily(f"{PREFIX}_exporters", "QualtricsExporters that are looked after.")
        exporters.add_metric([], len(known))
        yield exporters
        for at, (name, text) in enumerate(
            (
                ("ready", "1 while Ready is True, 0 while it is not."),
                ("last_success_timestamp_seconds", "When the last run that succeeded ended."),
                ("next_slot_timestamp_seconds", "When the next slot falls due."),
                ("expected_interval_seconds", "The longest time between two slots of the schedule."),
            )
        ):
            family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["namespace", "name"])
            for key, values in known:
                if (value := values[at]) is not None:
                    family.add_metric(key, float(value))
            yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing is asked from the exporters when this is registered."""
        return iter(())
