"""Clocks for tests of patience."""

from datetime import UTC, datetime, timedelta

from tests.environment.clock import SteeredClock, in_background


class HastyClock(SteeredClock):
    """Whoever sleeps by it makes the time pass, and nothing else does: how long a test takes does not count.

    `slept` are the pauses, in order.
    """

    slept: list[float]

    def _machine(self) -> float:
        return 1_000.0

    def _machine_wall(self) -> float:
        return 1_000_000_000.0

    async def sleep(self, seconds: float) -> None:
        if in_background():
            await super().sleep(seconds)
            return
        self.__dict__.setdefault("slept", []).append(seconds)
        self.advance(max(0.0, seconds))
        await super().sleep(0)


class StillClock:
    """Nothing passes but what somebody sleeps or adds: exact, however slow the machine."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 5, 10, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += max(0.0, seconds)
