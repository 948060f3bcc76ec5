"""Waiting for what other processes do: the one place of the tests that looks again and again.

No timeout of a test is an expectation about speed: other work on the machine can make anything slow. `HANG_SECONDS`
only ends what would never end. What takes time by its nature is tested with controlled time, or by counting the work.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HANG_SECONDS = 600.0
"""Seconds after which something hangs. All timeouts are this one, but that of a whole test in pyproject.toml."""
HANG = f"{HANG_SECONDS:.0f}s"
"""The same for kubectl and Helm."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.25
PAUSE_FACTOR = 1.3


def eventually(look: Callable[[], T | None], what: str, *, patience: float = HANG_SECONDS) -> T:
    """Return the first value of `look` that is true; AssertionError with `what` and the last value after `patience`.

    The pauses grow: most waits are short, and each look costs the machine time that the awaited process needs.
    Another `patience` is for what may never come, such as the entry of a build with a known bug.
    """
    give_up = time.monotonic() + patience
    pause = FIRST_PAUSE_SECONDS
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {patience:g} s: {what}; last seen: {seen!r}")
        time.sleep(pause)
        pause = min(pause * PAUSE_FACTOR, LONGEST_PAUSE_SECONDS)
