"""A clock for tests of patience."""

from tests.environment.clock import SteeredClock


class HastyClock(SteeredClock):
    """Whoever sleeps by it makes the time pass. `slept` are the pauses, in order."""

    slept: list[float]

    async def sleep(self, seconds: float) -> None:
        self.__dict__.setdefault("slept", []).append(seconds)
        self.advance(max(0.0, seconds))
        await super().sleep(0)
