"""Clocks that move only when a test or a sleep moves them."""

from datetime import UTC, datetime, timedelta

from tests.support.clock import AutoAdvancingClock, in_background


class RecordingClock(AutoAdvancingClock):
    """Each sleep moves this clock at once. The real time that a test takes does not count.

    `slept` has the seconds of each sleep, in order.
    """

    slept: list[float]

    def _machine(self) -> float:
        return 1_000.0

    def _machine_wall(self) -> float:
        return 1_000_000_000.0

    async def sleep(self, seconds: float) -> None:
        if not in_background():
            self.__dict__.setdefault("slept", []).append(seconds)
        await super().sleep(seconds)


class StillClock:
    """Only sleeps and `passed` move this clock, so its time is exact on a machine of any speed."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 5, 10, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += max(0.0, seconds)
