"""Measures what a flood costs the operator: the longest turn of the event loop, and the memory.

During a turn of the event loop, the Lease, the probes and all other tenants wait. It is measured in CPU time of the
thread of the loop, which does not depend on other work of the machine.
"""

import asyncio
import gc
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trustme

from qualtrics_exporter.export.query import Wanted, run_query
from qualtrics_exporter.export.query_texts import QueryTexts, TenantTexts
from qualtrics_exporter.nexthink.client import NexthinkClient
from qualtrics_exporter.nexthink.credentials import nexthink_from
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.spec import NexthinkSpec
from tests.faults.flood_server import FLOODS
from tests.remote.clock import RecordingClock

MAX_RECIPIENTS = 100
"""`spec.maxRecipients` of the exporter."""
SPEC = NexthinkSpec.model_validate(
    {"credentialsSecretRef": {"name": "nexthink"}, "queryId": "#any", "query": "users | list ad.email_address"}
)


class EventLoopMeter:
    """Measures the event loop as long as the block lasts."""

    def __init__(self) -> None:
        self.longest_turn = 0.0
        """Seconds of CPU of the longest turn."""

    async def __aenter__(self) -> "EventLoopMeter":
        gc.collect()
        gc.freeze()  # so that the garbage collector does not search the objects of the tests
        self._task = asyncio.create_task(self._measure())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self._task.cancel()
        gc.unfreeze()

    async def _measure(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest_turn, before = max(self.longest_turn, now - before), now


class MemoryMeter:
    """Measures the peak of the allocated memory, as long as the block lasts."""

    peak = 0

    def __enter__(self) -> "MemoryMeter":
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1] - self._before
        tracemalloc.stop()


@contextmanager
def serve_floods(folder: Path) -> Iterator[str]:
    """Start the flood server. Returns its origin. `authority.pem` in the folder is the SSL_CERT_FILE of its clients."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate = folder / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    command = [sys.executable, "-m", "tests.faults.flood_server", str(certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield f"https://localhost:{int(server.stdout.readline())}"
        finally:
            server.kill()


@asynccontextmanager
async def connected(origin: str, name: str) -> AsyncIterator[tuple[NexthinkClient, QualtricsClient, TenantTexts]]:
    """Clients that request this flood."""
    url = f"{origin}/{list(FLOODS).index(name)}"
    secret = {"url": url, "tokenUrl": f"{url}/oauth2/token", "clientId": "a-client", "clientSecret": "a-secret"}
    async with ApiContext(clock=RecordingClock(), allowed_hosts=["localhost"], observe=lambda _: None) as context:
        yield (
            NexthinkClient(context, nexthink_from(secret, "Secret dex/nexthink")),
            QualtricsClient(context, qualtrics_from(secret, "Secret dex/qualtrics")),
            TenantTexts(QueryTexts()),
        )


async def outcomes(origin: str, name: str) -> list[str]:
    """How each request of this flood ends: with a reason, or "done"."""
    flood = FLOODS[name]
    async with connected(origin, name) as (nexthink, qualtrics, texts):

        async def request() -> str:
            try:
                if flood.call in ("execute", "export", "token"):
                    await run_query(SPEC, nexthink, texts.compare, Wanted(keep=MAX_RECIPIENTS))
                elif flood.call == "survey":
                    await qualtrics.check_survey("SV_teamsRollout01")
                else:
                    await qualtrics.check_directory("POOL_employees00001")
            except ExportError as error:
                return str(error.reason)
            return "done"

        return list(await asyncio.gather(*(request() for _ in range(flood.at_once))))
