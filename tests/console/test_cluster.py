"""How the console uses an API server that answers late, never, or the same again and again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from hack.limits import HANG_SECONDS
from qualtrics_exporter.cli.console.cluster import Cluster
from qualtrics_exporter.cli.qex.kubectl import Failed
from tests.support.clock import SteeredClock

METADATA = {"namespace": "dex", "name": "teams-rollout", "uid": "one", "resourceVersion": "7"}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pauses(SteeredClock):
    """A clock on which the test decides when a sleep ends."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: asyncio.Queue[float] = asyncio.Queue()
        self.resume = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.put_nowait(seconds)
        await self.resume.acquire()

    async def next(self) -> float:
        """How long the code wants to sleep next."""
        async with asyncio.timeout(HANG_SECONDS):
            return await self.slept.get()


class Api:
    """What `kubectl proxy` passes on: a list with no exporters, and an answer that the test sets for other calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.watch: Answer = self.nothing
        self.other: Answer = self.nothing
        self.list: Answer = self.empty

    async def handle(self, request: web.Request) -> web.StreamResponse:
        kind = "watch" if "watch" in request.query else "list" if request.path.endswith("exporters") else "other"
        self.calls.append(kind)
        answer: Answer = getattr(self, kind)
        return await answer(request)

    @staticmethod
    async def nothing(request: web.Request) -> web.StreamResponse:
        return web.Response()

    @staticmethod
    async def empty(request: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})

    @staticmethod
    def status(code: int, reason: str) -> Answer:
        async def answer(request: web.Request) -> web.StreamResponse:
            body = {"kind": "Status", "reason": reason, "message": "A message", "details": {"name": "x"}}
            return web.json_response(body, status=code)

        return answer


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def clock() -> Pauses:
    return Pauses()


@pytest.fixture
async def cluster(api: Api, clock: Pauses, tmp_path: Path) -> AsyncIterator[Cluster]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "api")).start()
    found = Cluster(tmp_path / "api", where="a test", namespace="dex", clock=clock)
    yield found
    await found.close()
    await runner.cleanup()


@pytest.fixture
async def following(cluster: Cluster) -> AsyncIterator[None]:
    task = asyncio.create_task(cluster.follow())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_watch_that_ends_at_once_is_repeated_after_a_pause(api: Api, clock: Pauses, following: None) -> None:
    for number in range(1, 4):
        assert await clock.next() >= 1
        assert api.calls == ["list", *["watch"] * number]
        clock.resume.release()


@pytest.mark.parametrize(
    "answer",
    [Api.status(410, "Expired"), Api.status(403, "Forbidden")],
    ids=["that always expires", "that is not allowed"],
)
async def test_list_before_a_watch_that_fails_is_repeated_less_and_less_often(
    api: Api, clock: Pauses, answer: Answer, following: None
) -> None:
    """Otherwise the console would read 10,000 exporters every second."""
    api.watch = answer
    pauses = []
    for number in range(1, 5):
        pauses.append(await clock.next())
        assert api.calls == ["list", "watch"] * number
        clock.resume.release()
    assert pauses == [1, 2, 5, 10]


async def test_list_that_never_completes_is_repeated_less_and_less_often(
    api: Api, clock: Pauses, cluster: Cluster, following: None
) -> None:
    async def expiring(request: web.Request) -> web.StreamResponse:
        if "continue" in request.query:
            return await Api.status(410, "Expired")(request)
        return web.json_response({"metadata": {"resourceVersion": "1", "continue": "x"}, "items": []})

    api.list = expiring
    for pause in (1, 2, 5):
        assert await clock.next() == pause
        clock.resume.release()
    assert not cluster.snapshot.complete


LOST = {
    "the connection ends": None,
    "kubectl has no connection": (502, "dial tcp: connection refused"),
    "the API server gives up": (504, "Timeout"),
    "the API server has an error": (500, "InternalError"),
}


@pytest.mark.parametrize("how", LOST.values(), ids=LOST)
async def test_change_whose_answer_was_lost_says_that_it_may_have_been_made(
    api: Api, cluster: Cluster, how: tuple[int, str] | None
) -> None:
    async def lost(request: web.Request) -> web.StreamResponse:
        if how is None:
            assert request.transport
            request.transport.abort()
        elif how[0] == 502:
            return web.Response(status=502, text=how[1])
        return await Api.status(*(how or (500, "")))(request)

    api.other = lost
    with pytest.raises(Failed, match=r"The change may have been made\. Look before you try again"):
        await cluster.patch({"metadata": METADATA}, {"spec": {"suspend": True}})


async def test_change_that_was_refused_was_not_made(api: Api, cluster: Cluster) -> None:
    for code, reason in ((403, "Forbidden"), (409, "Conflict"), (422, "Invalid")):
        api.other = Api.status(code, reason)
        with pytest.raises(Failed) as failed:
            await cluster.patch({"metadata": METADATA}, {"spec": {"suspend": True}})
        assert "may have been made" not in str(failed.value)


async def test_proxy_that_ended_says_to_start_again(tmp_path: Path, clock: Pauses) -> None:
    cluster = Cluster(tmp_path / "gone", where="", namespace="dex", clock=clock)
    with pytest.raises(Failed, match=r"`kubectl proxy` has ended\. Start `kubectl qex dashboard` again"):
        await cluster.get("dex", "teams-rollout")
    await cluster.close()


async def test_api_server_that_does_not_answer_is_reported(api: Api, cluster: Cluster) -> None:
    forever = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await forever.wait()
        return web.Response()

    api.other = hang
    cluster._http.timeout = httpx.Timeout(30, read=0.01)
    with pytest.raises(Failed, match=r"The API server does not answer\. Check your network connection and VPN"):
        await cluster.get("dex", "teams-rollout")
    forever.set()
