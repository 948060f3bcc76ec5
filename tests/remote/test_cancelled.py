"""A request that is cancelled, at whatever moment, leaves no connection open: runs are cancelled in mid-request."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from qualtrics_exporter.remote.hosts import HostRules
from qualtrics_exporter.remote.loop_time import LoopTime
from qualtrics_exporter.remote.transport import Request, Timeouts, Transport
from tests.environment.sandbox import Certificates
from tests.environment.waiting import HANG_SECONDS
from tests.remote.clock import HastyClock
from tests.remote.servers import Server, answer

TIMEOUTS = Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=HANG_SECONDS)
TURNS = 10
"""Turns of the loop in which a connection that is closed ends."""


class CancelledAt:
    """Runs `work` in the present task, and cancels that when `work` waits for the n-th time.

    The task is cancelled while it waits, or at the moment when that for which it waits has happened (`late`).
    """

    def __init__(self, work: Coroutine[Any, Any, object], step: int, *, late: bool) -> None:
        self._work = work
        self._step = step
        self._late = late
        self.steps = 0

    def __await__(self) -> Generator[Any, Any, object]:
        resume, value = self._work.send, None
        while True:
            try:
                awaited = resume(value)
            except StopIteration as end:
                return end.value
            self.steps += 1
            if self.steps == self._step:
                self._cancel(awaited)
            try:
                value, resume = (yield awaited), self._work.send
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the work
                value, resume = error, self._work.throw

    def _cancel(self, awaited: asyncio.Future[Any] | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._late and awaited is not None:
            awaited.add_done_callback(lambda _: task.cancel())  # runs before the one that wakes the task
        else:
            asyncio.get_running_loop().call_soon(task.cancel)


class Recorded:
    """The connections that this process opens while the block lasts. They are kept, so none is closed as garbage."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        connect = loop.create_connection
        self.opened: list[asyncio.Transport] = []

        async def recorded(*args: Any, **kwargs: Any) -> Any:
            transport, protocol = await connect(*args, **kwargs)
            self.opened.append(transport)
            return transport, protocol

        monkeypatch.setattr(loop, "create_connection", recorded)

    def left_open(self) -> int:
        """How many of them are open; closes those."""
        left = [one for one in self.opened if not one.is_closing()]
        for one in left:
            one.abort()
        self.opened.clear()
        return len(left)


@pytest.fixture
async def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(monkeypatch)


@pytest.fixture
async def secure_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    certificates = Certificates(tmp_path)
    context = ssl.create_default_context(cafile=str(certificates.authority))
    monkeypatch.setattr("qualtrics_exporter.remote.authorities.create_context", lambda: context)
    async with Server([answer(200, "x" * 1000)], tls=certificates.server) as running:
        yield running


def steady() -> LoopTime:
    """Every pause lets others work, and is a step of its own."""
    return LoopTime(itertools.count().__next__)


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "when the wait is over"])
@pytest.mark.parametrize("alone", [False, True], ids=["pool", "alone"])
@pytest.mark.parametrize("whole_file", [False, True], ids=["reply", "download"])
async def test_a_cancelled_request_leaves_no_connection_open(
    secure_server: Server, recorded: Recorded, late: bool, alone: bool, whole_file: bool
) -> None:
    url = HostRules(["localhost"]).check(f"{secure_server.url}/thing", "The URL")
    request = Request(service="qualtrics", operation="read", method="GET", url=url, headers={}, fresh_connection=alone)

    async def ask(wire: Transport) -> int:
        if not whole_file:
            return (await wire.exchange(request)).status
        async with AsyncExitStack() as stack:
            download = await stack.enter_async_context(wire.download(request))
            async for _ in download.pieces(lambda: None):
                pass
        return download.status

    left: dict[int, int] = {}
    for step in itertools.count(1):
        wire = Transport(HastyClock(), TIMEOUTS, None, steady())
        work = CancelledAt(ask(wire), step, late=late)

        async def run(work: CancelledAt = work) -> object:
            return await work

        (ended,) = await asyncio.gather(asyncio.ensure_future(run()), return_exceptions=True)
        finished = work.steps < step
        assert ended == 200 if finished else isinstance(ended, asyncio.CancelledError) or ended == 200
        assert await ask(wire) == 200  # what was cancelled is in nobody's way
        await wire.aclose()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if number := recorded.left_open():
            left[step] = number
        if finished:
            break
    assert left == {}
    assert step > 10
