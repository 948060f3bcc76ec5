"""The operator as a process: `build` wires its parts, `Operator.serve` runs them.

    watch ──▶ work queue ──▶ reconciler ──▶ plan ──▶ actions ──▶ status store
                  ▲
           leader election: only the leader works on the queue

One event loop, one task group: if any part fails, the process ends and the kubelet restarts it. The journals say where
to resume. A watch that fails restarts by itself, and an error about one exporter ends nothing.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qualtrics_exporter.clock import Clock, SystemClock, WatchedClock
from qualtrics_exporter.controller import probes
from qualtrics_exporter.controller.actions.check import Checker
from qualtrics_exporter.controller.actions.check_inputs import CheckInputs
from qualtrics_exporter.controller.actions.delivery import DeliveryFigures
from qualtrics_exporter.controller.actions.dry_test import DryTester
from qualtrics_exporter.controller.actions.followed import FollowedFigures
from qualtrics_exporter.controller.actions.look_up import OutcomeLookUps
from qualtrics_exporter.controller.actions.questions import Questions
from qualtrics_exporter.controller.actions.run import Runner
from qualtrics_exporter.controller.announcer import Announcer
from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.election.leader_election import LeaderElection
from qualtrics_exporter.controller.election.leadership import LeaderRecord
from qualtrics_exporter.controller.health import Health
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect
from qualtrics_exporter.controller.kube.errors import ClusterError, NoTemporaryFile
from qualtrics_exporter.controller.kube.event_recorder import EventRecorder
from qualtrics_exporter.controller.memory import Memories
from qualtrics_exporter.controller.plan.repair import repaired
from qualtrics_exporter.controller.queue.work_queue import MAX_IN_PROGRESS, NAP_SECONDS, WorkQueue
from qualtrics_exporter.controller.recipient_memory import RecipientMemory
from qualtrics_exporter.controller.reconciler import Reconciler
from qualtrics_exporter.controller.run_holders import ProcessIdentity, RunHolders
from qualtrics_exporter.controller.settings import Settings
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.controller.status.store import StatusStore
from qualtrics_exporter.controller.sweep import STEP_SECONDS, Sweep
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.controller.watch import Watch
from qualtrics_exporter.export.run_context import MAX_WRITE_SECONDS
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.name_lookup import Loop
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.telemetry import logs
from qualtrics_exporter.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a test can replace in a process. The defaults are those of the operator."""

    loop: Callable[[], asyncio.AbstractEventLoop] = Loop
    elect: Callable[..., LeaderElection] = LeaderElection
    max_in_progress: int = MAX_IN_PROGRESS
    nap_seconds: float = NAP_SECONDS
    step_seconds: float = STEP_SECONDS
    max_write_seconds: float = MAX_WRITE_SECONDS
    on_listening: Callable[[str, int], None] = lambda host, port: None
    """Called with the address of the probes."""


PARTS = Parts()


def run(settings: Settings, clock: Clock | None = None, parts: Parts = PARTS) -> int:
    """Run the operator until SIGTERM or SIGINT; the exit code of the process. Raises `NoTemporaryFile`."""
    logs.configure(settings.log_format, settings.log_level)
    try:
        with asyncio.Runner(loop_factory=parts.loop) as runner:
            runner.run(serve(settings, clock or SystemClock(), parts))
    except NoTemporaryFile:
        raise
    except Exception as error:
        for leaf in _leaves(error):
            # The message of these says what to do; a traceback would only hide it.
            understood = isinstance(leaf, ClusterError | OSError)
            log.error("%s", leaf, exc_info=None if understood else leaf)  # noqa: TRY400
        return 1
    return 0


