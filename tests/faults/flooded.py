"""The operator's clients against a remote side that floods, and what that costs the event loop.

`Loop` measures the longest turn of the event loop: how long the Lease, the probes and every other tenant had to wait.
It is measured in CPU time of the loop's own thread, which a busy machine does not change.
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
from tests.faults.floods import FLOODS
from tests.remote.clock import HastyClock

WANTED = 100
"""`spec.maxRecipients` of whoever asks."""
SPEC = NexthinkSpec.model_validate(
    {"credentialsSecretRef": {"name": "nexthink"}, "queryId": "#any", "query": "users | list ad.email_address"}
)


class Loop:
    """Measures the event loop as long as the block lasts."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Seconds of CPU of the longest turn."""

    async def __aenter__(self) -> "Loop":
        gc.collect()
        gc.freeze()  # what the tests themselves hold is not searched again and again
        self._task = asyncio.create_task(self._look())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self._task.cancel()
        gc.unfreeze()

    async def _look(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest, before = max(self.longest, now - before), now


class Memory:
    """Measures the memory that is allocated at most, as long as the block lasts."""

    peak = 0

    def __enter__(self) -> "Memory":
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = tracemalloc.get_traced_memory()[1] - self._before
        tracemalloc.stop()


@contextmanager
def flooding(folder: Path) -> Iterator[str]:
    """The remote side that floods; its origin. Clients trust it by SSL_CERT_FILE, `authority.pem` in the folder."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate = folder / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    command = [sys.executable, "-m", "tests.faults.floods", str(certificate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield f"https://localhost:{int(server.stdout.readline())}"
        finally:
            server.kill()


@asynccontextmanager
async def connected(origin: str, name: str) -> AsyncIterator[tuple[NexthinkClient, QualtricsClient, TenantTexts]]:
    """Clients that ask for this flood."""
    url = f"{origin}/{list(FLOODS).index(name)}"
    secret = {"url": url, "tokenUrl": f"{url}/oauth2/token", "clientId": "a-client", "clientSecret": "a-secret"}
    async with ApiContext(clock=HastyClock(), allowed_hosts=["localhost"], observe=lambda _: None) as remotes:
        yield (
            NexthinkClient(remotes, nexthink_from(secret, "Secret dex/nexthink")),
            QualtricsClient(remotes, qualtrics_from(secret, "Secret dex/qualtrics")),
            TenantTexts(QueryTexts()),
        )


async def met(origin: str, name: str) -> list[str]:
    """How everyone who asks for this flood ends: with a reason, or "done"."""
    flood = FLOODS[name]
    async with connected(origin, name) as (nexthink, qualtrics, texts):

        async def one() -> str:
            try:
                if flood.where in ("execute", "export", "token"):
                    await run_query(SPEC, nexthink, texts.compare, Wanted(keep=WANTED))
                elif flood.where == "survey":
                    await qualtrics.check_survey("SV_teamsRollout01")
                else:
                    await qualtrics.check_directory("POOL_employees00001")
            except ExportError as error:
                return str(error.reason)
            return "done"

        return list(await asyncio.gather(*(one() for _ in range(flood.at_once))))
