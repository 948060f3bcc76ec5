"""The watch: reports every change of an exporter to the work queue.

    NamespaceWatch (Kopf, one per namespace) ── event ──▶ Watch ── enqueue, forget ──▶ work queue
                                                 Sweep ── list ──▶ ▲

- `kube/namespace_watch.py` runs Kopf's watch of one namespace, and restarts it when it breaks.
- This module handles the events of all namespaces. It also forgets exporters that were deleted while a watch was
  broken, and ends the process if nothing can be watched for 15 minutes.
- `sweep.py` finds what the watches miss: it compares lists, and replans everything after the wall clock was set.

The operator uses only Kopf's low-level `on.event`. It adds no finalizer and no annotation, sends no PATCH, and needs no
permissions but get, list and watch. Kopf's timers and daemons keep their time in memory and add finalizers; section 1
of docs/facts/kubernetes.md has the measurements. An event may be stale, so the reconciler reads an exporter again
before it acts.

Problems stay local. Each namespace has a watch of its own. An exporter that this module cannot process is left to the
reconciler, which reports it, and never ends a watch or a sweep.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import kopf

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import ClusterError, NotFound, Unreachable
from qualtrics_exporter.controller.kube.namespace_watch import TIMINGS, NamespaceWatch, Timings
from qualtrics_exporter.controller.plan.wake import Wake, next_wake
from qualtrics_exporter.controller.queue.work_queue import WorkQueue
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.key import Key, tenant_of
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

START_PATIENCE_SECONDS = 60.0
"""How long the first check repeats a call while the API server does not answer."""
START_RETRY_SECONDS = 2.0
SILENT_SWEEPS = 2
"""A watch is silent if this many sweeps in a row find changes, and the watch reports nothing in between."""


class Watch:
    """Feeds the work queue. A standby watches too, so that its queue is filled when it starts to lead."""

    def __init__(
        self,
        cluster: ClusterApi,
        queue: WorkQueue,
        targets: Targets,
        clock: WatchedClock,
        *,
        namespaces: tuple[str, ...],
        selector: str | None,
        default_zone: str,
        metrics: Metrics,
        timings: Timings = TIMINGS,
    ) -> None:
        self._cluster = cluster
        self._queue = queue
        self._targets = targets
        self._clock = clock
        self._all_namespaces = not namespaces
        self._selector = selector
        self._zone = default_zone
        self._metrics = metrics
        self._timings = timings
        self._last_events: dict[str | None, float] = {}
        """When a namespace had its last event."""
        self._silent_sweeps: dict[str | None, int] = {}
        """How many sweeps in a row found changes in a namespace while its watch reported nothing."""
        self.namespaces = {
            namespace: NamespaceWatch(
                namespace,
                self._on_event,
                clock,
                selector=selector,
                check=lambda namespace=namespace: self._check(namespace),  # type: ignore[misc]
                timings=timings,
            )
            for namespace in namespaces or (None,)
        }
        """The watches by namespace. None stands for all namespaces."""
        self._started = clock.monotonic()

    # Health

    @property
    def age(self) -> float:
        """Seconds since the last event. In a quiet cluster this grows although the watch works."""
        return self._clock.monotonic() - max(self._last_events.values(), default=self._started)

    @property
    def problem(self) -> str | None:
        """Why all watches seem to be silent: sweeps find changes that no watch reports."""
        silent = all(self._silent_sweeps.get(namespace, 0) >= SILENT_SWEEPS for namespace in self.namespaces)
        return "exporters change, but the watch does not report it" if silent else None

    @property
    def blind(self) -> str | None:
        """Why nothing is watched; None while at least one namespace is watched."""
        problems = [watch.problem for watch in self.namespaces.values()]
        return None if None in problems else problems[0]

    @property
    def listing(self) -> str | None:
        """Why a standby could not take over yet: the first list of a namespace has not arrived.

        A namespace that cannot be listed does not count.
        """
        unlisted = [str(watch) for watch in self.namespaces.values() if not watch.listed]
        return f"exporters are still being listed: {', '.join(unlisted)}" if unlisted else None

    def blind_seconds(self) -> dict[str, float]:
        """For how long each namespace has not been watched; 0 if it is watched. All namespaces have the name ""."""
        return {namespace or "": watch.blind_seconds for namespace, watch in self.namespaces.items()}

    # Watching

    async def check(self) -> None:
        """Check once that the namespaces can be watched. Raises `ClusterError` if none of them can."""
        problems: list[ClusterError] = []
        give_up = self._clock.monotonic() + START_PATIENCE_SECONDS
        for namespace in self.namespaces:
            while True:
                try:
                    await self._check(namespace)
                except Unreachable as error:
                    if self._clock.monotonic() > give_up:
                        problems.append(error)
                        break
                    log.warning("%s: retrying in %g s", error, START_RETRY_SECONDS)
                    await asyncio.sleep(START_RETRY_SECONDS)
                    continue
                except ClusterError as error:
                    problems.append(error)
                break
        if len(problems) == len(self.namespaces):
            raise problems[0]
        for problem in problems:
            log.error("one namespace cannot be watched, the others can: %s", problem)

    async def run(self, own_signals: Callable[[], None]) -> None:
        """Watch until cancelled. Raises `ClusterError` if nothing could be watched for `Timings.blind`.

        `own_signals` is called whenever Kopf has taken over the signal handlers of the process.
        """
        async with asyncio.TaskGroup() as group:
            for watch in self.namespaces.values():
                watch.own_signals = own_signals
                group.create_task(watch.run(), name=f"watch {watch}")
            starts = dict.fromkeys(self.namespaces, 1)
            while True:
                await self._clock.sleep(self._timings.look)
                blind = min(watch.blind_seconds for watch in self.namespaces.values())
                if blind > self._timings.blind:
                    raise ClusterError(f"nothing could be watched for {blind:.0f} s: {self.blind}")
                for namespace, watch in self.namespaces.items():
                    if watch.starts > starts[namespace] and watch.problem is None:
                        starts[namespace] = watch.starts
                        await self._forget_deleted(namespace)

    def observe(self, body: Mapping[str, Any]) -> None:
        """Enqueue an exporter as it was seen. Never raises: the reconciler reports problems of the exporter."""
        exporter = Exporter.from_object(body)
        if not (exporter.namespace and exporter.name and exporter.uid):
            log.warning("an object without a name or a uid was ignored")
            return
        # Thousands of exporters share a namespace and a tenant, and each body has its own copies of these strings.
        key = Key(sys.intern(exporter.namespace), exporter.name, exporter.uid)
        tenant = _same(tenant_of(exporter))
        now = self._clock.now()
        try:
            self._targets.observe(key, exporter)
            self._metrics.exporter(exporter, conditions.is_ready(exporter.status, exporter.generation))
            wake = next_wake(exporter, now, self._zone)
        except Exception:
            self._metrics.failed("observe")
            log.exception("an unexpected error while reading %s", key)
            wake = Wake(now)
        self._queue.enqueue(key, tenant, wake, exporter.resource_version)

    def forget(self, key: Key) -> None:
        """An exporter does not exist any more, or does not match the selector."""
        self._queue.forget(key)

    async def _on_event(self, event: kopf.RawEvent, **_: Any) -> None:
        try:
            body = event["object"]
            metadata = body["metadata"]
            namespace = None if self._all_namespaces else metadata["namespace"]
            self._last_events[namespace] = self._clock.monotonic()
            self._silent_sweeps[namespace] = 0
            if event["type"] == "DELETED":
                self.forget(Key(metadata["namespace"], metadata["name"], metadata["uid"]))
            else:
                self.observe(body)
        except Exception:
            self._metrics.failed("watch")
            log.exception("an unexpected error while handling an event of the watch")

    async def _check(self, namespace: str | None) -> None:
        """Raise `ClusterError` if exporters cannot be listed or watched.

        Without the CRD or a permission, Kopf's watch stays blind and reports nothing.
        """
        try:
            await self._cluster.check_list(namespace, self._selector)
            await self._cluster.check_watch(namespace)
        except NotFound as error:
            raise NotFound(
                f"{error}. Install the CRD first: qualtrics-exporter crd | kubectl apply --server-side -f -"
            ) from None

    # Comparison of lists

    def known(self, namespace: str | None) -> dict[Key, str]:
        """The exporters that the work queue knows, with their resourceVersions."""
        return {key: version for key, version in self._queue.known() if namespace in (None, key.namespace)}

    async def existing(self, namespace: str | None) -> dict[Key, str]:
        """The exporters that exist, with their resourceVersions. Raises `ClusterError`."""
        listed = self._cluster.list_metadata(namespace, self._selector)
        return {Key(item.namespace, item.name, item.uid): item.resource_version async for item in listed}

    def last_event(self, namespace: str | None) -> float | None:
        """When a namespace had its last event, on the monotonic clock."""
        return self._last_events.get(namespace)

    def swept(self, namespace: str | None, *, silent: bool) -> None:
        """A sweep has ended. `silent` means that it found changes, and the watch reported nothing meanwhile.

        A silent watch is restarted.
        """
        self._silent_sweeps[namespace] = self._silent_sweeps.get(namespace, 0) + 1 if silent else 0
        if silent:
            self.namespaces[namespace].restart()

    async def _forget_deleted(self, namespace: str | None) -> None:
        """Forget exporters that were deleted while a watch was broken: no watch reports these deletions."""
        known = self.known(namespace)
        try:
            existing = await self.existing(namespace)
        except Exception as error:  # noqa: BLE001  the next sweep finds them
            log.warning("could not look for deleted exporters: %s", type(error).__name__)
            return
        for key in known.keys() - existing.keys():
            self.forget(key)


@lru_cache(maxsize=4096)
def _same(tenant: Tenant) -> Tenant:
    """One object for all equal tenants."""
    return tenant
