"""The clock that tests steer: in a process, and from another one through a file."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.environment.build import ROOT
from tests.environment.clock import SteeredClock
from tests.environment.waiting import HANG_SECONDS

START = datetime(2026, 1, 5, 10, tzinfo=UTC)


async def test_a_week_passes_in_an_instant() -> None:
    clock = SteeredClock(start=START)
    sleeping = asyncio.create_task(clock.sleep(7 * 86400))
    await clock.asleep()
    clock.advance(7 * 86400)
    async with asyncio.timeout(HANG_SECONDS):
        await sleeping
    assert clock.now() - START >= timedelta(days=7)


async def test_only_those_wake_whose_time_has_come() -> None:
    clock = SteeredClock()
    first, second = asyncio.create_task(clock.sleep(10)), asyncio.create_task(clock.sleep(100))
    await clock.asleep(2)
    clock.advance(50)
    await first
    assert not second.done()
    clock.advance(50)
    await second


async def test_zero_and_less_return_at_once() -> None:
    await SteeredClock().sleep(0)
    await SteeredClock().sleep(-5)


def test_the_wall_clock_can_be_set_back_and_the_other_never_goes_back() -> None:
    clock = SteeredClock(start=START)
    before = clock.monotonic()
    clock.advance(60)
    clock.set_wall(START - timedelta(hours=1))
    assert clock.now() < START
    assert clock.monotonic() >= before + 60
    with pytest.raises(ValueError, match="forwards"):
        clock.advance(-1)


def test_advancing_to_a_moment_that_is_past_does_nothing() -> None:
    clock = SteeredClock(start=START)
    clock.advance_to(START + timedelta(hours=2))
    assert clock.now() - START >= timedelta(hours=2)
    clock.advance_to(START)
    assert clock.now() - START >= timedelta(hours=2)


async def test_a_clock_in_a_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    leader, follower = SteeredClock(path, start=START), SteeredClock(path)
    before, shown, after = leader.now(), follower.now(), leader.now()
    assert before <= shown <= after
    sleeping = asyncio.create_task(follower.sleep(3600))
    await follower.asleep()
    leader.advance(3600)
    async with asyncio.timeout(HANG_SECONDS):
        await sleeping
    assert follower.now() - START >= timedelta(hours=1)


FOLLOWER = """
import asyncio, sys
from pathlib import Path
from tests.environment.clock import SteeredClock

async def main():
    clock = SteeredClock(Path(sys.argv[1]))
    sleeping = asyncio.create_task(clock.sleep(3600))
    await clock.asleep()
    print("asleep", flush=True)
    await sleeping
    print(clock.now().isoformat(), flush=True)

asyncio.run(main())
"""


async def test_another_process_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    leader = SteeredClock(path, start=START)
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FOLLOWER, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout is not None
    async with asyncio.timeout(HANG_SECONDS):
        assert await other.stdout.readline() == b"asleep\n"
        leader.advance(3600)
        shown = datetime.fromisoformat((await other.stdout.readline()).decode().strip())
        await other.wait()
    assert shown - START >= timedelta(hours=1)
