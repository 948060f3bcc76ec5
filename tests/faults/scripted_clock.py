"""A clock that each sleep moves, with actions that a test schedules during a sleep."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from tests.support.clock import AutoAdvancingClock, in_background

# A Monday, after its slot: no slot falls due during a scenario unless the scenario moves the clock.
START = datetime(2026, 1, 5, 10, tzinfo=UTC)


class ScriptedClock(AutoAdvancingClock):
    """Sleeps pass at once. A test can do something during one of them."""

    def __init__(self) -> None:
        super().__init__(start=START)
        self._actions: list[tuple[float, Callable[[], Awaitable[None]]]] = []

    def during_sleep(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        """Do this once, during the next sleep of at least so many seconds."""
        self._actions.append((seconds, action))

    async def sleep(self, seconds: float) -> None:
        for item in [item for item in self._actions if item[0] <= seconds and not in_background()]:
            self._actions.remove(item)
            await item[1]()
        await super().sleep(seconds)
