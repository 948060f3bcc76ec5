"""The sweep: finds what the watches miss, and replans everything after the wall clock was set.

- A watch never reports what was deleted while it was broken, and it may be silent although its connection is open. So
  every ten minutes the sweep compares a list of names and versions with the work queue.
- Plans that were made with a wrong clock may be far away by the right one. So after a step of the wall clock, every
  exporter is enqueued again.
"""

import logging
from dataclasses import dataclass

from qualtrics_exporter.clock import WatchedClock
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, NotFound
from qualtrics_exporter.controller.watch import Watch
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

SWEEP_SECONDS = 600.0
STEP_SECONDS = 30.0
"""How often the wall clock is checked for steps, at least."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Compares lists with the work queue that `watch` feeds."""

    cluster: ClusterApi
    watch: Watch
    clock: WatchedClock
    selector: str | None
    metrics: Metrics
    step_seconds: float = STEP_SECONDS

    async def run(self) -> None:
        """Compare with a new list every `SWEEP_SECONDS`, until cancelled."""
        while True:
            await self.clock.sleep(SWEEP_SECONDS)
            for namespace in self.watch.namespaces:
                try:
                    await self._sweep(namespace)
                except ClusterError as error:
                    log.warning("the sweep failed, the next one starts in ten minutes: %s", error)
                except Exception:
                    self.metrics.failed("sweep")
                    log.exception("the sweep failed, the next one starts in ten minutes")

    async def follow_clock(self) -> None:
        """Enqueue every exporter again whenever the wall clock was set, until cancelled."""
        handled = self.clock.steps
        while True:
            await self.clock.sleep(self.step_seconds)
            self.clock.now()
            if (steps := self.clock.steps) == handled:
                continue
            log.warning("the wall clock was set: planning every exporter again")
            if await self._observe_all():
                handled = steps

    async def _observe_all(self) -> bool:
        """Enqueue every exporter as it is now; False if a namespace could not be listed."""
        complete = True
        for namespace in self.watch.namespaces:
            try:
                async for body in self.cluster.list(namespace, self.selector):
                    self.watch.observe(body)
            except Forbidden as error:  # the sweep and the watch report it, and notice when it is over
                log.warning("exporters could not be listed after the clock was set: %s", error)
            except ClusterError as error:
                log.warning("exporters could not be listed after the clock was set, retrying: %s", error)
                complete = False
        return complete

    async def _sweep(self, namespace: str | None) -> None:
        watch = self.watch
        last_event = watch.last_event(namespace)
        known = watch.known(namespace)
        existing = await watch.existing(namespace)
        changed = [key for key, version in existing.items() if known.get(key) != version]
        missed = 0
        for key in known.keys() - existing.keys():
            missed += 1
            watch.forget(key)
        now_known = watch.known(namespace)
        for key in changed:
            if key in known and key not in now_known:
                continue  # the watch has reported its end meanwhile
            missed += now_known.get(key) == known.get(key)  # otherwise the watch has reported the change meanwhile
            try:
                watch.observe(await self.cluster.get(key.namespace, key.name))
            except NotFound:
                continue
        if missed:
            log.info("the sweep found %d exporters with changes that the watch did not report", missed)
        watch.swept(namespace, silent=bool(missed) and watch.last_event(namespace) == last_event)
