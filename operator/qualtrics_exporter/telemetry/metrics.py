"""The metrics of a process, in their own registry. `metric_definitions.py` has their names, labels and help.

The series of exporters are read from a few hundred bytes each (`exporter_series.py`). Only the leader shows them:
otherwise two replicas could report different values for an exporter. They are removed with the object, so that no alert
stays active. No label has an address, a query or the id of a run.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from itertools import chain
from types import SimpleNamespace
from typing import Any, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import HistoryEntry
from qualtrics_exporter.telemetry import metric_definitions as definitions
from qualtrics_exporter.telemetry.exporter_figures import SIDES, known_reason
from qualtrics_exporter.telemetry.exporter_series import ExporterSeries
from qualtrics_exporter.telemetry.metric_definitions import PREFIX, Definition
from qualtrics_exporter.telemetry.run_outcomes import run_outcomes

PARTS = ("check", "observe", "reconcile", "sweep", "watch")
"""The components that count unexpected errors."""
LIMITED = "limited"
"""The outcome of a request that the service rejected with 429."""


class FinishedCall(Protocol):
    """One finished request to Nexthink or Qualtrics."""

    @property
    def service(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class Metrics:
    """All metrics of a process."""

    def __init__(self, *, per_exporter: bool = True) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # would double the series of each counter
        self.registry = CollectorRegistry()
        """The metrics of the operator, without the series of exporters."""
        self.exporters = ExporterSeries() if per_exporter else None
        self._leading = False
        self._may_lead: Callable[[], bool] = lambda: True
        self._remote = self._counter(definitions.REMOTE_REQUESTS)
        self._remote_seconds = self._histogram(definitions.REMOTE_SECONDS)
        self._runs = self._counter(definitions.RUNS)
        for outcome in run_outcomes():
            self._runs.labels(*outcome)
        self._recipients = self._counter(definitions.RECIPIENTS)
        self._failures = self._counter(definitions.INTERNAL_ERRORS)
        for part in PARTS:
            self._failures.labels(part)
        self._active = self._gauge(definitions.ACTIVE_RUNS)
        self._queue_wait = self._histogram(definitions.QUEUE_WAIT)
        self._leader = self._gauge(definitions.LEADER)
        own = version("qualtrics-exporter")
        self._gauge(definitions.INFO).labels(own).set(1)
        self._gauge(definitions.BUILD_INFO).labels(own, platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)

    def text(self) -> Iterator[bytes]:
        """The page for Prometheus, in pieces. Each is formatted when it is asked for, in any thread.

        Call this in the event loop.
        """
        shown = self.exporters if self._leading and self._may_lead() else None
        return chain(map(_text_of, self.registry.collect()), shown.pieces() if shown else ())

    def observe(self, call: FinishedCall) -> None:
        # From 0, so that `rate()` also sees a burst of rejections that fits between two scrapes.
        self._remote.labels(call.service, call.operation, LIMITED)
        self._remote.labels(call.service, call.operation, call.outcome).inc()
        self._remote_seconds.labels(call.service, call.operation).observe(call.seconds)

    def running(self) -> AbstractContextManager[object]:
        return self._active.track_inprogress()

    def run_claimed(self, waited: float) -> None:
        """A run got its turn, so many seconds after it was due."""
        self._queue_wait.observe(max(0.0, waited))

    def run_ended(self, exporter: Exporter, entry: HistoryEntry) -> None:
        """Count an entry of an exporter."""
        self._runs.labels(entry.trigger, entry.result, known_reason(entry.reason)).inc()
        for stage, count in (entry.recipients.model_dump(exclude_none=True) if entry.recipients else {}).items():
            self._recipients.labels(stage).inc(max(0, count))  # a tool may have changed the journal
        if self.exporters:
            self.exporters.count_run(exporter, entry.result)

    def failed(self, part: str) -> None:
        """Count an unexpected error of a component for one exporter."""
        self._failures.labels(part).inc()

    def leading(self, leading: bool) -> None:
        self._leading = leading
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
        rate_limit_waits: Callable[[], Mapping[str, float]],
        may_lead: Callable[[], bool] = lambda: True,
    ) -> None:
        """Set the functions to call at each scrape. They are called in a thread, so they must only read.

        Only `may_lead` is called in the event loop: whether another replica certainly does not lead. A process that was
        paused may still have the work of its last term.
        """
        self._may_lead = may_lead
        self._gauge(definitions.EXPORTERS).set_function(exporters)
        self._gauge(definitions.DUE).set_function(due)
        self._gauge(definitions.LAG).set_function(lag)
        self._gauge(definitions.TICK_AGE).set_function(tick_age)
        self._gauge(definitions.WATCH_AGE).set_function(watch_age)
        self._gauge(definitions.FAILING).set_function(failing)
        self.registry.register(_AtScrape(definitions.WATCH_BLIND, blind))
        self.registry.register(
            _AtScrape(definitions.RATE_LIMIT_WAIT, lambda: dict.fromkeys(SIDES, 0.0) | dict(rate_limit_waits()))
        )

    def exporter(self, exporter: Exporter, ready: bool) -> None:
        """Update the series of an exporter."""
        if self.exporters:
            self.exporters.update(exporter, ready=ready)

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """Remove the series of a deleted exporter, but not those of a new one with the same name."""
        if self.exporters:
            self.exporters.forget(namespace, name, uid)

    def _counter(self, definition: Definition) -> Counter:
        return Counter(definition.name, definition.text, definition.labels, registry=self.registry)

    def _gauge(self, definition: Definition) -> Gauge:
        return Gauge(definition.name, definition.text, definition.labels, registry=self.registry)

    def _histogram(self, definition: Definition) -> Histogram:
        return Histogram(
            definition.name,
            definition.text,
            definition.labels,
            registry=self.registry,
            buckets=definition.buckets,
        )


class _AtScrape(Collector):
    """A metric with one label, whose values a function returns at each scrape, in a thread."""

    def __init__(self, definition: Definition, values: Callable[[], Mapping[str, float]]) -> None:
        self._definition = definition
        self._values = values

    def collect(self) -> Iterator[Metric]:
        make = CounterMetricFamily if self._definition.type == "counter" else GaugeMetricFamily
        family = make(self._definition.name, self._definition.text, labels=self._definition.labels)
        for label, value in self._values().items():
            family.add_metric((label,), value)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Empty, so that the registration does not call `collect`."""
        return iter(())


def _text_of(metric: Metric) -> bytes:
    only: Any = SimpleNamespace(collect=lambda: (metric,))
    return generate_latest(only)


__all__ = ["PREFIX", "FinishedCall", "Metrics"]
