"""Repeated calls until something is done, with growing pauses."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from qualtrics_exporter.clock import Clock

T = TypeVar("T")

GROWTH = 1.5


async def poll(
    clock: Clock, check: Callable[[], Awaitable[T | None]], *, first: float, longest: float, most: float
) -> T | None:
    """The first result of `check` that is not None; None after `most` seconds.

    The first call comes after `first` seconds. The pauses grow to `longest`.
    """
    ends, pause = clock.monotonic() + most, first
    while True:
        await clock.sleep(min(pause, ends - clock.monotonic()))
        if (result := await check()) is not None:
            return result
        if clock.monotonic() >= ends:
            return None
        pause = min(pause * GROWTH, longest)
