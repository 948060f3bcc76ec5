"""Work that a cancellation must not cut in two."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def shield_until_done(work: Coroutine[Any, Any, T]) -> T:
    """Do this to its end, whatever happens. A cancellation meanwhile strikes at the next await after it."""
    here = asyncio.current_task()
    task = asyncio.ensure_future(work)
    cancelled = 0
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            # Taken off the count and put back below, so that an enclosing timeout or task group still knows its own.
            cancelled += 1
            if here:
                here.uncancel()
    for _ in range(cancelled):
        if here:
            here.cancel()
    return task.result()
