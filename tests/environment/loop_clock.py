"""The time of the event loop, which timeouts on real sockets use, in the hands of a test."""

import asyncio

import pytest


class LoopClock:
    """The loop's own time, plus what `advance` added. Make it in the loop that it is for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.advanced = 0.0
        loop = asyncio.get_running_loop()
        machine = loop.time
        monkeypatch.setattr(loop, "time", lambda: machine() + self.advanced)

    def advance(self, seconds: float) -> None:
        """Let so much time pass; timers that are due run in the next turn of the loop."""
        self.advanced += seconds
