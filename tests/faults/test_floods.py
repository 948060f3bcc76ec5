"""The servers of a tenant send data that takes much time or memory: other tenants wait for only a moment.

Anyone who can create a Secret and an exporter chooses what the operator reads. The server is a separate process, over
TLS. The clients, their limits and the event loop are those of the product.
"""

from collections.abc import Iterator
from typing import Any, cast

import pytest

from qualtrics_exporter.controller.credentials import ClientFactory
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.sandbox import Account
from tests.faults.flood_measurements import EventLoopMeter, MemoryMeter, outcomes, serve_floods
from tests.faults.flood_server import FLOODS, LONG, LONG_IN_MEMORY

MAX_TURN = 0.2
"""Seconds of CPU of one turn of the loop: twice the target, because the caches of a busy machine are cold."""
MAX_MEMORY = 64 << 20
"""Bytes besides the people themselves. At most a hundred of them are kept here."""


def floods(long: set[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.long] * (name in long)) for name in FLOODS]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("floods")
    with serve_floods(folder) as origin, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
        yield origin


@pytest.mark.parametrize("name", floods(LONG))
async def test_flood_does_not_stop_the_event_loop(origin: str, name: str) -> None:
    async with EventLoopMeter() as loop:
        ends = await outcomes(origin, name)
    assert set(ends) == {FLOODS[name].outcome}
    assert loop.longest_turn < MAX_TURN


@pytest.mark.parametrize("name", floods(LONG_IN_MEMORY))
async def test_flood_takes_little_memory(origin: str, name: str) -> None:
    with MemoryMeter() as memory:
        ends = await outcomes(origin, name)
    assert set(ends) == {FLOODS[name].outcome}
    assert memory.peak < MAX_MEMORY


async def test_check_of_a_long_query_does_not_stop_the_event_loop() -> None:
    """The valid query that takes longest of those that were tried. A tenant may edit it twice a second."""
    query = ("users " + "| where a == 1 " * 1100)[:15_900] + " | list ad.email_address"
    spec = Spec.model_validate({**Account.default().exporter_spec(), "schedule": {"frequency": "Daily"}})
    spec = spec.model_copy(update={"nexthink": spec.nexthink.model_copy(update={"query": query})})
    texts = ClientFactory(cast("ClusterApi", None), cast("ApiContext", None)).texts(
        Exporter.from_object({"metadata": {"namespace": "dex", "name": "a", "uid": "u"}})
    )
    async with EventLoopMeter() as loop:
        await texts.check(spec)
        await texts.compare(spec.nexthink, f"{query} | limit 1")
    assert loop.longest_turn < MAX_TURN / 2
