"""Many new exporters at once, on virtual time: their checks are limited by the query limit of Nexthink alone."""

from collections.abc import Iterator

import pytest

from qualtrics_exporter.controller.work_queue import MAX_BACKGROUND_OF_TENANT
from qualtrics_exporter.nexthink.operations import QUERIES
from tests.controller.virtual_operator import HEALTHY, NAMESPACE, VirtualOperator
from tests.simulation.tenants import instance

HOUR = 3600.0


class ManyExporters(VirtualOperator):
    """The operator with further exporters. Each namespace is a tenant with a Nexthink instance of its own."""

    def add_tenant(self, number: int) -> str:
        namespace = f"team-{number}"
        nexthink, hosts = instance(number + 1, self._clock)
        self.network.hosts |= hosts
        self.server.put_secret(namespace, "nexthink", nexthink.secret())
        self.server.put_secret(namespace, "qualtrics", self.brand.secret())
        nexthink.add(f"#{HEALTHY}", 3)
        return namespace

    def add(self, namespace: str, number: int) -> None:
        spec = {**self.spec(HEALTHY, 2 + number % 50), "schedule": {"frequency": "Weekly", "dayOfWeek": "Sunday"}}
        self.server.create(namespace, f"new-{number}", spec, labels={}, annotations={})

    def conditions(self, kind: str) -> list[str]:
        """The status of this condition of each new exporter that has it."""
        return [
            condition["status"]
            for (_, name), body in self.server.exporters.items()
            for condition in body.get("status", {}).get("conditions", [])
            if condition["type"] == kind and name.startswith("new-")
        ]

    def seconds_until_ready(self, number: int) -> float:
        """Let time pass until so many new exporters are Ready."""
        began = self.loop.time()
        while self.conditions("Ready").count("True") < number:
            assert self.loop.time() - began < HOUR, self.conditions("Ready")
            self.run(1 / HOUR)
        return self.loop.time() - began


@pytest.fixture
def operator() -> Iterator[ManyExporters]:
    operator = ManyExporters()
    yield operator
    operator.close()


def test_many_new_exporters_of_one_tenant_become_ready_without_a_failed_check(operator: ManyExporters) -> None:
    """Each check runs one query, and Nexthink accepts one a second: the last one waits for minutes."""
    for number in range(200):
        operator.add(NAMESPACE, number)
    took = operator.seconds_until_ready(200)
    assert "False" not in operator.conditions("Ready")
    assert took < 200 * QUERIES.seconds + 30


def test_new_exporters_of_many_tenants_wait_for_the_queries_of_their_own_tenant_only(operator: ManyExporters) -> None:
    for tenant in range(20):
        namespace = operator.add_tenant(tenant)
        for number in range(20):
            operator.add(namespace, number)
    assert operator.seconds_until_ready(400) < 20 * QUERIES.seconds + 10


def test_slot_waits_for_few_checks_of_new_exporters_of_its_tenant(operator: ManyExporters) -> None:
    while not operator.sent(HEALTHY):
        operator.run(0.01)
    operator.run(0.98)
    assert operator.sent(HEALTHY) == 1
    for number in range(200):
        operator.add(NAMESPACE, number)
    operator.run(0.02 + (MAX_BACKGROUND_OF_TENANT * QUERIES.seconds + 15) / HOUR)
    assert operator.sent(HEALTHY) == 2