async def serve(settings: Settings, clock: Clock, parts: Parts) -> None:
    """Run the operator until it is asked to stop. Raises the error that ended it otherwise."""
    if settings.allow_http:
        log.warning("--allow-http: credentials and addresses travel unencrypted to %s", settings.allowed_hosts)
    if proxies := settings.proxies.describe():
        log.info("requests to Nexthink, Qualtrics and the files of exports: %s", proxies)
    metrics = Metrics(per_exporter=settings.exporter_metrics)
    context = ApiContext(
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
    async with contextlib.aclosing(context), await connect() as api:
        cluster = ClusterApi(api)
        clients = ClientFactory(cluster, context)
        operator = build(
            settings, cluster, clock, clients=clients, metrics=metrics, instance=instance, pod=pod, parts=parts
        )
        await operator.serve(parts.on_listening)


@dataclass(frozen=True)
class Operator:
    """One replica, as `build` wires it."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    memories: Memories
    targets: Targets
    reconciler: Reconciler
    queue: WorkQueue
    watch: Watch
    sweep: Sweep
    election: LeaderElection | None
    health: Health

    async def serve(self, on_listening: Callable[[str, int], None]) -> None:
        """Run all parts until the process is asked to stop. `on_listening` is called with the address of the probes."""
        self._follow()
        await self.watch.check()
        stop = asyncio.Event()

        def own_signals() -> None:
            # Kopf handles the signals by ending its watch. These handlers replace Kopf's and end the parts in order.
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)

        async with (
            probes.serve(
                self.settings.http_address,
                metrics=self.metrics.text,
                health=self.health.not_live,
                ready=self.health.not_ready,
            ) as address,
            asyncio.TaskGroup() as group,
        ):
            own_signals()
            on_listening(*address)
            watch = group.create_task(self.watch.run(own_signals), name="watch")
            sweep = group.create_task(self.sweep.run(), name="sweep")
            clock = group.create_task(self.sweep.follow_clock(), name="clock")
            lead = group.create_task(self.lead(), name="lead")
            log.info("watching %s", ", ".join(self.settings.namespaces) or "all namespaces")
            await stop.wait()
            log.info("stopping: the next start resumes the runs that have not reached their send")
            lead.cancel()
            await asyncio.wait({lead})
            for task in (sweep, clock, watch):
                task.cancel()

    async def lead(self) -> None:
        """Reconcile exporters whenever this replica is the leader, until cancelled."""
        if self.election:
            await self.election.run(self.queue.lead)
        else:
            await self.queue.lead()

    def _follow(self) -> None:
        """Let each scrape of the metrics read these figures."""
        self.metrics.follow(
            exporters=self.queue.__len__,
            due=lambda: self.queue.waiting + self.queue.waits.exporters,
            lag=lambda: self.queue.lag,
            tick_age=lambda: self.clock.monotonic() - self.queue.ticked,
            watch_age=lambda: self.watch.age,
            blind=self.watch.blind_seconds,
            failing=lambda: self.queue.failing,
            rate_limit_waits=self.queue.waits.rate_limit_seconds,
            may_lead=lambda: self.election is None or self.election.leading,
        )


def build(
    settings: Settings,
    cluster: ClusterApi,
    clock: Clock,
    *,
    clients: ClientFactory,
    metrics: Metrics,
    instance: str,
    pod: str = "",
    parts: Parts = PARTS,
) -> Operator:
    """Wire the parts of one replica. `instance` is its name, `pod` the name of its pod, if it has one."""
    clock = WatchedClock(clock)
    zone = settings.time_zone
    lease = (settings.lease_namespace or _own_namespace() or "default", settings.lease_name)
    identity = ProcessIdentity.new(lease=lease if settings.leader_election else None, pod=pod, instance=instance)
    record, memories, targets = LeaderRecord(clock), Memories(), Targets()

    def repair(exporter: Exporter) -> Exporter:
        now = clock.now()  # this notices a clock that was set, and then `record.clock_unsure` changes
        return repaired(exporter, now, clock_unsure=record.clock_unsure, default_zone=zone)

    store = StatusStore(cluster, clock, repair)
    recipients, questions = RecipientMemory(clients.waits), Questions(memories, clock)
    inputs = CheckInputs(clients, targets, memories, metrics, clock)
    actions = (
        # The first action that is due is done, then the next exporter has its turn. A run comes first, because only a
        # run is late when it waits. Then a test, because somebody waits for its result.
        Runner(
            *(store, clients, clock, identity, zone, recipients, memories, metrics),
            clock_unsure=lambda: record.clock_unsure,
            max_write_seconds=parts.max_write_seconds,
        ),
        DryTester(store, inputs, recipients, zone),
        Checker(store, inputs, zone),
        OutcomeLookUps(store, clients, questions, zone),
        DeliveryFigures(store, clients, questions, zone),
        FollowedFigures(store, clients, questions, zone),
    )
    holders = RunHolders(identity, memories, clock)
    announcer = Announcer(store, EventRecorder(cluster, instance, clock), metrics, clock)
    reconciler = Reconciler(store, holders, actions, questions, memories, announcer, record, clock, zone)

    def forget(key: Key) -> None:
        """Remove everything that is remembered about an exporter that is gone."""
        targets.forget(key)
        metrics.forget(*key)
        memories.forget(key)
        store.entry_log.forget(key)

    queue = WorkQueue(
        reconciler.reconcile,
        clock,
        on_lead=metrics.leading,
        on_gone=forget,
        max_in_progress=parts.max_in_progress,
        nap_seconds=parts.nap_seconds,
        waits=clients.waits,
    )
    watch = Watch(
        cluster,
        queue,
        targets,
        clock,
        namespaces=settings.namespaces,
        selector=settings.selector,
        default_zone=zone,
        metrics=metrics,
    )
    sweep = Sweep(cluster, watch, clock, settings.selector, metrics, parts.step_seconds)
    election = None
    if settings.leader_election:
        election = parts.elect(cluster, *lease, instance, record=record)
    health = Health(queue, watch, election, clock)
    return Operator(settings, clock, metrics, memories, targets, reconciler, queue, watch, sweep, election, health)


def _leaves(error: Exception) -> list[Exception]:
    """The errors in a group of errors."""
    if isinstance(error, ExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _own_namespace() -> str | None:
    try:
        return SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return None
