"""Worlds of many seeds violate no invariant, and a seed always gives the same world."""

import pytest

from .process import simulated

WORLDS, EACH = 4, 2
"""Less than a minute of CPU. The world of seed 8 alone has 30 days and takes a minute."""
LONG_WORLDS, LONG_EACH = 960, 32
"""More than 100,000 exporter-days."""


@pytest.mark.parametrize("first", range(0, WORLDS, EACH))
def test_worlds_of_the_first_seeds_violate_no_invariant(first: int) -> None:
    done = simulated("--first", str(first), "--seeds", str(EACH))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("first", range(10_000, 10_000 + LONG_WORLDS, LONG_EACH))
def test_worlds_of_many_seeds_violate_no_invariant(first: int) -> None:
    done = simulated("--first", str(first), "--seeds", str(LONG_EACH), "--workers", "2")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_seed_gives_the_same_world_each_time() -> None:
    one, again, other = (simulated("--seed", seed, "--trace", "--days", "1").stdout for seed in ("3", "3", "4"))
    # The last lines have the time that it took.
    assert one.partition("\nseed")[0] == again.partition("\nseed")[0]
    assert one.partition("\nseed")[0] != other.partition("\nseed")[0]
    assert "** distribution" in one
