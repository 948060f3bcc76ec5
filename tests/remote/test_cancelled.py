"""Cancelled requests leave no connection open. The operator can cancel a run at any step of a request."""

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
from tests.remote.clock import RecordingClock
from tests.remote.servers import Server, answer
from tests.support.sandbox import Certificates
from tests.support.waiting import HANG_SECONDS

TIMEOUTS = Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=HANG_SECONDS)
LOOP_ITERATIONS = 10
"""Iterations of the event loop after which a closed connection has ended."""


class CancelledAt:
    """Runs `work` in the current task, and cancels the task when `work` waits for the n-th time.

    The task is cancelled while it waits or, with `late`, at the moment when its wait is over.
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
            except BaseException as error:  # noqa: BLE001 - any error is passed on to the work
                value, resume = error, self._work.throw

    def _cancel(self, awaited: asyncio.Future[Any] | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._late and awaited is not None:
            awaited.add_done_callback(lambda _: task.cancel())  # runs before the callback that wakes the task
        else:
            asyncio.get_running_loop().call_soon(task.cancel)


class OpenedConnections:
    """The connections that the event loop opened. It keeps them, so that garbage collection does not close them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        connect = loop.create_connection
        self.opened: list[asyncio.Transport] = []

        async def connect_and_record(*args: Any, **kwargs: Any) -> Any:
            transport, protocol = await connect(*args, **kwargs)
            self.opened.append(transport)
            return transport, protocol

        monkeypatch.setattr(loop, "create_connection", connect_and_record)

    def abort_open_ones(self) -> int:
        """Abort the connections that are still open, and return their number."""
        still_open = [transport for transport in self.opened if not transport.is_closing()]
        for transport in still_open:
            transport.abort()
        self.opened.clear()
        return len(still_open)


@pytest.fixture
async def opened_connections(monkeypatch: pytest.MonkeyPatch) -> OpenedConnections:
    return OpenedConnections(monkeypatch)


@pytest.fixture
async def tls_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    certificates = Certificates(tmp_path)
    context = ssl.create_default_context(cafile=str(certificates.authority))
    monkeypatch.setattr("qualtrics_exporter.remote.authorities.create_context", lambda: context)
    async with Server([answer(200, "x" * 1000)], tls=certificates.server) as running:
        yield running


def loop_time_that_always_pauses() -> LoopTime:
    """Always pauses, so that each pause is one step of the request."""
    return LoopTime(itertools.count().__next__)


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "when the wait is over"])
@pytest.mark.parametrize("fresh_connection", [False, True], ids=["pooled connection", "fresh connection"])
@pytest.mark.parametrize("as_download", [False, True], ids=["response", "download"])
async def test_a_request_that_is_cancelled_at_any_step_leaves_no_connection_open(
    tls_server: Server, opened_connections: OpenedConnections, late: bool, fresh_connection: bool, as_download: bool
) -> None:
    url = HostRules(["localhost"]).check(f"{tls_server.url}/thing", "The URL")
    request = Request(
        service="qualtrics", operation="read", method="GET", url=url, headers={}, fresh_connection=fresh_connection
    )

    async def request_once(transport: Transport) -> int:
        if not as_download:
            return (await transport.exchange(request)).status
        async with AsyncExitStack() as stack:
            download = await stack.enter_async_context(transport.download(request))
            async for _ in download.pieces(lambda: None):
                pass
        return download.status

    open_by_step: dict[int, int] = {}
    for step in itertools.count(1):
        transport = Transport(RecordingClock(), TIMEOUTS, None, loop_time_that_always_pauses())
        work = CancelledAt(request_once(transport), step, late=late)

        async def run(work: CancelledAt = work) -> object:
            return await work

        (result,) = await asyncio.gather(asyncio.ensure_future(run()), return_exceptions=True)
        finished = work.steps < step
        assert result == 200 if finished else isinstance(result, asyncio.CancelledError) or result == 200
        assert await request_once(transport) == 200  # the cancelled request does not block the next one
        await transport.aclose()
        for _ in range(LOOP_ITERATIONS):
            await asyncio.sleep(0)
        if count := opened_connections.abort_open_ones():
            open_by_step[step] = count
        if finished:
            break
    assert open_by_step == {}
    assert step > 10
