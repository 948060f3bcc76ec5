"""Simulates new exporters of several tenants, on virtual time, for `benchmarks.new_exporters`.

    python -m benchmarks.new_exporters_simulation TENANTS EXPORTERS_OF_EACH

It prints a `NewExporters` as JSON. Its figures do not depend on the time of the machine, so it only uses processors
that nothing else uses.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass, field

from benchmarks.queue_simulation import BEGIN, PEOPLE, CountingNetwork, QueueSimulation, exporter_spec
from tests.simulation import patches
from tests.simulation.api_server import Body

CREATED = BEGIN + 60
"""When all exporters are created, in seconds of virtual time. The operator is idle since its start."""
LIMIT = 3600.0
"""The maximum duration of the simulation, in seconds after the exporters are created."""


@dataclass(kw_only=True)
class NewExporters:
    """What the exporters reported."""

    ready: list[float] = field(default_factory=list)
    """When each exporter became Ready, in seconds after all were created, in order."""
    not_ready: int = 0
    """The number of exporters whose condition `Ready` was `False` at some time."""
    rate_limited: int = 0
    """The number of requests that were answered with 429."""


class NewExportersSimulation(QueueSimulation):
    """An operator, and exporters that are all created at once. Each tenant has its own Nexthink and Qualtrics."""

    network_class = CountingNetwork

    def __init__(self, tenants: int, exporters_of_each: int) -> None:
        self.result = NewExporters()
        self._not_ready: set[str] = set()
        self._specs: dict[tuple[str, str], Body] = {}
        super().__init__(tenants * exporters_of_each, 0, tenants)

    def run_until_ready(self) -> NewExporters:
        """Start the operator, create the exporters, and run until all are Ready."""
        with patches.repeatable(0), patches.logs(None):
            self.loop.outside(0.0, self._replica.start)
            self.loop.run_until(CREATED)
            for (namespace, name), spec in self._specs.items():
                self.server.create(namespace, name, spec, labels={}, annotations={})
            self.loop.run_until(CREATED + LIMIT)
            self.loop.dispose()
        self.result.not_ready = len(self._not_ready)
        self.result.rate_limited = self.network.rate_limited
        return self.result

    def _add_tenant(self, tenant: int, exporters: int, tenants: int, slow_minutes: float) -> None:
        namespace, nexthink, qualtrics = self._add_services(tenant)
        for number in range(tenant, exporters, tenants):
            name, query = f"exporter-{number:05d}", f"#q{number}"
            nexthink.add(query, PEOPLE)
            self._specs[namespace, name] = exporter_spec(query, qualtrics.add_target(number))
            self.unfinished.add(name)

    def _changed(self, kind: str, body: Body, before: Body | None) -> None:
        name = body["metadata"]["name"]
        conditions = {one["type"]: one["status"] for one in body.get("status", {}).get("conditions", ())}
        if conditions.get("Ready") == "False":
            self._not_ready.add(name)
        if conditions.get("Ready") == "True" and name in self.unfinished:
            self.unfinished.remove(name)
            self.result.ready.append(self.loop.time() - CREATED)
            self.loop.stopped = not self.unfinished


def main() -> None:
    """Simulate the exporters and print what they reported."""
    os.nice(19)
    tenants, exporters_of_each = map(int, sys.argv[1:])
    print(json.dumps(asdict(NewExportersSimulation(tenants, exporters_of_each).run_until_ready())), flush=True)


if __name__ == "__main__":
    main()
