"""Waits for other processes. Tests poll only with this module.

No timeout in a test is an expectation about speed: other work on the machine can make everything slow. `HANG_SECONDS`
only ends a hang. To test behavior that depends on time, control the time, or count the work.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from hack.limits import HANG_SECONDS

T = TypeVar("T")

HANG = f"{HANG_SECONDS:.0f}s"
"""The timeout of all tests, for kubectl and Helm. The limit of a whole test is in pyproject.toml."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.25
PAUSE_FACTOR = 1.3


def eventually(poll: Callable[[], T | None], what: str, *, patience: float = HANG_SECONDS) -> T:
    """Return the first true value of `poll`. After `patience`, raise AssertionError with `what` and the last value.

    The pauses grow: most waits are short, and each poll takes processor time from the awaited process. Set `patience`
    if the value may never come, such as the entry of a build with a known bug.
    """
    deadline = time.monotonic() + patience
    pause = FIRST_PAUSE_SECONDS
    while True:
        value = poll()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {patience:g} s: {what}; last value: {value!r}")
        time.sleep(pause)
        pause = min(pause * PAUSE_FACTOR, LONGEST_PAUSE_SECONDS)
