"""A process is killed at every call that it makes; the next one goes on.

The request that it was making had not arrived, or arrives when its sender is gone, or was answered to nobody.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from qualtrics_exporter.resource.status import HistoryEntry
from tests.environment.build import ROOT
from tests.environment.clock import SteeredClock
from tests.export.conftest import START, Exporter, HastyClock

SIX = {f"{name}@example.com": 1 for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}
CALLS = ["nexthink.token", "nexthink.execute", "qualtrics.token", "qualtrics.create_batch"]
CALLS += ["qualtrics.import_contacts", "qualtrics.import_status"]
SEND, LOOK = "qualtrics.create_distribution", "qualtrics.list_distributions"

Moment = Literal["never arrives", "arrives late", "is answered to nobody"]


@pytest.fixture
def clock(tmp_path: Path) -> SteeredClock:
    return HastyClock(tmp_path / "clock", start=START)


@pytest.fixture
def folder(exporter: Exporter, tmp_path: Path) -> Path:
    (tmp_path / "spec.json").write_text(exporter.spec.model_dump_json(by_alias=True))
    (tmp_path / "secrets.json").write_text(json.dumps(exporter.sandbox.secrets()))
    return tmp_path


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """One start of the exporter; killed in the end, if it has not ended."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.export.process", str(folder), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def killed_at(call: str, moment: Moment, exporter: Exporter, folder: Path) -> None:
    """Start, and kill while that call is under way."""
    exporter.faults.add(call, hold="after" if moment == "is answered to nobody" else "before")
    async with process(folder):
        await exporter.faults.reached(call)
    if moment != "arrives late":
        exporter.faults.release(drop=True)


async def to_its_end(exporter: Exporter, folder: Path) -> HistoryEntry:
    """Start again, and wait for the end of the run."""
    async with process(folder) as started:
        _, errors = await started.communicate()
        assert (errors, started.returncode) == (b"", 0)
    with exporter.open() as journal:
        assert journal.current() is None
        [entry] = journal.history
    return entry


@pytest.mark.parametrize("call", [*(pytest.param(call, marks=pytest.mark.long) for call in CALLS[:-2]), *CALLS[-2:]])
@pytest.mark.parametrize("moment", ["never arrives", "arrives late", "is answered to nobody"])
async def test_a_kill_before_the_send_starts_the_run_again(
    exporter: Exporter, folder: Path, call: str, moment: Moment
) -> None:
    await killed_at(call, moment, exporter, folder)
    exporter.faults.release()
    entry = await to_its_end(exporter, folder)

    assert entry.result == "Succeeded"
    assert exporter.mailed() == SIX
    assert exporter.count("create_distribution") == 1


@pytest.mark.parametrize(
    ("moment", "result", "mails"), [("never arrives", "Unknown", {}), ("is answered to nobody", "Succeeded", SIX)]
)
async def test_a_kill_at_the_send_is_looked_up(
    exporter: Exporter, folder: Path, moment: Moment, result: str, mails: dict[str, int]
) -> None:
    await killed_at(SEND, moment, exporter, folder)
    entry = await to_its_end(exporter, folder)

    assert entry.result == result
    assert exporter.mailed() == mails
    assert exporter.count("create_distribution") == 1


async def test_a_send_that_arrives_when_its_sender_is_gone_is_found(exporter: Exporter, folder: Path) -> None:
    await killed_at(SEND, "arrives late", exporter, folder)
    exporter.faults.add(LOOK, hold="before", after=2)

    async def arrival() -> None:
        await exporter.faults.reached(LOOK)
        exporter.faults.release(SEND)
        await exporter.sandbox.ledger.answered(SEND)
        exporter.faults.release(LOOK)

    async with asyncio.TaskGroup() as group:
        group.create_task(arrival())
        entry = await to_its_end(exporter, folder)

    assert entry.result == "Succeeded"
    assert exporter.mailed() == SIX
    assert exporter.count("create_distribution") == 1


@pytest.mark.long
async def test_a_kill_while_looking_up_changes_nothing(exporter: Exporter, folder: Path) -> None:
    await killed_at(SEND, "is answered to nobody", exporter, folder)
    for call in (LOOK, "qualtrics.read_distribution"):
        await killed_at(call, "is answered to nobody", exporter, folder)
    entry = await to_its_end(exporter, folder)

    assert entry.result == "Succeeded"
    assert exporter.mailed() == SIX
    assert exporter.count("create_distribution") == 1
