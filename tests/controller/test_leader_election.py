"""Elections on a real API server: whatever hangs, pauses or misbehaves, two never lead at the same time.

What must never happen is compared exactly: all processes of a machine share the monotonic clock. What should happen is
an expectation about time, and the machine may be busy. So a test that fails with short Leases is tried again with
longer ones (`tests/controller/conftest.py`): only a test that fails at each pace has found something. Two leaders at
the same time are never tried again.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_asyncio
from kubernetes.aio import client

from qualtrics_exporter.clock import SystemClock, WatchedClock
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect
from qualtrics_exporter.controller.leader_election import LeaderElection
from qualtrics_exporter.controller.leader_gaps import LeaderRecord
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.waiting import HANG_SECONDS

PACES = (1, 4, 16)
"""How many times as long a Lease lasts as at first, from try to try."""
PACE_VARIABLE = "QUALTRICS_EXPORTER_TEST_PACE"
LEASE = DEADLINE = RETRY = 0.0


def set_pace(factor: float) -> None:
    """Let all times of a Lease be so many times as long."""
    global LEASE, DEADLINE, RETRY
    LEASE, DEADLINE, RETRY = 2.0 * factor, 1.2 * factor, 0.3 * factor
    os.environ[PACE_VARIABLE] = str(factor)


set_pace(float(os.environ.get(PACE_VARIABLE, "1")))
NAME = "qualtrics-exporter"
TICK = 0.01


def fresh_record() -> LeaderRecord:
    return LeaderRecord(WatchedClock(SystemClock()))


class TwoLeaders(Exception):
    """Two led at the same time: an error at any pace."""


class Line:
    """A wire to the API server that can be held: connections stay open, and nothing comes through."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        content = json.loads(kubeconfig.read_text())
        server = content["clusters"][0]["cluster"]["server"]
        self._target = server.removeprefix("https://").split(":")
        self._content = content
        self.kubeconfig = folder / f"line-{id(self)}.kubeconfig"
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self._content["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        self.kubeconfig.write_text(json.dumps(self._content))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        closed = [writer.wait_closed() for writer in self._writers]
        await asyncio.gather(*self._tasks, *closed, return_exceptions=True)

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers += [writer, far_writer]
        self._tasks += [asyncio.create_task(self._carry(reader, far_writer))]
        self._tasks += [asyncio.create_task(self._carry(far_reader, writer))]

    async def _carry(self, one: asyncio.StreamReader, other: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await one.read(65536):
                await self._open.wait()
                other.write(data)
                await other.drain()
        other.close()


class Candidate:
    """One replica in this process, with a body that notes each moment at which it led."""

    def __init__(self, api: client.ApiClient, namespace: str, name: str, **options: Any) -> None:
        self.name = name
        self.ticks: list[float] = []
        self.changes: list[bool] = []
        self.killed = asyncio.Event()
        self.stubborn = 0.0  # how long the body goes on after it was cancelled
        self.elector = LeaderElection(
            ClusterApi(api), namespace, NAME, name, lease=LEASE, deadline=DEADLINE, retry=RETRY,
            record=fresh_record(), on_change=self.changes.append, on_deadline_missed=self._on_deadline_missed,
            **options,
        )  # fmt: skip
        self.task = asyncio.create_task(self.elector.run(self.body))

    async def body(self) -> None:
        give_up = None
        while not self.killed.is_set() and not (give_up and time.monotonic() > give_up):
            try:
                self.ticks.append(time.monotonic())
                await asyncio.sleep(TICK)
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise
                give_up = give_up or time.monotonic() + self.stubborn

    async def leads(self, within: float = HANG_SECONDS) -> float:
        """Wait until it leads; returns when the body first ran in this term."""
        number, started = len(self.ticks), time.monotonic()
        while len(self.ticks) == number:
            assert time.monotonic() < started + within, f"{self.name} does not lead"
            assert not self.task.done() or self.task.result()
            await asyncio.sleep(TICK)
        return self.ticks[number]

    async def stop(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    def _on_deadline_missed(self) -> None:
        self.killed.set()  # in place of the end of the process: nothing of it goes on


Start = Callable[..., Awaitable[Candidate]]


@pytest_asyncio.fixture
async def start(cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts candidates for the one Lease of this test."""
    async with AsyncExitStack() as stack:

        async def begin(name: str, *, line: Line | None = None, **options: Any) -> Candidate:
            monkeypatch.setenv("KUBECONFIG", str(line.kubeconfig if line else cluster.kubeconfig))
            api = await stack.enter_async_context(await connect())
            candidate = Candidate(api, namespace, name, **options)
            stack.push_async_callback(candidate.stop)
            stack.callback(candidate.killed.set)
            return candidate

        yield begin


@pytest_asyncio.fixture
async def line(cluster: ControlPlane, tmp_path: Path) -> AsyncIterator[Line]:
    async with Line(cluster.kubeconfig, tmp_path) as made:
        yield made


def lease_of(cluster: ControlPlane, namespace: str) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(
        cluster.kubectl("get", "lease", NAME, "--namespace", namespace, "-o", "json").stdout
    )["spec"]
    return spec


def never_together(*candidates: Candidate) -> None:
    """Nobody's body ran between two moments of another's term."""
    moments = sorted((tick, candidate.name) for candidate in candidates for tick in candidate.ticks)
    turns = [name for (_, name), (_, before) in zip(moments[1:], moments, strict=False) if name != before]
    terms = sum(sum(candidate.changes) for candidate in candidates)
    if len(turns) >= terms:
        raise TwoLeaders(f"bodies of {terms} terms took turns: {turns}")


# Taking over


async def test_the_first_leads_and_the_second_stands_by(start: Start, cluster: ControlPlane, namespace: str) -> None:
    first = await start("first")
    await first.leads()
    second = await start("second")
    await asyncio.sleep(2 * LEASE)

    assert first.elector.leading
    assert not second.elector.leading
    assert (first.changes, second.changes, second.ticks) == ([True], [], [])
    assert first.elector.identity.startswith("first_")
    lease = lease_of(cluster, namespace)
    assert lease["holderIdentity"] == first.elector.identity
    assert lease["leaseDurationSeconds"] == LEASE
    assert lease["leaseTransitions"] == 0


async def test_who_stops_politely_is_followed_at_once(start: Start, cluster: ControlPlane, namespace: str) -> None:
    first = await start("first")
    await first.leads()
    second = await start("second")
    await asyncio.sleep(RETRY)
    asked = time.monotonic()
    await first.stop()

    assert await second.leads() - asked < LEASE / 2
    assert first.changes == [True, False]
    assert not first.elector.leading
    assert lease_of(cluster, namespace)["leaseTransitions"] == 1
    never_together(first, second)


async def test_who_stops_while_working_keeps_the_lease_until_the_work_has_ended(start: Start) -> None:
    first = await start("first")
    first.stubborn = 2 * LEASE  # a POST in flight, finished after SIGTERM
    await first.leads()
    second = await start("second")
    await first.stop()
    stopped = time.monotonic()

    assert first.ticks[-1] - first.ticks[0] >= 2 * LEASE - TICK
    assert not first.killed.is_set()
    assert await second.leads() - stopped < LEASE / 2
    never_together(first, second)


async def test_a_body_that_returns_ends_the_election(start: Start) -> None:
    first = await start("first")
    await first.leads()
    first.killed.set()
    await asyncio.wait_for(first.task, HANG_SECONDS)
    assert first.changes == [True, False]
    assert await (await start("second")).leads() > first.ticks[-1]


async def test_what_a_body_raises_is_raised_and_the_lease_given_back(
    cluster: ControlPlane, namespace: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise TimeoutError("the body's own")

    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    async with await connect() as api:
        elector = LeaderElection(
            ClusterApi(api),
            namespace,
            NAME,
            "broken",
            lease=LEASE,
            deadline=DEADLINE,
            retry=RETRY,
            record=fresh_record(),
        )
        with pytest.raises(TimeoutError, match="the body's own"):
            await elector.run(broken)
    assert lease_of(cluster, namespace).get("holderIdentity", "") == ""
    await (await start("second")).leads(LEASE / 2)


async def test_many_candidates_have_one_leader(start: Start) -> None:
    candidates = [await start(f"candidate-{n}") for n in range(5)]
    await asyncio.sleep(5 * RETRY)
    assert sum(bool(candidate.ticks) for candidate in candidates) == 1
    never_together(*candidates)


# The API server hangs


async def test_a_leader_that_cannot_reach_the_api_server_stops_before_another_leads(start: Start, line: Line) -> None:
    cut_off = await start("cut-off", line=line)
    await cut_off.leads()
    other = await start("other")
    await asyncio.sleep(RETRY)
    held = time.monotonic()
    line.hold()
    taken = await other.leads()

    assert cut_off.ticks[-1] <= held + DEADLINE + RETRY
    assert not cut_off.elector.leading
    assert cut_off.elector.problem
    assert taken - held < 1.5 * LEASE + 2 * RETRY
    never_together(cut_off, other)

    line.release()  # what it sent meanwhile arrives now
    await asyncio.sleep(3 * RETRY)
    assert cut_off.changes == [True, False]
    assert other.elector.leading
    assert cut_off.elector.problem is None
    never_together(cut_off, other)


async def test_a_short_hang_changes_nothing(start: Start, line: Line) -> None:
    leader = await start("leader", line=line)
    await leader.leads()
    other = await start("other")
    for _ in range(3):
        line.hold()
        await asyncio.sleep(2 * RETRY)
        line.release()
        await asyncio.sleep(2 * RETRY)
    assert leader.changes == [True]
    assert other.ticks == []


async def test_while_the_api_server_is_frozen_nobody_leads_and_then_one_does(
    start: Start, cluster: ControlPlane
) -> None:
    first, second = await start("first"), await start("second")
    await asyncio.sleep(3 * RETRY)
    cluster.freeze()
    frozen = time.monotonic()
    try:
        await asyncio.sleep(2 * LEASE)
        assert max(first.ticks + second.ticks) <= frozen + DEADLINE + RETRY
        assert not first.elector.leading
        assert not second.elector.leading
    finally:
        await asyncio.to_thread(cluster.thaw)
    await asyncio.sleep(LEASE + 2 * RETRY)
    assert first.elector.leading != second.elector.leading
    never_together(first, second)


# The leader misbehaves


async def test_a_body_that_swallows_its_cancellation_is_ended_before_another_leads(start: Start, line: Line) -> None:
    stubborn = await start("stubborn", line=line)
    stubborn.stubborn = HANG_SECONDS
    await stubborn.leads()
    other = await start("other")
    await asyncio.sleep(RETRY)
    line.hold()
    await other.leads()

    assert stubborn.killed.is_set()
    assert not stubborn.elector.leading
    never_together(stubborn, other)


async def test_who_is_cancelled_leaves_even_if_the_body_keeps_that_to_itself(start: Start, line: Line) -> None:
    cut_off = await start("cut-off", line=line)
    cut_off.stubborn = (LEASE - DEADLINE) / 2
    await cut_off.leads()
    line.hold()
    await asyncio.sleep(DEADLINE + RETRY / 3)
    cut_off.task.cancel()
    done, _ = await asyncio.wait({cut_off.task}, timeout=LEASE)
    assert done


async def test_a_body_that_takes_some_time_to_end_is_let_end(start: Start, line: Line) -> None:
    slow = await start("slow", line=line)
    slow.stubborn = (LEASE - DEADLINE) / 2
    await slow.leads()
    other = await start("other")
    await asyncio.sleep(RETRY)
    line.hold()
    await other.leads()

    assert not slow.killed.is_set()
    never_together(slow, other)


# The Lease is tampered with


async def test_a_lease_that_is_deleted_is_made_again_by_its_leader(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    leader = await start("leader")
    await leader.leads()
    other = await start("other")
    await asyncio.sleep(2 * RETRY)
    for _ in range(3):
        await asyncio.to_thread(cluster.kubectl, "delete", "lease", NAME, "--namespace", namespace)
        await asyncio.sleep(2 * RETRY)

    assert lease_of(cluster, namespace)["holderIdentity"] == leader.elector.identity
    assert (leader.changes, other.ticks) == ([True], [])


async def test_a_lease_that_is_deleted_under_a_leader_who_is_cut_off_is_not_taken_early(
    start: Start, line: Line, cluster: ControlPlane, namespace: str
) -> None:
    cut_off = await start("cut-off", line=line)
    await cut_off.leads()
    other = await start("other")
    await asyncio.sleep(2 * RETRY)
    line.hold()
    await asyncio.to_thread(cluster.kubectl, "delete", "lease", NAME, "--namespace", namespace)
    await other.leads()
    never_together(cut_off, other)


async def test_who_is_replaced_in_the_lease_stops_at_the_next_renewal(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    leader = await start("leader")
    await leader.leads()
    patch = {"spec": {"holderIdentity": "somebody", "renewTime": "2026-01-01T00:00:00.000000Z"}}
    await asyncio.to_thread(
        cluster.kubectl, "patch", "lease", NAME, "--namespace", namespace, "--type=merge", "-p", json.dumps(patch)
    )
    patched = time.monotonic()
    await asyncio.sleep(2 * RETRY)
    assert leader.changes == [True, False]
    assert leader.ticks[-1] < patched + 2 * RETRY
    assert await leader.leads() > patched + LEASE - RETRY  # the clock of whoever wrote renewTime means nothing


async def test_what_others_write_into_the_lease_is_left_alone(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    leader = await start("leader")
    await leader.leads()
    await asyncio.to_thread(cluster.kubectl, "label", "lease", NAME, "--namespace", namespace, "team=dex")
    await asyncio.sleep(3 * RETRY)
    lease = json.loads(cluster.kubectl("get", "lease", NAME, "--namespace", namespace, "-o", "json").stdout)
    assert lease["metadata"]["labels"] == {"team": "dex"}
    assert leader.changes == [True]


async def test_a_missing_right_is_a_problem_that_can_be_asked_for(
    cluster: ControlPlane, namespace: str, start: Start
) -> None:
    nobody = Line.__new__(Line)
    nobody.kubeconfig = cluster.service_account(namespace, "nobody")
    candidate = await start("nobody", line=nobody)
    await asyncio.sleep(3 * RETRY)
    assert candidate.elector.problem == (
        f"the operator may not get leases.coordination.k8s.io in namespace {namespace} (HTTP 403): "
        "its role lacks that rule"
    )
    assert candidate.ticks == []


def test_an_election_that_cannot_be_safe_is_refused() -> None:
    for wrong in ({"lease": 5, "deadline": 5}, {"deadline": 1, "retry": 2}, {"retry": 0}):
        with pytest.raises(ValueError, match="retry < deadline < lease"):
            LeaderElection(None, "n", "l", "i", record=fresh_record(), **wrong)


# Processes: killed and paused


class Process:
    """A replica as a process, which tells each moment at which it led."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.ticks: list[float] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout
        async for told in self._process.stdout:
            self.ticks.append(float(told))

    async def leads(self, within: float = HANG_SECONDS) -> float:
        number, started = len(self.ticks), time.monotonic()
        while len(self.ticks) == number:
            assert time.monotonic() < started + within, "it does not lead"
            await asyncio.sleep(TICK)
        return self.ticks[number]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def process(cluster: ControlPlane, namespace: str) -> AsyncIterator[Process]:
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    made = Process(
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.controller.test_leader_election",
            namespace,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
    )
    try:
        yield made
    finally:
        await made.end()


async def test_who_is_killed_is_followed_when_the_lease_has_run_out(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    async with process(cluster, namespace) as first:
        await first.leads()
        second = await start("second")
        await asyncio.sleep(RETRY)
        first.signal(signal.SIGKILL)
        killed = time.monotonic()
        assert await second.leads() - killed < 1.5 * LEASE + 2 * RETRY
        assert second.ticks[0] - killed > LEASE / 2 - RETRY


@pytest.mark.parametrize("long", [False, True])
async def test_a_process_that_was_paused_wakes_up_as_a_leader_only_if_it_still_is_one(
    start: Start, cluster: ControlPlane, namespace: str, long: bool
) -> None:
    seconds = 2 * LEASE if long else DEADLINE / 2
    async with process(cluster, namespace) as paused:
        await paused.leads()
        other = await start("other")
        await asyncio.sleep(3 * RETRY)
        paused.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        paused.signal(signal.SIGCONT)
        woken = time.monotonic()
        await asyncio.sleep(2 * RETRY)

        if not long:
            assert paused.ticks[-1] > woken
            assert other.ticks == []
        else:
            assert other.elector.leading
            if max(paused.ticks) >= other.ticks[0]:
                raise TwoLeaders


async def main(namespace: str) -> None:
    """The other process: a leader whose work goes on in tasks of its own, as the real one's does."""

    async def work() -> None:
        while True:
            await asyncio.sleep(TICK)
            if elector.leading:
                print(time.monotonic(), flush=True)

    async def lead() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(work())

    async with await connect() as api:
        elector = LeaderElection(
            ClusterApi(api),
            namespace,
            NAME,
            "process",
            lease=LEASE,
            deadline=DEADLINE,
            retry=RETRY,
            record=fresh_record(),
        )
        await elector.run(lead)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
