"""Whatever a watch meets, the operator watches again, and one namespace never matters to another.

Kopf is real here, and so are the sockets. The API server is a double that can misbehave in every way.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import kopf
import pytest
from aiohttp import web
from kubernetes.aio import client

from qualtrics_exporter.clock import SystemClock, WatchedClock
from qualtrics_exporter.controller.kube import auth
from qualtrics_exporter.controller.kube.api import ObjectKey
from qualtrics_exporter.controller.kube.connection import Connection
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden, NotFound
from qualtrics_exporter.controller.kube.namespace_watch import NamespaceWatch, Timings
from qualtrics_exporter.controller.plan.wake import Wake
from qualtrics_exporter.controller.targets import Targets
from qualtrics_exporter.controller.watch import Watch
from qualtrics_exporter.controller.work_queue import WorkQueue
from qualtrics_exporter.telemetry.metrics import Metrics
from tests.controller.fake_api import Answer, FakeApi, exporter, reset, silence, status, stream
from tests.environment.waiting import HANG_SECONDS


def line(event: Any) -> bytes:
    return json.dumps(event).encode() + b"\n"


BODY = exporter("a", "odd")
EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
OF_WATCH: dict[str, list[Answer]] = {
    "HTTP 400": [status(400, "BadRequest")],
    "HTTP 401": [status(401, "Unauthorized")] * 3,
    "HTTP 403": [status(403, "Forbidden")] * 5,
    "HTTP 404": [status(404, "NotFound")],
    "HTTP 410": [status(410, "Gone")],
    "HTTP 429": [status(429, "TooManyRequests")] * 5,
    "HTTP 429, Retry-After in seconds": [status(429, "TooManyRequests", {"Retry-After": "0.01"})],
    "HTTP 429, Retry-After as a date": [
        status(429, "TooManyRequests", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
    ],
    "HTTP 429, Retry-After as nonsense": [status(429, "TooManyRequests", {"Retry-After": "soon"})],
    "HTTP 500": [status(500, "InternalError")] * 5,
    "HTTP 503": [status(503, "ServiceUnavailable")] * 5,
    "a connection that breaks": [reset] * 5,
    "an error without a code": [stream(line({"type": "ERROR", "object": {"kind": "Status"}}))],
    "an ERROR event, 410": [stream(line({"type": "ERROR", "object": EXPIRED}))],
    "an ERROR event, 500": [stream(line({"type": "ERROR", "object": {**EXPIRED, "code": 500}}))],
    "an ERROR event, 401": [stream(line({"type": "ERROR", "object": {**EXPIRED, "code": 401}}))],
    "a BOOKMARK without an object": [stream(line({"type": "BOOKMARK"}))],
    "a BOOKMARK without metadata": [stream(line({"type": "BOOKMARK", "object": {}}))],
    "an event without metadata": [stream(line({"type": "MODIFIED", "object": {"kind": "QualtricsExporter"}}))],
    "an event with null metadata": [stream(line({"type": "MODIFIED", "object": {"metadata": None}}))],
    "an event without a type": [stream(line({"object": BODY}))],
    "an event of an unknown type": [stream(line({"type": "RENAMED", "object": BODY}))],
    "an event that is a list": [stream(line([BODY]))],
    "an event that is null": [stream(line(None))],
    "a truncated line": [stream(line({"type": "ADDED", "object": BODY})[:40])],
    "invalid JSON": [stream(b"<html>\n")],
    "invalid UTF-8": [stream(b'{"type": "\xff\xfe"}\n')],
    "nothing": [stream()],
}
OF_LIST: dict[str, list[Answer]] = {
    name: answers
    for name, answers in OF_WATCH.items()
    if name.startswith(("HTTP", "a connection", "invalid", "nothing"))
}


class FakeCluster:
    """The lists of the sweep; `problems` are raised for a namespace."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self.problems: dict[str | None, ClusterError] = {}

    async def check_watch(self, namespace: str | None) -> None:
        if problem := self.problems.get(namespace):
            raise problem

    async def list_metadata(self, namespace: str | None, selector: str | None = None) -> AsyncIterator[ObjectKey]:
        if problem := self.problems.get(namespace):
            raise problem
        for (where, name), body in list(self._api.objects.items()):
            if namespace in (None, where):
                metadata = body["metadata"]
                yield ObjectKey(where, name, metadata["uid"], metadata["resourceVersion"], metadata["generation"])

    async def get(self, namespace: str, name: str) -> Any:
        if (namespace, name) not in self._api.objects:
            raise NotFound
        return self._api.objects[namespace, name]


IMPATIENT = Timings(first_pause=0.01, max_pause=0.05, look=0.05, error_backoffs=(0.01, 0.01), reconnect_backoff=0.01)
"""The pauses between two attempts are short."""


class Watching:
    """A watch of these namespaces, with what it told the queue."""

    def __init__(self, api: FakeApi, *namespaces: str, timings: Timings = IMPATIENT) -> None:
        self.cluster = FakeCluster(api)
        self.metrics = Metrics()
        clock = WatchedClock(SystemClock())
        self.queue = WorkQueue(_never, clock)
        cluster: Any = self.cluster
        self.watch = Watch(
            cluster, self.queue, Targets(), clock, namespaces=namespaces, selector=None, default_zone="UTC",
            metrics=self.metrics, timings=timings,
        )  # fmt: skip

    def names(self) -> set[str]:
        return {str(key) for key, _ in self.queue.known()}


