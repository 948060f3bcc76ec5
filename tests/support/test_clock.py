"""The clock that tests control: in the same process, and in another process through a file."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hack.files import ROOT
from tests.support.clock import SteeredClock
from tests.support.waiting import HANG_SECONDS

START = datetime(2026, 1, 5, 10, tzinfo=UTC)


async def test_advancing_the_clock_ends_a_sleep_of_a_week_at_once() -> None:
    clock = SteeredClock(start=START)
    sleeping = asyncio.create_task(clock.sleep(7 * 86400))
    await clock.asleep()
    clock.advance(7 * 86400)
    async with asyncio.timeout(HANG_SECONDS):
        await sleeping
    assert clock.now() - START >= timedelta(days=7)


async def test_advancing_the_clock_ends_only_the_sleeps_that_are_over() -> None:
    clock = SteeredClock()
    first, second = asyncio.create_task(clock.sleep(10)), asyncio.create_task(clock.sleep(100))
    await clock.asleep(2)
    clock.advance(50)
    await first
    assert not second.done()
    clock.advance(50)
    await second


async def test_a_sleep_of_zero_or_less_returns_at_once() -> None:
    await SteeredClock().sleep(0)
    await SteeredClock().sleep(-5)


def test_the_wall_clock_can_be_set_back_and_the_monotonic_clock_cannot() -> None:
    clock = SteeredClock(start=START)
    before = clock.monotonic()
    clock.advance(60)
    clock.set_wall(START - timedelta(hours=1))
    assert clock.now() < START
    assert clock.monotonic() >= before + 60
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1)


def test_advancing_to_a_past_time_does_nothing() -> None:
    clock = SteeredClock(start=START)
    clock.advance_to(START + timedelta(hours=2))
    assert clock.now() - START >= timedelta(hours=2)
    clock.advance_to(START)
    assert clock.now() - START >= timedelta(hours=2)


async def test_a_clock_follows_another_one_through_its_file(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    leader, follower = SteeredClock(path, start=START), SteeredClock(path)
    before, seen, after = leader.now(), follower.now(), leader.now()
    assert before <= seen <= after
    sleeping = asyncio.create_task(follower.sleep(3600))
    await follower.asleep()
    leader.advance(3600)
    async with asyncio.timeout(HANG_SECONDS):
        await sleeping
    assert follower.now() - START >= timedelta(hours=1)


FOLLOWING_PROCESS = """
import asyncio, sys
from pathlib import Path
from tests.support.clock import SteeredClock

async def main():
    clock = SteeredClock(Path(sys.argv[1]))
    sleeping = asyncio.create_task(clock.sleep(3600))
    await clock.asleep()
    print("asleep", flush=True)
    await sleeping
    print(clock.now().isoformat(), flush=True)

asyncio.run(main())
"""


async def test_a_clock_in_another_process_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    leader = SteeredClock(path, start=START)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FOLLOWING_PROCESS, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(HANG_SECONDS):
        assert await process.stdout.readline() == b"asleep\n"
        leader.advance(3600)
        seen = datetime.fromisoformat((await process.stdout.readline()).decode().strip())
        await process.wait()
    assert seen - START >= timedelta(hours=1)
