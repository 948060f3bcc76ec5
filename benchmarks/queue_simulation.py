"""Simulates an operator with many exporters that are due in the same slot, on virtual time, for `benchmarks.queue`."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.plan.next_status import plan
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.export.journal import QuerySync
from qualtrics_exporter.export.query import QueryResult
from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Status
from qualtrics_exporter.sandbox.middleware import Reply
from tests.simulation import patches
from tests.simulation.api_server import ApiServer, Body
from tests.simulation.clock import EPOCH, true_time
from tests.simulation.faults import Faults
from tests.simulation.loop import VirtualLoop
from tests.simulation.remote import Network
from tests.simulation.replica import Replica
from tests.simulation.tenants import QUERY_TEXT, Instance, QualtricsBrand, WorldClock, brand, instance

SLOW = "team-0"
"""The namespace of the tenant with long runs."""
QUERY_SECONDS = 7.0
"""How long Nexthink takes to execute a query."""
IMPORT_SECONDS = 12.0
PEOPLE = 3
SLOT = EPOCH.replace(hour=0) + timedelta(days=1)
"""When all exporters are due: midnight on Tuesday."""
BEGIN = (SLOT - EPOCH).total_seconds() - 300
"""When the operator starts, in seconds of virtual time."""
LIMIT = 24 * 3600.0
"""The maximum duration of the simulation, in seconds after the operator starts."""
SCRAPE_SECONDS = 15.0


class CountingNetwork(Network):
    """Counts the requests that a service answers with 429."""

    rate_limited = 0

    def _serve(self, replica: str, host: str, request: Request, left: float) -> Reply:
        reply = super()._serve(replica, host, request, left)
        self.rate_limited += reply.status == 429
        return reply


class SlowNetwork(CountingNetwork):
    """A network in which Nexthink delays the reply to a query."""

    def begin(self, replica: str, request: Request) -> asyncio.Future[Any]:
        reply = super().begin(replica, request)
        if request.operation != "execute":
            return reply
        late: asyncio.Future[Any] = self.loop.create_future()

        def deliver() -> None:
            if not late.done():
                late.set_result(reply.result())

        reply.add_done_callback(lambda _: self.loop.outside(QUERY_SECONDS, deliver))
        return late


@dataclass
class Measurements:
    """The results of a simulation. Times are in seconds. `waits` and `ends` count from the slot."""

    exporters: int
    waits: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    """When runs started. The key is True for the slow tenant."""
    ends: dict[bool, list[float]] = field(default_factory=lambda: {False: [], True: []})
    """When runs ended that sent."""
    run_seconds: list[float] = field(default_factory=list)
    """How long runs of the healthy tenants took."""
    results: Counter[str] = field(default_factory=Counter)
    """The number of entries by result and reason."""
    lag: float = 0.0
    lag_at_end: float = 0.0
    in_progress: int = 0
    runs: int = 0
    distributions: int = 0
    cpu: float = 0.0

    @property
    def sent(self) -> int:
        return sum(map(len, self.ends.values()))

    @property
    def missed(self) -> int:
        return sum(number for result, number in self.results.items() if result.startswith("Missed"))


class QueueSimulation:
    """An operator, and exporters that are all due at `SLOT`."""

    network_class: type[CountingNetwork] = SlowNetwork

    def __init__(self, exporters: int, slow_minutes: float, tenants: int) -> None:
        self.loop = VirtualLoop()
        self.server = ApiServer(self.loop)
        self.faults = Faults(frozenset(), Random("api"), Random("remote"))  # noqa: S311  latencies, not secrets
        self.network = self.network_class(self.loop, self.faults, lambda *_: None, self.trace)
        self.invariants = SimpleNamespace(process_ended=_process_ended)
        self.measured = Measurements(exporters)
        self.unfinished: set[str] = set()
        """The names of exporters whose slot has no entry yet."""
        self._active: set[str] = set()
        self._brands: list[QualtricsBrand] = []
        simulation: Any = self  # has the attributes of a `Simulation` that a replica uses
        self._replica = Replica(simulation, "operator", shard="", selector=None, runs=100, zone="zone", elects=False)
        self.loop.run_until(BEGIN)
        for tenant in range(tenants):
            self._add_tenant(tenant, exporters, tenants, slow_minutes)
        self.server.listeners.append(self._changed)

    def trace(self, *words: Any) -> None:
        """Replicas call this. `Simulation` prints what happens; this class does not."""

    def calling(self, replica: Replica, operation: str) -> None:
        """Replicas call this. `Simulation` can interrupt a replica here; this class does not."""

    def run(self) -> Measurements:
        """Start the operator and run until every exporter has an entry."""
        began = time.process_time()
        with patches.repeatable(0), patches.logs(None):
            self.loop.outside(0.0, self._replica.start)
            self.loop.outside(SCRAPE_SECONDS, self._scrape)
            self.loop.run_until(BEGIN + LIMIT)
            self.loop.dispose()
        self.measured.distributions = sum(len(brand.recorder.distributions) for brand in self._brands)
        self.measured.cpu = time.process_time() - began
        return self.measured

    def _add_services(self, tenant: int) -> tuple[str, Instance, QualtricsBrand]:
        """Add the services of a tenant, and a namespace with their Secrets."""
        namespace, clock = f"team-{tenant}", WorldClock(self.loop.time)
        nexthink, hosts = instance(tenant, clock)
        qualtrics, more_hosts = brand(tenant, clock)
        self.network.hosts |= {**hosts, **more_hosts}
        self._brands.append(qualtrics)
        self.server.put_secret(namespace, "nexthink", nexthink.secret())
        self.server.put_secret(namespace, "qualtrics", qualtrics.secret())
        return namespace, nexthink, qualtrics

    def _add_tenant(self, tenant: int, exporters: int, tenants: int, slow_minutes: float) -> None:
        namespace, nexthink, qualtrics = self._add_services(tenant)
        slow = namespace == SLOW and slow_minutes > 0
        qualtrics.account.import_polls = 1000
        qualtrics.account.import_seconds = slow_minutes * 60 if slow else IMPORT_SECONDS
        qualtrics.account.limits.qualtrics_jobs = None  # the slow tenant has more than 125 imports in progress
        status: Body | None = None
        for number in range(tenant, exporters, tenants):
            name, query = f"exporter-{number:05d}", f"#q{number}"
            nexthink.add(query, PEOPLE)
            body = self.server.create(
                namespace, name, exporter_spec(query, qualtrics.add_target(number)), labels={}, annotations={}
            )
            status = status or idle_status(body, true_time(BEGIN))
            self.server.exporters[namespace, name] = {**body, "status": status}
            self.unfinished.add(name)

    def _scrape(self) -> None:
        """Record what a scrape of the metrics would show."""
        operator, measured = self._replica.operator, self.measured
        if operator is None:
            raise RuntimeError("the operator did not start")
        queue = operator.queue
        measured.lag = max(measured.lag, queue.lag)
        measured.lag_at_end = queue.lag
        measured.in_progress = max(measured.in_progress, queue.in_progress)
        if self.unfinished:
            self.loop.outside(SCRAPE_SECONDS, self._scrape)
        else:
            self.loop.stopped = True

    def _changed(self, kind: str, body: Body, before: Body | None) -> None:
        name, status, measured = body["metadata"]["name"], body["status"], self.measured
        if "activeRun" in status:
            self._active.add(name)
            measured.runs = max(measured.runs, len(self._active))
        else:
            self._active.discard(name)
        history = status.get("history")
        if not history or name not in self.unfinished:
            return
        self.unfinished.remove(name)
        entry, slow = history[0], body["metadata"]["namespace"] == SLOW
        measured.results[f"{entry['result']} {entry['reason']}"] += 1
        if "startTime" in entry:
            wait, end = _since_slot(entry["startTime"]), _since_slot(entry["completionTime"])
            measured.waits[slow].append(wait)
            if entry["result"] == "Succeeded":
                measured.ends[slow].append(end)
                if not slow:
                    measured.run_seconds.append(end - wait)


def idle_status(body: Body, now: datetime) -> Body:
    """The status of an exporter that was just checked and waits for its next slot."""
    exporter = Exporter.from_object(body)
    status = plan(exporter, Context(now, "", "UTC")).status
    verdict = Verdict(answer=QueryResult(Recipients(), False, QuerySync(True, Reason.QUERY_IN_SYNC.meaning)))
    status = conditions.checked(status, verdict, exporter.generation, now, suspended=False)
    status = status.model_copy(update={"observed_generation": exporter.generation, "last_check_time": now})
    return Status.model_dump(status, by_alias=True, exclude_none=True, mode="json")


def exporter_spec(query: str, target: dict[str, str]) -> Body:
    return {
        "schedule": {"frequency": "Weekly", "dayOfWeek": f"{SLOT:%A}", "timeZone": "UTC"},
        "nexthink": {"credentialsSecretRef": {"name": "nexthink"}, "query": QUERY_TEXT, "queryId": query},
        "qualtrics": {
            "credentialsSecretRef": {"name": "qualtrics"},
            **target,
            "fromEmail": "noreply@qemailserver.com",
            "fromName": "Digital Workplace",
            "subject": "How do you like it?",
        },
    }


def _since_slot(time: str) -> float:
    return (datetime.fromisoformat(time) - SLOT).total_seconds()


def _process_ended(name: str, why: str) -> None:
    raise RuntimeError(f"{name} ended: {why}")
