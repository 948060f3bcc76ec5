"""What happens in the cluster, reported to the work queue: Kopf's watch, and a sweep behind it.

Of Kopf only the low-level `on.event` is used: no finalizer, no annotation, no PATCH of its own, and get, list and watch
are all the rights it needs. Its timers and daemons keep their time in memory and add finalizers; what was measured
stands in docs/facts/kubernetes.md section 1. Two things the watch can't do: it never tells what was deleted while it
was broken, and its bodies may be stale. So every ten minutes a list of names and versions is compared with what the
queue knows, and whoever acts on an exporter reads it again first.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import kopf

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller import cluster, conditions
from qualtrics_exporter.controller.cluster import Cluster, ClusterError, Gone
from qualtrics_exporter.controller.plan.wake import next_wake
from qualtrics_exporter.controller.status import Key, tenant_of
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.controller.work_queue import WorkQueue
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.resource.exporter import GROUP, PLURAL, VERSION, Exporter
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

SWEEP_SECONDS = 600.0
STEP_SECONDS = 30.0
"""How often somebody looks at the wall clock, at least."""


class Watch:
    """Feeds the work queue, in a standby too, so that it is warm when it comes to lead."""

    def __init__(
        self,
        cluster: Cluster,
        queue: WorkQueue,
        targets: Targets,
        clock: WatchedClock,
        *,
        namespaces: tuple[str, ...],
        selector: str | None,
        default_zone: str,
        metrics: Metrics,
        forget: Callable[[Key], None],
    ) -> None:
        self._cluster = cluster
        self._queue = queue
        self._targets = targets
        self._clock = clock
        self._namespaces = namespaces
        self._selector = selector
        self._zone = default_zone
        self._metrics = metrics
        self._forget = forget
        self._told = clock.monotonic()
        self._silent_sweeps = 0

    @property
    def age(self) -> float:
        """Seconds since the watch told anything. In a cluster at rest this grows, and nothing is wrong."""
        return self._clock.monotonic() - self._told

    @property
    def problem(self) -> str | None:
        """Why the watch seems to be blind: twice a sweep found changes, and the watch told nothing in between."""
        return "the watch is silent although exporters change" if self._silent_sweeps >= 2 else None

    async def run(self, stop: asyncio.Event, ready: asyncio.Event) -> None:
        """Watch until `stop` is set. Kopf raises when a watcher dies for good: that has to end the process."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(cluster.login)
        kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(self._on_event)
        await kopf.operator(
            registry=registry,
            settings=self._settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
            ready_flag=ready,
        )

    async def sweep(self) -> None:
        """Compare with fresh lists, for ever."""
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            try:
                await self._sweep_once()
            except ClusterError as error:
                log.warning("the sweep could not be finished, it comes again in ten minutes: %s", error)

    async def follow_clock(self) -> None:
        """Plan everything anew whenever the wall clock was set, for ever.

        What was planned by a wrong clock may be far away by the right one.
        """
        handled = self._clock.steps
        while True:
            await self._clock.sleep(STEP_SECONDS)
            self._clock.now()
            if (steps := self._clock.steps) == handled:
                continue
            log.warning("the wall clock was set: looking at every exporter again")
            try:
                await self.observe_all()
                handled = steps
            except ClusterError as error:
                log.warning("exporters could not be listed after the clock was set, trying again: %s", error)

    async def observe_all(self) -> None:
        """Take in every exporter as it is now. Raises `ClusterError`."""
        for namespace in self._namespaces or (None,):
            async for body in self._cluster.list(namespace, self._selector):
                self.observe(body)

    def observe(self, body: Mapping[str, Any]) -> None:
        """Take in an exporter as it is (or lately was)."""
        exporter = Exporter.from_object(body)
        self._targets.observe(exporter)
        wake = next_wake(exporter, self._clock.now(), self._zone)
        # Thousands share a namespace and a Secret, and each body brings its own copies of those words.
        key = Key(sys.intern(exporter.namespace), exporter.name, exporter.uid)
        tenant = Tenant(*map(sys.intern, tenant_of(exporter)))
        self._queue.enqueue(key, tenant, wake, exporter.resource_version)
        self._metrics.exporter(exporter, conditions.is_ready(exporter.status, exporter.generation))

    def forget(self, key: Key) -> None:
        """Let go of an exporter that is gone, and of everything that is kept about it."""
        self._queue.forget(key)
        self._targets.forget(key)
        self._metrics.forget(*key)
        self._forget(key)

    async def _on_event(self, event: kopf.RawEvent, **_: Any) -> None:
        self._told = self._clock.monotonic()
        self._silent_sweeps = 0
        body = event["object"]
        if event["type"] == "DELETED":
            metadata = body["metadata"]
            self.forget(Key(metadata["namespace"], metadata["name"], metadata["uid"]))
        else:
            self.observe(body)

    async def _sweep_once(self) -> None:
        told_before = self._told
        known = dict(self._queue.known())
        found: set[Key] = set()
        changed: list[Key] = []
        for namespace in self._namespaces or (None,):
            async for item in self._cluster.list_metadata(namespace, self._selector):
                key = Key(item.namespace, item.name, item.uid)
                found.add(key)
                if known.get(key) != item.resource_version:
                    changed.append(key)
        missed = 0
        for key in known.keys() - found:
            missed += 1
            self.forget(key)
        now_known = dict(self._queue.known())
        for key in changed:
            if key in known and key not in now_known:
                continue  # it has left meanwhile, by what the watch says
            missed += now_known.get(key) == known.get(key)  # else the watch has told it meanwhile
            try:
                self.observe(await self._cluster.get(key.namespace, key.name))
            except Gone:
                continue
        self._silent_sweeps = self._silent_sweeps + 1 if missed and self._told == told_before else 0
        if missed:
            log.info("the sweep found %d exporters that the watch had not told about", missed)

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.networking.request_timeout = 60
        settings.networking.connect_timeout = 10
        settings.watching.connect_timeout = 10
        settings.watching.server_timeout = 300
        # With the defaults 10,000 exporters take 524 MB, with these 94 (docs/facts/kubernetes.md section 1).
        settings.watching.chunk_size = 100
        settings.queueing.idle_timeout = 0.1
        if self._selector:
            settings.watching.label_selectors[GROUP, VERSION, PLURAL] = self._selector
        return settings
