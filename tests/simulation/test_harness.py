"""The parts of the simulated world by themselves: what they promise is what the results rest on."""

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
    """A loop that leaves nothing behind."""
    loop = VirtualLoop()
    yield loop
    loop.bury()


def quiet() -> Faults:
    return Faults(frozenset(), Random(1), Random(1))


def test_a_year_passes_at_once(loop: VirtualLoop) -> None:
    woken: list[float] = []

    async def sleeper() -> None:
        await asyncio.sleep(365 * 86400)
        woken.append(loop.time())

    loop.spawn(Process("p"), sleeper(), "sleeper")
    loop.run_until(400 * 86400)
    assert woken == [365 * 86400]
    assert loop.time() == 400 * 86400


def test_a_timeout_runs_on_virtual_time(loop: VirtualLoop) -> None:
    seen: list[float] = []

    async def impatient() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(3600)
        seen.append(loop.time())

    loop.spawn(Process("p"), impatient(), "impatient")
    loop.run_until(7200)
    assert seen == [30]


def test_a_killed_process_runs_no_finally_block(loop: VirtualLoop) -> None:
    told: list[str] = []

    async def worker() -> None:
        try:
            await asyncio.sleep(10)
            told.append("done")
        finally:
            told.append("finally")

    async def parent() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(worker())
            group.create_task(worker())

    process = Process("p")
    loop.spawn(process, parent(), "parent")
    loop.run_until(5)
    loop.kill(process)
    loop.run_until(100)
    assert told == []
    assert len(process.remains) == 3


def test_what_a_killed_process_asked_for_still_happens(loop: VirtualLoop) -> None:
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


def test_a_paused_process_gets_later_what_fell_due_meanwhile(loop: VirtualLoop) -> None:
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


def test_a_strike_hits_between_two_steps(loop: VirtualLoop) -> None:
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


def test_tasks_that_never_wait_are_noticed(loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.loop.MAX_STEPS_AT_ONE_INSTANT", 1000)

    async def restless() -> None:
        while True:  # noqa: ASYNC110 - that is what it is about
            await asyncio.sleep(0)

    loop.spawn(Process("p"), restless(), "restless")
    with pytest.raises(Livelock):
        loop.run_until(1)


def test_a_status_is_written_by_compare_and_set(loop: VirtualLoop) -> None:
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


def test_the_generation_counts_changes_of_the_spec_only(loop: VirtualLoop) -> None:
    server = ApiServer(loop)
    server.create("team", "e", {"n": 1}, labels={}, annotations={})
    server.change("team", "e", annotations={"a": "b"})
    assert server.get("team", "e")["metadata"]["generation"] == 1
    server.change("team", "e", spec={"n": 2})
    assert server.get("team", "e")["metadata"]["generation"] == 2


def watched(loop: VirtualLoop, server: ApiServer, selector: str | None = None) -> tuple[WatchStream, list[str | None]]:
    events: list[str | None] = []

    def deliver(kind: str | None, body: Body) -> None:
        events.append(kind)

    stream = WatchStream(server, loop, quiet(), selector, deliver, loop._world)
    stream.start()
    return stream, events


def test_a_deletion_within_a_gap_is_never_told(loop: VirtualLoop) -> None:
    server = ApiServer(loop)
    stream, events = watched(loop, server)
    server.create("team", "e", {}, labels={}, annotations={})
    server.create("team", "other", {}, labels={}, annotations={})
    loop.run_until(1)
    stream.break_until(60)
    server.delete("team", "e")
    loop.run_until(120)
    assert events == ["ADDED", "ADDED", None]


def test_an_object_that_leaves_the_selector_is_told_as_deleted(loop: VirtualLoop) -> None:
    server = ApiServer(loop)
    _, events = watched(loop, server, "shard=a")
    server.create("team", "e", {}, labels={"shard": "a"}, annotations={})
    loop.run_until(1)
    server.change("team", "e", labels={"shard": "b"})
    loop.run_until(2)
    server.change("team", "e", labels={"shard": "a"})
    loop.run_until(3)
    assert events == ["ADDED", "DELETED", "ADDED"]


def test_events_keep_their_numbers_whatever_is_left_out() -> None:
    whole = {event.number: str(event) for event in plan.make(5).events}
    for enabled in sorted(plan.make(5).enabled):
        for event in plan.make(5, without=[enabled]).events:
            assert whole[event.number] == str(event)
    some = sorted(whole)[::3]
    assert [event.number for event in plan.make(5, keep=some).events] == some
