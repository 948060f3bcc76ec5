"""The simulation finds bugs that are known: each one is put back, and an invariant fails."""

import pytest

from tests.faults import broken

from .mutants import MUTANTS, Mutant
from .process import simulated


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_known_bug_can_be_put_back(mutant: Mutant) -> None:
    """A patch names what it replaces: after a renaming it would fail, or replace nothing."""
    with mutant.patch():
        pass


@pytest.mark.parametrize("name", broken.EVERY)
def test_each_broken_build_can_be_made(name: str) -> None:
    with broken.build(name):
        pass


def test_a_bug_that_sends_again_is_found_within_a_few_worlds() -> None:
    done = simulated(
        "--mutants", "the send is repeated", "--focused", "--minutes", "2", "--exporters", "8", "--days", "2"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sent twice" in done.stdout


@pytest.mark.long
def test_every_known_bug_is_found_within_ten_minutes_of_cpu() -> None:
    done = simulated("--mutants", "--minutes", "10")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
