"""The simulation finds bugs that are known: each one is put back, and an invariant fails."""

import pytest

from .process import simulated


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
