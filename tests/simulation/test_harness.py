"""The parts of the simulation: the event loop, the API server, the watch and the plan."""

import asyncio
import contextlib
from collections.abc import Iterator
from random import Random

import pytest

from qualtrics_exporter.controller.kube.errors import Conflict

from . import plan
from .api_server import ApiServer, Body
from .faults import Faults
from .loop import Livelock, Process, VirtualLoop
from .watch_stream import WatchStream


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    """An event loop, whose tasks are disposed of after the test."""
    loop = VirtualLoop()
    yield loop
    loop.dispose()


def no_faults() -> Faults:
    return Faults(frozenset(), Random(1), Random(1))


def test_sleep_of_a_year_ends_at_once_with_the_right_time(loop: VirtualLoop) -> None:
    woken: list[float] = []

    async def sleeper() -> None:
        await asyncio.sleep(365 * 86400)
        woken.append(loop.time())

    loop.spawn(Process("p"), sleeper(), "sleeper")
    loop.run_until(400 * 86400)
    assert woken == [365 * 86400]
    assert loop.time() == 400 * 86400


def test_timeout_uses_virtual_time(loop: VirtualLoop) -> None:
    seen: list[float] = []

    async def impatient() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(3600)
        seen.append(loop.time())

    loop.spawn(Process("p"), impatient(), "impatient")
    loop.run_until(7200)
    assert seen == [30]


def test_killed_process_runs_no_finally_block(loop: VirtualLoop) -> None:
    executed: list[str] = []

    async def worker() -> None:
        try:
            await asyncio.sleep(10)
            executed.append("done")
        finally:
            executed.append("finally")

    async def parent() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(worker())
            group.create_task(worker())

    process = Process("p")
    loop.spawn(process, parent(), "parent")
    loop.run_until(5)
    loop.kill(process)
    loop.run_until(100)
    assert executed == []
    assert len(process.tasks_left) == 3


def test_request_of_a_killed_process_still_has_its_effect(loop: VirtualLoop) -> None:
    effects: list[float] = []

    async def writer() -> None:
        loop.outside(3.0, lambda: effects.append(loop.time()))
        await asyncio.sleep(60)

    process = Process("p")
    loop.spawn(process, writer(), "writer")
    loop.run_until(1)
    loop.kill(process)
    loop.run_until(100)
    assert effects == [3.0]


def test_paused_process_runs_after_the_pause_what_was_due_during_it(loop: VirtualLoop) -> None:
    ticks: list[float] = []

    async def ticker() -> None:
        for _ in range(3):
            await asyncio.sleep(10)
            ticks.append(loop.time())

    process = Process("p")
    loop.spawn(process, ticker(), "ticker")
    loop.run_until(15)
    loop.pause(process)
    loop.run_until(100)
    assert ticks == [10]
    loop.resume(process)
    loop.run_until(200)
    assert ticks == [10, 100, 110]


def test_strike_occurs_between_two_steps(loop: VirtualLoop) -> None:
    steps: list[int] = []

    async def worker() -> None:
        for number in range(10):
            steps.append(number)
            await asyncio.sleep(0)

    process = Process("p")
    process.strike_after(4, lambda: loop.kill(process))
    loop.spawn(process, worker(), "worker")
    loop.run_until(10)
    assert steps == [0, 1, 2, 3]


def test_task_that_never_waits_is_reported_as_a_livelock(loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.loop.MAX_STEPS_AT_ONE_INSTANT", 1000)

    async def restless() -> None:
        while True:  # noqa: ASYNC110 - the livelock
            await asyncio.sleep(0)

    loop.spawn(Process("p"), restless(), "restless")
    with pytest.raises(Livelock):
        loop.run_until(1)


def test_api_server_writes_a_status_by_compare_and_set(loop: VirtualLoop) -> None:
    server = ApiServer(loop)
    body = server.create("team", "e", {"schedule": 1}, labels={}, annotations={})
    old = body["metadata"]
    server.replace_status("a", "team", "e", old["uid"], old["resourceVersion"], {"n": 1})
    with pytest.raises(Conflict):
        server.replace_status("b", "team", "e", old["uid"], old["resourceVersion"], {"n": 2})
    server.delete("team", "e")
    again = server.create("team", "e", {"schedule": 1}, labels={}, annotations={})
    with pytest.raises(Conflict):
        server.replace_status("a", "team", "e", old["uid"], again["metadata"]["resourceVersion"], {"n": 3})


def test_api_server_counts_only_changes_of_the_spec_in_the_generation(loop: VirtualLoop) -> None:
    server = ApiServer(loop)
    server.create("team", "e", {"n": 1}, labels={}, annotations={})
    server.change("team", "e", annotations={"a": "b"})
    assert server.get("team", "e")["metadata"]["generation"] == 1
    server.change("team", "e", spec={"n": 2})
    assert server.get("team", "e")["metadata"]["generation"] == 2


def start_watch(
    loop: VirtualLoop, server: ApiServer, selector: str | None = None
) -> tuple[WatchStream, list[str | None]]:
    events: list[str | None] = []

    def deliver(kind: str | None, body: Body) -> None:
        events.append(kind)

    stream = WatchStream(server, loop, no_faults(), selector, deliver, loop._world)
    stream.start()
    return stream, events


def test_watch_never_delivers_a_deletion_during_a_gap(loop: VirtualLoop) -> None:
    server = ApiServer(loop)
    stream, events = start_watch(loop, server)
    server.create("team", "e", {}, labels={}, annotations={})
    server.create("team", "other", {}, labels={}, annotations={})
    loop.run_until(1)
    stream.break_until(60)
    server.delete("team", "e")
    loop.run_until(120)
    assert events == ["ADDED", "ADDED", None]


def test_watch_delivers_an_object_that_leaves_the_selector_as_deleted(loop: VirtualLoop) -> None:
    server = ApiServer(loop)
    _, events = start_watch(loop, server, "shard=a")
    server.create("team", "e", {}, labels={"shard": "a"}, annotations={})
    loop.run_until(1)
    server.change("team", "e", labels={"shard": "b"})
    loop.run_until(2)
    server.change("team", "e", labels={"shard": "a"})
    loop.run_until(3)
    assert events == ["ADDED", "DELETED", "ADDED"]


def test_events_of_a_plan_keep_their_numbers_if_others_are_left_out() -> None:
    whole = {event.number: str(event) for event in plan.make(5).events}
    for enabled in sorted(plan.make(5).enabled):
        for event in plan.make(5, without=[enabled]).events:
            assert whole[event.number] == str(event)
    some = sorted(whole)[::3]
    assert [event.number for event in plan.make(5, keep=some).events] == some
