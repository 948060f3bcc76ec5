"""The real operator on virtual time, with two exporters: a test changes one, and the other one stays healthy."""

import copy
from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any

import jsonschema
from prometheus_client import generate_latest

from qualtrics_exporter.controller.kube.errors import Refused
from qualtrics_exporter.resource.names import GROUP, KIND, VERSION
from tests.controller.crd_strategies import STATUS
from tests.simulation import patches
from tests.simulation.api_server import ApiServer, Body
from tests.simulation.faults import Faults
from tests.simulation.loop import VirtualLoop
from tests.simulation.remote import Network
from tests.simulation.replica import Replica
from tests.simulation.tenants import QUERY_TEXT, WorldClock, brand, instance

HEALTHY, CHANGED = "healthy", "changed"
NAMESPACE = "team"
_VALIDATOR = jsonschema.Draft202012Validator(STATUS)


class StrictServer(ApiServer):
    """An API server that validates each new status against the CRD, as the real one does, but not a stored status."""

    def replace_status(self, writer: str, namespace: str, name: str, uid: str, version: str, status: Body) -> Body:
        problem = next(_VALIDATOR.iter_errors(status), None)
        if problem is not None:
            raise Refused(f"status: {problem.json_path}: {problem.message[:80]}", 422)
        return super().replace_status(writer, namespace, name, uid, version, status)


class VirtualOperator:
    """An operator with two exporters that have hourly slots. `change` changes one of them."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.server = StrictServer(self.loop)
        self.faults = Faults(frozenset(), Random("api"), Random("remote"))
        self.network = Network(self.loop, self.faults, lambda *_: None, self.trace)
        self.ends: list[str] = []
        self.invariants = SimpleNamespace(process_ended=lambda _, why: self.ends.append(why))
        self.lines: list[str] = []
        self._clock = WorldClock(self.loop.time)
        self._nexthink, hosts = instance(0, self._clock)
        self.brand, more_hosts = brand(0, self._clock)
        self.network.hosts |= {**hosts, **more_hosts}
        self.brand.account.import_polls, self.brand.account.import_seconds = 1000, 5.0
        self.server.put_secret(NAMESPACE, "nexthink", self._nexthink.secret())
        self.server.put_secret(NAMESPACE, "qualtrics", self.brand.secret())
        simulation: Any = self
        self.replica = Replica(simulation, "operator", shard="", selector=None, runs=100, zone="zone", elects=False)
        for number, name in enumerate((HEALTHY, CHANGED)):
            self._nexthink.add(f"#{name}", 3)
            self.server.create(NAMESPACE, name, self.spec(name, number), labels={}, annotations={})

    def spec(self, name: str, number: int = 1) -> Body:
        """Return a valid spec."""
        return {
            "schedule": {"frequency": "Hourly", "everyHours": 1, "timeZone": "UTC"},
            "nexthink": {"credentialsSecretRef": {"name": "nexthink"}, "query": QUERY_TEXT, "queryId": f"#{name}"},
            "qualtrics": {
                "credentialsSecretRef": {"name": "qualtrics"},
                **self.brand.add_target(number),
                "fromEmail": "noreply@qemailserver.com",
                "fromName": "Digital Workplace",
                "subject": f"Subject of {name}",
            },
        }

    def trace(self, *words: Any) -> None:
        self.lines.append(" ".join(map(str, words)))

    def calling(self, replica: Replica, operation: str) -> None:
        """`Replica` calls this before each call, where a simulation can interrupt it."""

    def change(self, *, spec: Any = None, status: Any = None, metadata: Body | None = None) -> None:
        """Change any part of the exporter `CHANGED`, as a tool with full permissions can."""
        old = self.server.exporters[NAMESPACE, CHANGED]
        new: Body = {**old, "metadata": {**old["metadata"], **(metadata or {})}}
        new["metadata"]["resourceVersion"] = self.server.next_version()
        if spec is not None:
            new["spec"] = spec
            if "generation" not in (metadata or {}):
                new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if status is not None:
            new["status"] = status
        self.server.exporters[NAMESPACE, CHANGED] = copy.deepcopy(new)
        self.server._notify("MODIFIED", self.server.exporters[NAMESPACE, CHANGED], old)

    def run(self, hours: float) -> None:
        """Let time pass."""
        with patches.repeatable(0), patches.logs(self.lines.append):
            if not self.replica.running:
                self.loop.outside(0.0, self.replica.start)
            self.loop.run_until(self.loop.time() + hours * 3600)

    def body(self, name: str) -> Body:
        """Return the stored exporter."""
        return self.server.exporters[NAMESPACE, name]

    def status(self, name: str) -> Body:
        """Return the stored status."""
        found: Body = self.body(name).get("status") or {}
        return found

    def sent(self, name: str) -> int:
        """Return how many surveys this exporter sent."""
        return sum(sent.subject == f"Subject of {name}" for sent in self.brand.recorder.distributions)

    def sent_twice(self) -> list[str]:
        """Return the runs that were sent more than once."""
        recorder = self.brand.recorder
        runs = Counter(run for sent in recorder.distributions for run in recorder.batches[sent.batch_id or ""].run_ids)
        return [run for run, number in runs.items() if number > 1]

    def internal_errors(self) -> list[str]:
        """Return the metrics about unexpected errors."""
        assert self.replica.operator
        text = generate_latest(self.replica.operator.metrics.registry).decode()
        return [line for line in text.splitlines() if line.startswith("qualtrics_exporter_internal_errors_total{")]

    def close(self) -> None:
        self.loop.dispose()


__all__ = ["CHANGED", "GROUP", "HEALTHY", "KIND", "NAMESPACE", "VERSION", "VirtualOperator"]
