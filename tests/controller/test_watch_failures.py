"""The operator watches again after every kind of failure, and a failure in one namespace does not affect others.

Kopf and the sockets are real. The API server is a double that can fail in every way.
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
from qualtrics_exporter.controller.kube.connection import Connection
from qualtrics_exporter.controller.kube.errors import ClusterError, Forbidden
from qualtrics_exporter.controller.kube.namespace_watch import NamespaceWatch, Timings
from tests.controller.fake_api import FakeApi, Handler, exporter, reset, silence, status, stream
from tests.controller.watch_with_queue import WatchWithQueue
from tests.support.waiting import HANG_SECONDS


def line(event: Any) -> bytes:
    return json.dumps(event).encode() + b"\n"


BODY = exporter("a", "other")
EXPIRED = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
WATCH_FAILURES: dict[str, list[Handler]] = {
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
    "HTTP 429, invalid Retry-After": [status(429, "TooManyRequests", {"Retry-After": "soon"})],
    "HTTP 500": [status(500, "InternalError")] * 5,
    "HTTP 503": [status(503, "ServiceUnavailable")] * 5,
    "a reset connection": [reset] * 5,
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
    "an empty stream": [stream()],
}
LIST_FAILURES: dict[str, list[Handler]] = {
    name: answers
    for name, answers in WATCH_FAILURES.items()
    if name.startswith(("HTTP", "a reset connection", "invalid", "an empty stream"))
}


SHORT_PAUSES = Timings(first_pause=0.01, max_pause=0.05, look=0.05, error_backoffs=(0.01, 0.01), reconnect_backoff=0.01)
"""The pauses between two attempts are short."""


def watch_with_queue(api: FakeApi, *namespaces: str, timings: Timings = SHORT_PAUSES) -> WatchWithQueue:
    """A watch of these namespaces, whose checks see the exporters of the API server."""
    return WatchWithQueue(api.objects, WatchedClock(SystemClock()), *namespaces, timings=timings)


@asynccontextmanager
async def watching(api: FakeApi, *namespaces: str, timings: Timings = SHORT_PAUSES) -> AsyncIterator[WatchWithQueue]:
    setup = watch_with_queue(api, *namespaces, timings=timings)
    task = asyncio.create_task(setup.watch.run(lambda: None))
    try:
        yield setup
        assert not task.done(), task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert condition(), what


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    async with FakeApi() as fake_api:

        async def login(**_: Any) -> Connection:
            configuration = client.Configuration(host=fake_api.url, api_key={"BearerToken": "Bearer token"})
            return Connection(configuration, {})

        monkeypatch.setattr(auth, "login", login)
        yield fake_api


@pytest.mark.parametrize("case", WATCH_FAILURES)
async def test_watch_recovers_from_any_failure(api: FakeApi, case: str) -> None:
    api.put(exporter("a", "before"))
    async with watching(api, "a") as setup:
        await until(lambda: setup.watch.blind is None, "exporters are watched")
        api.handle_next("watch", "a", *WATCH_FAILURES[case])
        api.end_watches("a")
        await until(lambda: not api.next_handlers["watch", "a"], "the watch has received every failure")
        api.put(exporter("a", "after"))
        await until(lambda: setup.names() >= {"a/before", "a/after"}, "new changes are received")
        await until(lambda: setup.watch.blind is None, "exporters are watched")
        assert setup.watch.blind_seconds() == {"a": 0.0}


@pytest.mark.parametrize("case", LIST_FAILURES)
async def test_failed_list_is_retried(api: FakeApi, case: str) -> None:
    api.put(exporter("a", "before"))
    api.handle_next("list", "a", *LIST_FAILURES[case])
    async with watching(api, "a") as setup:
        await until(lambda: setup.names() == {"a/before"}, "exporters are listed")
        await until(lambda: setup.watch.blind is None, "exporters are watched")


async def test_list_without_a_reply_or_with_a_long_retry_after_is_restarted(api: FakeApi) -> None:
    api.handle_next("list", "a", silence, *[status(429, "TooManyRequests", {"Retry-After": "3600"})] * 2)
    api.put(exporter("a", "one"))
    async with watching(api, "a", timings=replace(SHORT_PAUSES, stuck=0.2)) as setup:
        await until(lambda: setup.names() == {"a/one"}, "exporters are listed")


async def test_watch_reports_for_how_long_it_has_been_blind(api: FakeApi) -> None:
    async with watching(api, "a") as setup:
        await until(lambda: setup.watch.blind is None, "exporters are watched")
        api.handlers["watch", "a"] = status(503, "ServiceUnavailable")
        api.end_watches("a")
        await until(lambda: setup.watch.blind is not None, "the watch is blind")
        assert setup.watch.blind
        assert setup.watch.blind_seconds()["a"] > 0
        del api.handlers["watch", "a"]
        await until(lambda: setup.watch.blind is None, "exporters are watched again")


async def test_watch_that_is_cancelled_twice_closes_its_connections(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn, ending, may_end = kopf.spawn_tasks, asyncio.Event(), asyncio.Event()

    async def end_slowly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await may_end.wait()

    async def spawn_with_slow_task(**settings: Any) -> list[Any]:
        return [*await spawn(**settings), asyncio.create_task(end_slowly())]

    async def no_problem() -> None:
        """Exporters can be listed and watched."""

    async def on_event(**_: Any) -> None:
        """No exporter changes here."""

    monkeypatch.setattr(kopf, "spawn_tasks", spawn_with_slow_task)
    watch = NamespaceWatch("a", on_event, SystemClock(), selector=None, check=no_problem, timings=SHORT_PAUSES)
    task = asyncio.create_task(watch.run())
    await until(lambda: watch.problem is None, "exporters are watched")
    assert watch._session
    connections = watch._session.aiohttp_session
    task.cancel()
    await ending.wait()
    task.cancel()
    may_end.set()
    with suppress(asyncio.CancelledError):
        await task
    assert connections.closed


async def test_process_that_stays_blind_ends_with_an_error(api: FakeApi) -> None:
    api.handlers["watch", "a"] = status(503, "ServiceUnavailable")
    setup = watch_with_queue(api, "a", timings=replace(SHORT_PAUSES, blind=0.3))
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(setup.watch.run(lambda: None), HANG_SECONDS)
    assert ended.group_contains(ClusterError, match="nothing could be watched for")


async def test_process_that_watches_one_of_two_namespaces_keeps_running(api: FakeApi) -> None:
    api.handlers["watch", "b"] = status(403, "Forbidden")
    async with watching(api, "a", "b") as setup:
        await until(lambda: setup.watch.blind is None, "a is watched")
        setup.watch._timings = replace(SHORT_PAUSES, blind=0.2)
        await until(lambda: setup.watch.blind_seconds()["b"] > 0.5, "b is not watched")
        assert setup.watch.blind is None
        api.put(exporter("a", "one"))
        await until(lambda: setup.names() == {"a/one"}, "changes in a are received")


@pytest.mark.parametrize("kind", ["list", "watch"])
async def test_namespace_that_becomes_readable_again_is_watched_without_a_restart_of_others(
    api: FakeApi, kind: str
) -> None:
    api.put(exporter("a", "one"))
    api.put(exporter("b", "one"))
    async with watching(api, "a", "b") as setup:
        await until(lambda: setup.names() == {"a/one", "b/one"}, "both namespaces are listed")
        api.handlers["watch", "b"] = status(403, "Forbidden")
        if kind == "list":
            setup.cluster.problems["b"] = Forbidden("the operator may not list exporters in namespace b", 403)
        watch_of_b = setup.watch.namespaces["b"]
        api.end_watches("b")
        await until(
            lambda: watch_of_b.starts > 2 or "may not list" in (watch_of_b.problem or ""), "the watch of b is retried"
        )
        assert setup.watch.blind_seconds()["b"] > 0
        starts = setup.watch.namespaces["a"].starts
        api.put(exporter("a", "two"))
        await until(lambda: "a/two" in setup.names(), "changes in a are received")
        api.objects.pop(("b", "one"))  # the namespace is deleted and created again
        api.put(exporter("b", "new"))
        api.handlers.clear()
        setup.cluster.problems.clear()
        await until(
            lambda: setup.names() == {"a/one", "a/two", "b/new"}, "b is watched again, without the deleted exporter"
        )
        assert setup.watch.namespaces["a"].starts == starts
        assert setup.watch.blind_seconds() == {"a": 0.0, "b": 0.0}


async def test_check_at_the_start_succeeds_if_one_namespace_is_readable(api: FakeApi) -> None:
    setup = watch_with_queue(api, "a", "b")
    setup.cluster.problems["b"] = Forbidden("no permission in b", 403)
    await setup.watch.check()
    setup.cluster.problems["a"] = Forbidden("no permission in a", 403)
    with pytest.raises(Forbidden, match="no permission in a"):
        await setup.watch.check()


@pytest.mark.parametrize("result", ["listed", "refused"])
async def test_pod_is_not_ready_until_each_namespace_is_listed_or_refused(api: FakeApi, result: str) -> None:
    release = asyncio.Event()

    async def hold(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return status(403, "Forbidden")(request) if result == "refused" else api._list("b")  # type: ignore[return-value]

    api.put(exporter("b", "one"))
    api.handle_next("list", "b", hold)
    async with watching(api, "a", "b") as setup:
        await until(lambda: setup.watch.blind is None, "a is watched")
        await until(lambda: ("list", "b") in api.requests, "b is listed")
        assert setup.watch.listing == "exporters are still being listed: namespace b"
        release.set()
        await until(lambda: setup.watch.listing is None, "b is no longer awaited")


async def test_restart_of_a_watch_leaves_other_tasks_and_signal_handlers_unchanged(api: FakeApi) -> None:
    """By default, Kopf cancels every task of the loop when it stops, and replaces the signal handlers."""
    loop = asyncio.get_running_loop()
    terminated = asyncio.Event()

    def add_signal_handler() -> None:
        loop.add_signal_handler(signal.SIGTERM, terminated.set)

    setup = watch_with_queue(api, "a")
    watch = asyncio.create_task(setup.watch.run(add_signal_handler))
    await until(lambda: setup.watch.blind is None, "exporters are watched")
    other_task = asyncio.create_task(asyncio.Event().wait())
    tasks_before = kopf_tasks()
    for _ in range(5):
        starts = setup.watch.namespaces["a"].starts
        api.send_to_watches("a", b"nonsense\n")
        await until(
            lambda starts=starts: setup.watch.namespaces["a"].starts > starts and setup.watch.blind is None,
            "exporters are watched again",
        )
    assert not other_task.done()
    await asyncio.sleep(0.2)
    assert kopf_tasks() <= tasks_before + 1, "each restart leaks tasks"
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(terminated.wait(), HANG_SECONDS)
    assert not watch.done()
    for task in (other_task, watch):
        task.cancel()
    await asyncio.gather(other_task, watch, return_exceptions=True)
    loop.remove_signal_handler(signal.SIGTERM)
    loop.remove_signal_handler(signal.SIGINT)


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"kopf.zalando.org/last-handled-configuration": "not json"}},
        {"annotations": {"kopf.zalando.org/progress": "{", "kopf.dev/on.event": "1"}},
        {"finalizers": ["kopf.zalando.org/KopfFinalizerMarker"]},
        {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["team.example.com/hold"]},
        {"creationTimestamp": None, "labels": None, "annotations": None},
    ],
)
async def test_kopf_metadata_in_an_object_has_no_effect(api: FakeApi, metadata: dict[str, Any]) -> None:
    body = exporter("a", "one")
    body["metadata"] |= metadata
    api.put(body)
    async with watching(api, "a") as setup:
        await until(lambda: setup.names() == {"a/one"}, "the exporter is listed")
        for number in range(3):
            changed = json.loads(json.dumps({**body, "spec": {"number": number}}))
            api.put(changed, "MODIFIED")
            version = changed["metadata"]["resourceVersion"]
            await until(lambda version=version: setup.versions()["a/one"] == version, "each change is received")
        assert all(kind in ("list", "watch") for kind, _ in api.requests)


def kopf_tasks() -> int:
    return sum("kopf" in repr(task) for task in asyncio.all_tasks())