async def _never(*_: object) -> Wake:
    raise AssertionError("nobody leads here")


@asynccontextmanager
async def watching(api: FakeApi, *namespaces: str, timings: Timings = IMPATIENT) -> AsyncIterator[Watching]:
    made = Watching(api, *namespaces, timings=timings)
    task = asyncio.create_task(made.watch.run(lambda: None))
    try:
        yield made
        assert not task.done(), task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(look: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not look():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert look(), what


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    async with FakeApi() as made:

        async def login(**_: Any) -> Connection:
            configuration = client.Configuration(host=made.url, api_key={"BearerToken": "Bearer token"})
            return Connection(configuration, {})

        monkeypatch.setattr(auth, "login", login)
        yield made


@pytest.mark.parametrize("case", OF_WATCH)
async def test_a_watch_that_meets_the_unexpected_goes_on(api: FakeApi, case: str) -> None:
    api.put(exporter("a", "before"))
    async with watching(api, "a") as made:
        await until(lambda: made.watch.blind is None, "it watches")
        api.order("watch", "a", *OF_WATCH[case])
        api.end_watches("a")
        await until(lambda: not api.orders["watch", "a"], "it has met everything")
        api.put(exporter("a", "after"))
        await until(lambda: made.names() >= {"a/before", "a/after"}, "it sees what happens now")
        await until(lambda: made.watch.blind is None, "it watches")
        assert made.watch.blind_seconds() == {"a": 0.0}


@pytest.mark.parametrize("case", OF_LIST)
async def test_a_list_that_fails_is_tried_again(api: FakeApi, case: str) -> None:
    api.put(exporter("a", "before"))
    api.order("list", "a", *OF_LIST[case])
    async with watching(api, "a") as made:
        await until(lambda: made.names() == {"a/before"}, "it was listed")
        await until(lambda: made.watch.blind is None, "it watches")


async def test_a_watch_without_a_reply_is_started_again(api: FakeApi) -> None:
    """The API server may also tell Kopf to come back in an hour."""
    api.order("list", "a", silence, *[status(429, "TooManyRequests", {"Retry-After": "3600"})] * 2)
    api.put(exporter("a", "one"))
    async with watching(api, "a", timings=replace(IMPATIENT, stuck=0.2)) as made:
        await until(lambda: made.names() == {"a/one"}, "it was listed")


async def test_while_nothing_is_watched_it_can_be_told(api: FakeApi) -> None:
    async with watching(api, "a") as made:
        await until(lambda: made.watch.blind is None, "it watches")
        api.lasting["watch", "a"] = status(503, "ServiceUnavailable")
        api.end_watches("a")
        await until(lambda: made.watch.blind is not None, "it is blind")
        assert made.watch.blind
        assert made.watch.blind_seconds()["a"] > 0
        del api.lasting["watch", "a"]
        await until(lambda: made.watch.blind is None, "it watches again")


async def test_a_watch_that_is_cancelled_again_while_it_ends_closes_its_connections(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn, ending, may_end = kopf.spawn_tasks, asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await may_end.wait()

    async def spawn_with_another(**settings: Any) -> list[Any]:
        return [*await spawn(**settings), asyncio.create_task(slow_to_end())]

    async def no_problem() -> None:
        """Exporters can be listed and watched."""

    async def on_event(**_: Any) -> None:
        """No exporter changes here."""

    monkeypatch.setattr(kopf, "spawn_tasks", spawn_with_another)
    watch = NamespaceWatch("a", on_event, SystemClock(), selector=None, check=no_problem, timings=IMPATIENT)
    task = asyncio.create_task(watch.run())
    await until(lambda: watch.problem is None, "it watches")
    assert watch._session
    connections = watch._session.aiohttp_session
    task.cancel()
    await ending.wait()
    task.cancel()
    may_end.set()
    with suppress(asyncio.CancelledError):
        await task
    assert connections.closed


async def test_a_process_that_stays_blind_ends(api: FakeApi) -> None:
    api.lasting["watch", "a"] = status(503, "ServiceUnavailable")
    made = Watching(api, "a", timings=replace(IMPATIENT, blind=0.3))
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(made.watch.run(lambda: None), HANG_SECONDS)
    assert ended.group_contains(ClusterError, match="nothing could be watched for")


async def test_a_process_that_sees_one_namespace_goes_on(api: FakeApi) -> None:
    api.lasting["watch", "b"] = status(403, "Forbidden")
    async with watching(api, "a", "b") as made:
        await until(lambda: made.watch.blind is None, "it watches a")
        made.watch._timings = replace(IMPATIENT, blind=0.2)
        await until(lambda: made.watch.blind_seconds()["b"] > 0.5, "it is blind in b")
        assert made.watch.blind is None
        api.put(exporter("a", "one"))
        await until(lambda: made.names() == {"a/one"}, "it sees a")


@pytest.mark.parametrize("kind", ["list", "watch"])
async def test_a_namespace_that_is_lost_and_comes_back(api: FakeApi, kind: str) -> None:
    api.put(exporter("a", "one"))
    api.put(exporter("b", "one"))
    async with watching(api, "a", "b") as made:
        await until(lambda: made.names() == {"a/one", "b/one"}, "both are seen")
        api.lasting["watch", "b"] = status(403, "Forbidden")
        if kind == "list":
            made.cluster.problems["b"] = Forbidden("the operator may not list exporters in namespace b", 403)
        lost = made.watch.namespaces["b"]
        api.end_watches("b")
        await until(lambda: lost.starts > 2 or "may not list" in (lost.problem or ""), "b is tried again")
        assert made.watch.blind_seconds()["b"] > 0
        starts = made.watch.namespaces["a"].starts
        api.put(exporter("a", "two"))
        await until(lambda: "a/two" in made.names(), "a is seen")
        api.objects.pop(("b", "one"))  # the namespace was deleted, and is made again
        api.put(exporter("b", "new"))
        api.lasting.clear()
        made.cluster.problems.clear()
        await until(lambda: made.names() == {"a/one", "a/two", "b/new"}, "b is seen again, without what was deleted")
        assert made.watch.namespaces["a"].starts == starts
        assert made.watch.blind_seconds() == {"a": 0.0, "b": 0.0}


async def test_at_the_start_one_namespace_is_enough(api: FakeApi) -> None:
    made = Watching(api, "a", "b")
    made.cluster.problems["b"] = Forbidden("no right in b", 403)
    await made.watch.check()
    made.cluster.problems["a"] = Forbidden("no right in a", 403)
    with pytest.raises(Forbidden, match="no right in a"):
        await made.watch.check()


@pytest.mark.parametrize("ends", ["listed", "refused"])
async def test_a_pod_is_not_ready_before_each_namespace_was_listed_or_refused(api: FakeApi, ends: str) -> None:
    go_on = asyncio.Event()

    async def held(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return status(403, "Forbidden")(request) if ends == "refused" else api._list("b")  # type: ignore[return-value]

    api.put(exporter("b", "one"))
    api.order("list", "b", held)
    async with watching(api, "a", "b") as made:
        await until(lambda: made.watch.blind is None, "it watches a")
        await until(lambda: ("list", "b") in api.requests, "it lists b")
        assert made.watch.listing == "exporters are still being listed: namespace b"
        go_on.set()
        await until(lambda: made.watch.listing is None, "it does not wait for b any more")


async def test_a_restart_of_a_watch_touches_no_other_task_and_no_signal(api: FakeApi) -> None:
    """Kopf's own way to stop cancels every task of the loop, and it takes over the signals of the process."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def own_signals() -> None:
        loop.add_signal_handler(signal.SIGTERM, asked.set)

    made = Watching(api, "a")
    watch = asyncio.create_task(made.watch.run(own_signals))
    await until(lambda: made.watch.blind is None, "it watches")
    bystander = asyncio.create_task(asyncio.Event().wait())
    before = _of_kopf()
    for _ in range(5):
        starts = made.watch.namespaces["a"].starts
        api.tell("a", b"nonsense\n")
        await until(
            lambda starts=starts: made.watch.namespaces["a"].starts > starts and made.watch.blind is None, "again"
        )
    assert not bystander.done()
    await asyncio.sleep(0.2)
    assert _of_kopf() <= before + 1, "tasks are left behind by each restart"
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(asked.wait(), HANG_SECONDS)
    assert not watch.done()
    for task in (bystander, watch):
        task.cancel()
    await asyncio.gather(bystander, watch, return_exceptions=True)
    loop.remove_signal_handler(signal.SIGTERM)
    loop.remove_signal_handler(signal.SIGINT)


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"kopf.zalando.org/last-handled-configuration": "not json"}},
        {"annotations": {"kopf.zalando.org/progress": "{", "kopf.dev/on.event": "1"}},
        {"finalizers": ["kopf.zalando.org/KopfFinalizerMarker"]},
        {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["somebody.example.com/hold"]},
        {"creationTimestamp": None, "labels": None, "annotations": None},
    ],
)
async def test_what_kopf_would_read_in_an_object_does_not_matter(api: FakeApi, metadata: dict[str, Any]) -> None:
    body = exporter("a", "odd")
    body["metadata"] |= metadata
    api.put(body)
    async with watching(api, "a") as made:
        await until(lambda: made.names() == {"a/odd"}, "it was seen")
        for number in range(3):
            changed = json.loads(json.dumps({**body, "spec": {"number": number}}))
            api.put(changed, "MODIFIED")
            wanted = changed["metadata"]["resourceVersion"]
            await until(lambda wanted=wanted: dict_of(made)["a/odd"] == wanted, "each change was seen")
        assert all(kind in ("list", "watch") for kind, _ in api.requests)


def _of_kopf() -> int:
    return sum("kopf" in repr(task) for task in asyncio.all_tasks())


def dict_of(made: Watching) -> dict[str, str]:
    return {str(key): version for key, version in made.queue.known()}
