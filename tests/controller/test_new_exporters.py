"""Many new exporters at once, on virtual time: their checks are limited by the query limit of Nexthink alone."""

import asyncio
from collections.abc import Iterator

import pytest

from qualtrics_exporter.nexthink.operations import QUERIES
from qualtrics_exporter.remote.failures import ConnectFailed
from qualtrics_exporter.remote.response import Response
from qualtrics_exporter.remote.transport import Request
from tests.controller.virtual_operator import CHANGED, HEALTHY, NAMESPACE, VirtualOperator
from tests.simulation.remote import SimulatedTransport
from tests.simulation.tenants import brand, instance

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

    def add(self, namespace: str, number: int, *, secret: str = "qualtrics") -> None:
        spec = {**self.spec(HEALTHY, 2 + number % 50), "schedule": {"frequency": "Weekly", "dayOfWeek": "Sunday"}}
        spec["qualtrics"]["credentialsSecretRef"] = {"name": secret}
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


def until_shortly_before_the_second_slot(operator: ManyExporters, seconds: float) -> None:
    while not (operator.sent(HEALTHY) and operator.sent(CHANGED)):
        operator.run(5 / HOUR)
    operator.run((HOUR - seconds - 15) / HOUR)
    assert operator.sent(HEALTHY) == operator.sent(CHANGED) == 1


def test_slot_does_not_wait_for_checks_of_new_exporters_of_its_tenant(operator: ManyExporters) -> None:
    until_shortly_before_the_second_slot(operator, 10)
    for number in range(200):
        operator.add(NAMESPACE, number)
    operator.run(45 / HOUR)
    assert operator.sent(HEALTHY) == 2


def test_slot_of_an_exporter_that_waits_for_its_check_does_not_wait_for_the_checks_before_it(
    operator: ManyExporters,
) -> None:
    until_shortly_before_the_second_slot(operator, 10)
    for number in range(200):
        operator.add(NAMESPACE, number)
    operator.run(2 / HOUR)
    spec = operator.body(CHANGED)["spec"]
    operator.change(spec={**spec, "qualtrics": {**spec["qualtrics"], "fromName": "Other"}})
    operator.run(45 / HOUR)
    assert operator.sent(CHANGED) == 2


def test_exporters_whose_brand_hangs_do_not_stop_the_others_of_their_tenant(operator: ManyExporters) -> None:
    until_shortly_before_the_second_slot(operator, 400)
    hanging, hosts = brand(1, operator._clock)
    operator.network.hosts |= hosts
    operator.server.put_secret(NAMESPACE, "hanging", hanging.secret())
    for host in hosts:
        operator.faults.hanging[host], operator.faults.manner[host] = 1e9, "hang"
    for number in range(40):
        operator.add(NAMESPACE, number, secret="hanging")
    operator.run(340 / HOUR)
    operator.add(NAMESPACE, 100)
    operator.run(30 / HOUR)
    assert "True" in operator.conditions("Ready")
    operator.run(90 / HOUR)
    assert operator.sent(HEALTHY) == 2


def test_exporters_whose_nexthink_opens_no_connection_become_unready_soon(
    operator: ManyExporters, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = SimulatedTransport.exchange

    async def dropped(self: SimulatedTransport, request: Request) -> Response:
        if request.service == "nexthink" and request.operation != "token":
            await asyncio.sleep(10)
            raise ConnectFailed("no connection opened in time")
        return await exchange(self, request)

    until_shortly_before_the_second_slot(operator, 10)
    monkeypatch.setattr(SimulatedTransport, "exchange", dropped)
    for number in range(40):
        operator.add(NAMESPACE, number)
    operator.run(120 / HOUR)
    assert operator.status(HEALTHY)["history"][0]["reason"] == "RemoteUnavailable"
    operator.run(180 / HOUR)
    assert operator.conditions("Ready") == ["False"] * 40
