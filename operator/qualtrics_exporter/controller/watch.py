"""What happens in the cluster, reported to the work queue: Kopf's watches, and a sweep behind them.

Of Kopf only the low-level `on.event` is used: no finalizer, no annotation, no PATCH of its own, and get, list and watch
are all the rights it needs. Its timers and daemons keep their time in memory and add finalizers; what was measured
stands in docs/facts/kubernetes.md section 1. Two things the watch can't do: it never tells what was deleted while it
was broken, and its bodies may be stale. So every ten minutes a list of names and versions is compared with what the
queue knows, and whoever acts on an exporter reads it again first.

Problems stay local. Each namespace has a watch of its own. An exporter that cannot be understood is left to the
reconciler, which reports it, and never ends a watch or a sweep.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import kopf

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller.kube.api import Cluster, ClusterError, Forbidden, Gone, Unreachable
from qualtrics_exporter.controller.plan.wake import Wake, next_wake
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.key import Key, tenant_of
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.controller.watcher import LOOK_SECONDS, Watcher
from qualtrics_exporter.controller.work_queue import WorkQueue
from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

SWEEP_SECONDS = 600.0
STEP_SECONDS = 30.0
"""How often somebody looks at the wall clock, at least."""
START_PATIENCE_SECONDS = 60.0
BLIND_SECONDS = 900.0
"""How long no namespace may be watched before the process ends. A new process reads its configuration, its credentials
and the certificate authority again. While one namespace is watched, the process goes on.
"""


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
    ) -> None:
        self._cluster = cluster
        self._queue = queue
        self._targets = targets
        self._clock = clock
        self._namespaces = namespaces
        self._selector = selector
        self._zone = default_zone
        self._metrics = metrics
        self._heard: dict[str | None, float] = {}
        """When the watch of a namespace last told anything."""
        self._silent_sweeps: dict[str | None, int] = {}
        """How often in a row a sweep found changes in a namespace that its watch had not told about."""
        self.watchers = {
            namespace: Watcher(
                namespace,
                self._on_event,
                clock,
                selector=selector,
                check=lambda namespace=namespace: self._check(namespace),  # type: ignore[misc]
            )
            for namespace in namespaces or (None,)
        }
        self._started = clock.monotonic()

    @property
    def age(self) -> float:
        """Seconds since a watch told anything. In a cluster at rest this grows, and nothing is wrong."""
        return self._clock.monotonic() - max(self._heard.values(), default=self._started)

    @property
    def problem(self) -> str | None:
        """Why all watches seem to be deaf: twice a sweep found changes, and none of them told anything in between."""
        deaf = all(self._silent_sweeps.get(namespace, 0) >= 2 for namespace in self.watchers)
        return "the watch is silent although exporters change" if deaf else None

    @property
    def blind(self) -> str | None:
        """Why nothing is watched; None while at least one namespace is."""
        problems = [watcher.problem for watcher in self.watchers.values()]
        return None if None in problems else problems[0]

    @property
    def listing(self) -> str | None:
        """Why a standby could not take over yet: exporters are still being listed for the first time.

        A namespace that cannot be listed is not waited for.
        """
        open_ = [str(watcher) for watcher in self.watchers.values() if not watcher.settled]
        return f"exporters are still being listed: {', '.join(open_)}" if open_ else None

    def blind_seconds(self) -> dict[str, float]:
        """For how long each namespace has not been watched, 0 if it is. The name of all namespaces is empty."""
        return {namespace or "": watcher.blind_seconds for namespace, watcher in self.watchers.items()}

    async def check(self) -> None:
        """Look once at each namespace. Raises `ClusterError` if none of them can be watched."""
        problems: list[ClusterError] = []
        give_up = self._clock.monotonic() + START_PATIENCE_SECONDS
        for namespace in self.watchers:
            while True:
                try:
                    await self._check(namespace)
                except Unreachable as error:
                    if self._clock.monotonic() > give_up:
                        problems.append(error)
                        break
                    log.warning("%s: trying again", error)
                    await asyncio.sleep(2)
                    continue
                except ClusterError as error:
                    problems.append(error)
                break
        if len(problems) == len(self.watchers):
            raise problems[0]
        for problem in problems:
            log.error("a namespace cannot be watched, the others are: %s", problem)

    async def run(self, own_signals: Callable[[], None]) -> None:
        """Watch until cancelled. Raises `ClusterError` if nothing could be watched for `BLIND_SECONDS`.

        `own_signals` is called whenever Kopf has taken over the signals of the process.
        """
        async with asyncio.TaskGroup() as group:
            for watcher in self.watchers.values():
                watcher.own_signals = own_signals
                group.create_task(watcher.run(), name=f"watch {watcher}")
            starts = dict.fromkeys(self.watchers, 1)
            while True:
                await self._clock.sleep(LOOK_SECONDS)
                blind = min(watcher.blind_seconds for watcher in self.watchers.values())
                if blind > BLIND_SECONDS:
                    raise ClusterError(f"nothing could be watched for {blind:.0f} s: {self.blind}")
                for namespace, watcher in self.watchers.items():
                    if watcher.starts > starts[namespace] and watcher.problem is None:
                        starts[namespace] = watcher.starts
                        await self._forget_deleted(namespace)

    async def sweep(self) -> None:
        """Compare with fresh lists, for ever."""
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            for namespace in self.watchers:
                try:
                    await self._sweep(namespace)
                except ClusterError as error:
                    log.warning("the sweep could not be finished, it comes again in ten minutes: %s", error)
                except Exception:
                    self._metrics.failed("sweep")
                    log.exception("the sweep could not be finished, it comes again in ten minutes")

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
            if await self.observe_all():
                handled = steps

    async def observe_all(self) -> bool:
        """Take in every exporter as it is now; False if a namespace could not be listed."""
        complete = True
        for namespace in self.watchers:
            try:
                async for body in self._cluster.list(namespace, self._selector):
                    self.observe(body)
            except Forbidden as error:  # the sweep and the watch report it, and notice when it is over
                log.warning("exporters could not be listed after the clock was set: %s", error)
            except ClusterError as error:
                log.warning("exporters could not be listed after the clock was set, trying again: %s", error)
                complete = False
        return complete

    def observe(self, body: Mapping[str, Any]) -> None:
        """Take in an exporter as it is (or lately was). Never raises: the reconciler reports what is wrong with it."""
        exporter = Exporter.from_object(body)
        if not (exporter.namespace and exporter.name and exporter.uid):
            log.warning("an object without a name or a uid was ignored")
            return
        # Thousands share a namespace and a Secret, and each body brings its own copies of those words.
        key = Key(sys.intern(exporter.namespace), exporter.name, exporter.uid)
        tenant = Tenant(*map(sys.intern, tenant_of(exporter)))
        now = self._clock.now()
        try:
            self._targets.observe(exporter)
            self._metrics.exporter(exporter, conditions.is_ready(exporter.status, exporter.generation))
            wake = next_wake(exporter, now, self._zone)
        except Exception:
            self._metrics.failed("observe")
            log.exception("%s could not be understood", key)
            wake = Wake(now)
        self._queue.enqueue(key, tenant, wake, exporter.resource_version)

    async def _on_event(self, event: kopf.RawEvent, **_: Any) -> None:
        try:
            body = event["object"]
            metadata = body["metadata"]
            namespace = metadata["namespace"] if self._namespaces else None
            self._heard[namespace] = self._clock.monotonic()
            self._silent_sweeps[namespace] = 0
            if event["type"] == "DELETED":
                self._queue.forget(Key(metadata["namespace"], metadata["name"], metadata["uid"]))
            else:
                self.observe(body)
        except Exception:
            self._metrics.failed("watch")
            log.exception("an event of the watch could not be handled")

    async def _check(self, namespace: str | None) -> None:
        """One short list, because a watch without the CRD or a right stays blind without a word."""
        try:
            async for _ in self._cluster.list_metadata(namespace, self._selector):
                break
            await self._cluster.check_watch(namespace)
        except Gone as error:
            raise Gone(
                f"{error}. Install the CRD first: qualtrics-exporter crd | kubectl apply --server-side -f -"
            ) from None

    def _known(self, namespace: str | None) -> dict[Key, str]:
        return {key: version for key, version in self._queue.known() if namespace in (None, key.namespace)}

    async def _found(self, namespace: str | None) -> dict[Key, str]:
        """The exporters that exist, with their resourceVersions."""
        listed = self._cluster.list_metadata(namespace, self._selector)
        return {Key(item.namespace, item.name, item.uid): item.resource_version async for item in listed}

    async def _forget_deleted(self, namespace: str | None) -> None:
        """Let go of what was deleted while a watch was broken: it is never told."""
        known = self._known(namespace)
        try:
            found = await self._found(namespace)
        except Exception as error:  # noqa: BLE001  the sweep comes anyway
            log.warning("deleted exporters could not be looked for: %s", type(error).__name__)
            return
        for key in known.keys() - found.keys():
            self._queue.forget(key)

    async def _sweep(self, namespace: str | None) -> None:
        heard = self._heard.get(namespace)
        known = self._known(namespace)
        found = await self._found(namespace)
        changed = [key for key, version in found.items() if known.get(key) != version]
        missed = 0
        for key in known.keys() - found.keys():
            missed += 1
            self._queue.forget(key)
        now_known = self._known(namespace)
        for key in changed:
            if key in known and key not in now_known:
                continue  # it has left meanwhile, by what the watch says
            missed += now_known.get(key) == known.get(key)  # else the watch has told it meanwhile
            try:
                self.observe(await self._cluster.get(key.namespace, key.name))
            except Gone:
                continue
        silent = bool(missed) and self._heard.get(namespace) == heard
        self._silent_sweeps[namespace] = self._silent_sweeps.get(namespace, 0) + 1 if silent else 0
        if missed:
            log.info("the sweep found %d exporters that the watch had not told about", missed)
        if silent:
            self.watchers[namespace].restart()
