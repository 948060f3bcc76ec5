"""Measures how long a remote service that floods blocks the event loop, and how much memory it takes.

    python -m benchmarks.remote_input [NAME ...]

The inputs are the floods of tests/faults/test_floods.py, and the check of a query of 16,000 characters. Each input is
processed twice: once to measure the longest turn of the event loop, in CPU time of its thread, and once to measure the
memory. The limits are 100 ms and 64 MB.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from qualtrics_exporter.export.query_texts import QueryTexts
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.sandbox import Account
from tests.faults.flood_measurements import EventLoopMeter, MemoryMeter, outcomes, serve_floods
from tests.faults.flood_server import FLOODS

LINE = "{:<45} {:>14} {:>12} {:>9}  {}"
CHECK = "check of a query of 16,000 characters"


async def check_long_query() -> list[str]:
    """Check a valid query of the maximum length."""
    query = ("users " + "| where a == 1 " * 1100)[:15_900] + " | list ad.email_address"
    spec = Spec.model_validate({**Account.default().exporter_spec(), "schedule": {"frequency": "Daily"}})
    spec = spec.model_copy(update={"nexthink": spec.nexthink.model_copy(update={"query": query[:16_000]})})
    await QueryTexts().check(spec)
    return ["done"]


def measure(action: Callable[[], Awaitable[list[str]]]) -> tuple[float, float, float, str]:
    """The longest turn in ms, the memory in MB, the duration in seconds, and the outcomes."""

    async def turns() -> tuple[float, list[str]]:
        async with EventLoopMeter() as loop:
            results = await action()
        return loop.longest_turn, results

    began = time.monotonic()
    longest, results = asyncio.run(turns())
    took = time.monotonic() - began
    with MemoryMeter() as memory:
        asyncio.run(_awaited(action))
    return longest * 1e3, memory.peak / 1e6, took, ", ".join(sorted(set(results)))


async def _awaited(action: Callable[[], Awaitable[list[str]]]) -> None:
    await action()


def main() -> None:
    """Process the inputs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of the name of an input (all inputs)")
    names = parser.parse_args().names
    chosen = [name for name in (*FLOODS, CHECK) if not names or any(part in name for part in names)]
    with (
        tempfile.TemporaryDirectory(prefix="qualtrics-exporter-floods-") as folder,
        serve_floods(Path(folder)) as origin,
    ):
        os.environ["SSL_CERT_FILE"] = f"{folder}/authority.pem"
        asyncio.run(check_long_query())  # loads modules and builds the parser, which is not measured
        print(LINE.format("input", "longest turn", "memory", "duration", "outcome"))
        for name in chosen:
            longest, memory, took, ended = measure(
                check_long_query if name == CHECK else partial(outcomes, origin, name)
            )
            print(LINE.format(name, f"{longest:,.1f} ms", f"{memory:.1f} MB", f"{took:.1f} s", ended), flush=True)


if __name__ == "__main__":
    main()
