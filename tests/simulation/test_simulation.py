"""Worlds from many seeds, in processes of their own: the order of sets must be that of `python -m tests.simulation`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORLDS, EACH = 10, 2
"""About a minute of CPU."""
LONG_WORLDS, LONG_EACH = 1280, 32
"""More than 100,000 exporter-days: about an hour of CPU."""


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command; its output."""
    call = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("first", range(0, WORLDS, EACH))
def test_no_world_violates_an_invariant(first: int) -> None:
    done = simulate("--first", str(first), "--seeds", str(EACH))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("first", range(10_000, 10_000 + LONG_WORLDS, LONG_EACH))
def test_no_world_of_an_hour_violates_an_invariant(first: int) -> None:
    done = simulate("--first", str(first), "--seeds", str(LONG_EACH))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_every_known_bug_is_found_within_ten_minutes_of_cpu() -> None:
    done = simulate("--mutants", "--minutes", "10")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_gives_the_same_world_each_time() -> None:
    one, again, other = (simulate("--seed", seed, "--trace", "--days", "1").stdout for seed in ("3", "3", "4"))
    # The last lines tell how long it took.
    assert one.partition("\nseed")[0] == again.partition("\nseed")[0]
    assert one.partition("\nseed")[0] != other.partition("\nseed")[0]
    assert "** distribution" in one


def test_a_bug_that_sends_again_is_found_within_a_few_worlds() -> None:
    done = simulate(
        "--mutants", "the send is repeated", "--focused", "--minutes", "2", "--exporters", "8", "--days", "2"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sent twice" in done.stdout
