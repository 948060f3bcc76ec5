"""The operator as a process: everything is wired here, and nothing decided.

    Kopf's watch, sweep ──▶ work queue ──▶ reconciler ──▶ runner ──▶ export
                                ▲
                      elector: the queue is worked on only while this replica leads

One event loop, one task group: when any part fails, all of it ends and the process with it; the kubelet starts it
again, and the journals tell where it was. A watch that fails starts again by itself, and an error about one exporter
ends nothing.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from pathlib import Path

from qualtrics_exporter.clock import Clock, SystemClock, WatchedClock
from qualtrics_exporter.controller import probes
from qualtrics_exporter.controller.actions.run import ClientFactory
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect
from qualtrics_exporter.controller.kube.errors import ClusterError, NoTemporaryFile
from qualtrics_exporter.controller.kube.event_recorder import EventRecorder
from qualtrics_exporter.controller.leader_election import LeaderElection
from qualtrics_exporter.controller.leader_gaps import LeaderRecord
from qualtrics_exporter.controller.reconciler import Reconciler
from qualtrics_exporter.controller.run_holders import ProcessIdentity
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.controller.status.store import Key, StatusStore
from qualtrics_exporter.controller.sweep import Sweep
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.controller.watch import Watch
from qualtrics_exporter.controller.work_queue import WorkQueue
from qualtrics_exporter.export.query_texts import QueryTexts
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.name_lookup import Loop
from qualtrics_exporter.telemetry import logs
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# A work queue that has not been looked at for so long hangs: there is a look every half a minute at least.
TICK_SECONDS = 180.0


def run(settings: Settings, clock: Clock | None = None) -> int:
    """Run the operator until SIGTERM or SIGINT; the exit code of the process. Raises `NoTemporaryFile`."""
    logs.configure(settings.log_format, settings.log_level)
    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(serve(settings, clock or SystemClock()))
    except NoTemporaryFile:
        raise
    except Exception as error:
        for leaf in _leaves(error):
            # These say what to do in a sentence; a traceback would only hide it.
            told = isinstance(leaf, ClusterError | OSError)
            log.error("%s", leaf, exc_info=None if told else leaf)  # noqa: TRY400
        return 1
    return 0


async def serve(settings: Settings, clock: Clock) -> None:
    """Run the operator until it is asked to stop. Raises what made it end otherwise."""
    if settings.allow_http:
        log.warning("--allow-http: credentials and addresses travel unencrypted to %s", settings.allowed_hosts)
    if told := settings.proxies.describe():
        log.info("requests to Nexthink, Qualtrics and the files of exports: %s", told)
    metrics = Metrics()
    remotes = ApiContext(
        clock=clock,
        allowed_hosts=settings.allowed_hosts,
        download_hosts=settings.allowed_download_hosts,
        allow_http=settings.allow_http,
        observe=metrics.observe,
        max_concurrent_requests=settings.max_concurrent_runs,
        proxies=settings.proxies,
    )
    name = os.environ.get("POD_NAME", "")
    instance = name or socket.gethostname()
    pod = "/".join(part for part in (_own_namespace(), name) if part) if name else ""
    async with contextlib.aclosing(remotes), await connect() as api:
        await Operator(settings, clock, ClusterApi(api), remotes, metrics, instance=instance, pod=pod).serve()


class Operator:
    """All parts of one replica, wired. `instance` names the replica; `pod` is the name of its pod, if it has one.

    `texts` checks the texts of queries, in a thread unless it is given.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        cluster: ClusterApi,
        remotes: ApiContext,
        metrics: Metrics,
        *,
        instance: str,
        pod: str = "",
        texts: QueryTexts | None = None,
    ) -> None:
        clock = WatchedClock(clock)
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._cluster = cluster
        zone = settings.time_zone
        lease = (settings.lease_namespace or _own_namespace() or "default", settings.lease_name)
        identity = ProcessIdentity.new(lease=lease if settings.leader_election else None, pod=pod, instance=instance)
        self.record = record = LeaderRecord(clock)
        self._targets = targets = Targets()
        self.reconciler = Reconciler(
            StatusStore(cluster, clock, unsure=lambda: record.unsure, default_zone=zone),
            ClientFactory(cluster, remotes, texts),
            EventRecorder(cluster, instance, clock),
            metrics,
            targets,
            clock,
            identity=identity,
            record=record,
            default_zone=zone,
        )
        self.queue = WorkQueue(self.reconciler.reconcile, clock, on_lead=metrics.leading, on_gone=self._forget)
        self.watch = Watch(
            cluster,
            self.queue,
            targets,
            clock,
            namespaces=settings.namespaces,
            selector=settings.selector,
            default_zone=zone,
            metrics=metrics,
        )
        self.sweep = Sweep(cluster, self.watch, clock, selector=settings.selector, metrics=metrics)
        self.elector = LeaderElection(cluster, *lease, instance, record=record) if settings.leader_election else None
        metrics.follow(
            exporters=self.queue.__len__,
            due=lambda: self.queue.waiting,
            lag=lambda: self.queue.lag,
            tick_age=lambda: clock.monotonic() - self.queue.ticked,
            watch_age=lambda: self.watch.age,
            blind=self.watch.blind_seconds,
            failing=lambda: self.queue.failing,
        )

    def _forget(self, key: Key) -> None:
        """Let go of everything that is kept about an exporter that is gone."""
        self._targets.forget(key)
        self._metrics.forget(*key)
        self.reconciler.forget(key)

    async def serve(self) -> None:
        await self.watch.check()
        stop = asyncio.Event()

        def own_signals() -> None:
            # Kopf takes over the signals and would end a watch: ours take them back, and end things in our order.
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)

        async with (
            probes.serve(
                self._settings.http_address, registry=self._metrics.registry, health=self._health, ready=self._unready
            ),
            asyncio.TaskGroup() as group,
        ):
            own_signals()
            watch = group.create_task(self.watch.run(own_signals), name="watch")
            sweep = group.create_task(self.sweep.run(), name="sweep")
            clock = group.create_task(self.sweep.follow_clock(), name="clock")
            lead = group.create_task(self.lead(), name="lead")
            log.info("watching %s", ", ".join(self._settings.namespaces) or "all namespaces")
            await stop.wait()
            log.info("stopping: runs that have not reached their send are left for the next start")
            lead.cancel()
            await asyncio.wait({lead})
            for task in (sweep, clock, watch):
                task.cancel()

    async def lead(self) -> None:
        """Tend exporters whenever this replica is the leader, until cancelled."""
        if self.elector:
            await self.elector.run(self.queue.lead)
        else:
            await self.queue.lead()

    def _unready(self) -> str | None:
        """A replica that lacks a right would wait for ever without a word: this is the word."""
        if problem := self.watch.blind:
            return f"nothing is watched: {problem}"
        if problem := self.watch.listing:
            return problem
        if self.elector and self.elector.problem:
            return f"the Lease cannot be had: {self.elector.problem}"
        return self.queue.problem

    def _health(self) -> str | None:
        if self.queue.leading and self._clock.monotonic() - self.queue.ticked > TICK_SECONDS:
            return "the work queue has not been looked at for minutes"
        return self.watch.problem


def _leaves(error: Exception) -> list[Exception]:
    """What really happened, without the groups around it."""
    if isinstance(error, ExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _own_namespace() -> str | None:
    try:
        return SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return None
