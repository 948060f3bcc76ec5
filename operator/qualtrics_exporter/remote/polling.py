"""Repeated calls until something is done, with growing pauses."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from qualtrics_exporter.clock import Clock

T = TypeVar("T")


def growing(first: float, longest: float, growth: float = 1.5) -> Iterator[float]:
    """Endless pauses in seconds, which grow from `first` to `longest`."""
    pause = first
    while True:
        yield min(pause, longest)
        pause = min(pause * growth, longest)


async def poll(
    clock: Clock, check: Callable[[], Awaitable[T | None]], *, pauses: Iterable[float], most: float
) -> T | None:
    """The first result of `check` that is not None; None after `most` seconds. Each call comes after a pause."""
    ends = clock.monotonic() + most
    for pause in pauses:
        await clock.sleep(min(pause, ends - clock.monotonic()))
        if (result := await check()) is not None:
            return result
        if clock.monotonic() >= ends:
            break
    return None
