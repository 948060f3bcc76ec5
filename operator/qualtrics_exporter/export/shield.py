"""Work that a cancellation must not interrupt."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def shield_until_done(work: Coroutine[Any, Any, T]) -> T:
    """Complete this work. A cancellation in the meantime is raised at the next await after it."""
    here = asyncio.current_task()
    task = asyncio.ensure_future(work)
    cancelled = 0
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            # Subtracted from the task's count here and added again below, so that the count is correct for an
            # enclosing timeout or task group.
            cancelled += 1
            if here:
                here.uncancel()
    for _ in range(cancelled):
        if here:
            here.cancel()
    return task.result()
