"""A tenant's own "Nexthink": whatever it sends, others wait for a moment only, and it takes little memory.

Anyone who can create a Secret and an exporter chooses what the operator reads. The remote side is a process of its own,
over TLS; the clients, their limits and the event loop are the product's.
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
from tests.faults.flooded import Loop, Memory, flooding, met
from tests.faults.floods import FLOODS, LONG, LONG_IN_MEMORY

LONGEST = 0.2
"""Seconds of CPU of one turn of the loop: twice the target, as caches of a busy machine are cold."""
MOST_MEMORY = 64 << 20
"""Bytes beside the people themselves, of whom these floods leave a hundred."""


def every(long: set[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.long] * (name in long)) for name in FLOODS]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("flooding")
    with flooding(folder) as origin, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
        yield origin


@pytest.mark.parametrize("name", every(LONG))
async def test_a_flood_stops_nobody_else(origin: str, name: str) -> None:
    async with Loop() as loop:
        ends = await met(origin, name)
    assert set(ends) == {FLOODS[name].outcome}
    assert loop.longest < LONGEST


@pytest.mark.parametrize("name", every(LONG_IN_MEMORY))
async def test_a_flood_takes_little_memory(origin: str, name: str) -> None:
    with Memory() as memory:
        ends = await met(origin, name)
    assert set(ends) == {FLOODS[name].outcome}
    assert memory.peak < MOST_MEMORY


async def test_the_check_of_a_long_query_stops_nobody_else() -> None:
    """The legal query that takes longest of those tried: a tenant may edit it twice a second."""
    query = ("users " + "| where a == 1 " * 1100)[:15_900] + " | list ad.email_address"
    spec = Spec.model_validate({**Account.default().exporter_spec(), "schedule": {"frequency": "Daily"}})
    spec = spec.model_copy(update={"nexthink": spec.nexthink.model_copy(update={"query": query})})
    texts = ClientFactory(cast("ClusterApi", None), cast("ApiContext", None)).texts(
        Exporter.from_object({"metadata": {"namespace": "dex", "name": "a", "uid": "u"}})
    )
    async with Loop() as loop:
        await texts.check(spec)
        await texts.compare(spec.nexthink, f"{query} | limit 1")
    assert loop.longest < LONGEST / 2
