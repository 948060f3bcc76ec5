"""Asking again and again until something is done, less and less often."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from qualtrics_exporter.clock import Clock

T = TypeVar("T")

GROWTH = 1.5


async def poll(
    clock: Clock, ask: Callable[[], Awaitable[T | None]], *, first: float, longest: float, most: float
) -> T | None:
    """What `ask` gives as soon as that is something; None after `most` seconds.

    The first question comes after `first` seconds, the others after ever longer pauses.
    """
    ends, pause = clock.monotonic() + most, first
    while True:
        await clock.sleep(min(pause, ends - clock.monotonic()))
        if (answer := await ask()) is not None:
            return answer
        if clock.monotonic() >= ends:
            return None
        pause = min(pause * GROWTH, longest)
