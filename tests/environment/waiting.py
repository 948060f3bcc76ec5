"""Waiting for what other processes do: the one place of the tests that looks again and again."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.05


def eventually(
    look: Callable[[], T | None], what: str, *, patience: float = PATIENCE_SECONDS, pause: float = POLL_SECONDS
) -> T:
    """The first value of `look` that is true; AssertionError with `what` and the last value after `patience`."""
    give_up = time.monotonic() + patience
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {patience:g} s: {what}; last seen: {seen!r}")
        time.sleep(pause)
