"""What a remote side that floods costs the operator: the longest turn of the event loop, and the memory.

    python -m benchmarks.remote_input [NAME ...]

The floods are those of tests/faults/test_floods.py, and a check of a query of 16,000 characters. Each is met twice:
once for the longest turn, in CPU time of the thread of the loop, and once for the memory. Limits: 100 ms and 64 MB.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from qualtrics_exporter.export.query_texts import QueryTexts
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.sandbox import Account
from tests.faults.flood_measurements import EventLoopMeter, MemoryMeter, outcomes, serve_floods
from tests.faults.flood_server import FLOODS

LINE = "{:<45} {:>14} {:>12} {:>9}  {}"
CHECK = "the check of a query of 16,000 characters"


async def checked() -> list[str]:
    """A check of a legal query that is as long as it may be."""
    query = ("users " + "| where a == 1 " * 1100)[:15_900] + " | list ad.email_address"
    spec = Spec.model_validate({**Account.default().exporter_spec(), "schedule": {"frequency": "Daily"}})
    spec = spec.model_copy(update={"nexthink": spec.nexthink.model_copy(update={"query": query[:16_000]})})
    await QueryTexts().check(spec)
    return ["done"]


def measured(action: Callable[[], Awaitable[list[str]]]) -> tuple[float, float, float, str]:
    """The longest turn in ms, the memory in MB, the seconds in all, and how it ends."""

    async def turns() -> tuple[float, list[str]]:
        async with EventLoopMeter() as loop:
            ends = await action()
        return loop.longest_turn, ends

    began = time.monotonic()
    longest, ends = asyncio.run(turns())
    took = time.monotonic() - began
    with MemoryMeter() as memory:
        asyncio.run(_awaited(action))
    return longest * 1e3, memory.peak / 1e6, took, ", ".join(sorted(set(ends)))


async def _awaited(action: Callable[[], Awaitable[list[str]]]) -> None:
    await action()


def main() -> None:
    """Meet the floods and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of the name of a flood; all of them if none")
    names = parser.parse_args().names
    chosen = [name for name in (*FLOODS, CHECK) if not names or any(part in name for part in names)]
    with (
        tempfile.TemporaryDirectory(prefix="qualtrics-exporter-floods-") as folder,
        serve_floods(Path(folder)) as origin,
    ):
        os.environ["SSL_CERT_FILE"] = f"{folder}/authority.pem"
        asyncio.run(checked())  # imports and tables, which are there once and for all
        print(LINE.format("input", "longest turn", "memory", "in all", "ends as"))
        for name in chosen:
            longest, memory, took, ends = measured(
                checked if name == CHECK else lambda name=name: outcomes(origin, name)
            )
            print(LINE.format(name, f"{longest:,.1f} ms", f"{memory:.1f} MB", f"{took:.1f} s", ends), flush=True)


if __name__ == "__main__":
    main()
