"""Controls the time of the event loop, which timeouts on real sockets use."""

import asyncio

import pytest


class LoopClock:
    """The time of the running event loop, plus the time that `advance` has added."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.advanced = 0.0
        loop = asyncio.get_running_loop()
        machine = loop.time
        monkeypatch.setattr(loop, "time", lambda: machine() + self.advanced)

    def advance(self, seconds: float) -> None:
        """Advance the time. Timers that are due run in the next iteration of the loop."""
        self.advanced += seconds
