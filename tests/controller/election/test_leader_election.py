"""Leader elections on a real API server: two replicas never lead at the same time, whatever hangs or pauses.

Two leaders at the same time are found exactly, because all processes of a machine share the monotonic clock. The other
assertions are expectations about time, and the machine may be busy. So a test that fails with short Leases runs again
with longer ones (`tests/controller/conftest.py`), and fails only if it fails at each pace. A test that finds two
leaders fails at once.
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

from hack.files import ROOT
from qualtrics_exporter.clock import SystemClock, WatchedClock
from qualtrics_exporter.controller.election.leader_election import LeaderElection
from qualtrics_exporter.controller.election.leadership import LeaderRecord
from qualtrics_exporter.controller.kube.auth import connect
from tests.controller.patient_api import patient_api
from tests.support.controlplane import ControlPlane
from tests.support.waiting import HANG_SECONDS

PACES = (1, 4, 16)
"""The factors of the times of a Lease, one for each attempt."""
PACE_VARIABLE = "QUALTRICS_EXPORTER_TEST_PACE"
LEASE = DEADLINE = RETRY = 0.0


def set_pace(factor: float) -> None:
    """Multiply all times of a Lease by this factor."""
    global LEASE, DEADLINE, RETRY
    LEASE, DEADLINE, RETRY = 2.0 * factor, 1.2 * factor, 0.3 * factor
    os.environ[PACE_VARIABLE] = str(factor)


set_pace(float(os.environ.get(PACE_VARIABLE, "1")))
NAME = "qualtrics-exporter"
TICK = 0.01


def fresh_record() -> LeaderRecord:
    return LeaderRecord(WatchedClock(SystemClock()))


class TwoLeaders(Exception):
    """Two replicas led at the same time: an error at any pace."""


class Tunnel:
    """A tunnel to the API server that can stall: connections stay open, and no data comes through."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        content = json.loads(kubeconfig.read_text())
        server = content["clusters"][0]["cluster"]["server"]
        self._target = server.removeprefix("https://").split(":")
        self._content = content
        self.kubeconfig = folder / f"tunnel-{id(self)}.kubeconfig"
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

    def stall(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers += [writer, far_writer]
        self._tasks += [asyncio.create_task(self._forward(reader, far_writer))]
        self._tasks += [asyncio.create_task(self._forward(far_reader, writer))]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


class Candidate:
    """A replica in this process. Its work records the times at which it leads."""

    def __init__(self, api: client.ApiClient, namespace: str, name: str, **options: Any) -> None:
        self.name = name
        self.ticks: list[float] = []
        self.changes: list[bool] = []
        self.killed = asyncio.Event()
        self.cancellation_seconds = 0.0  # how long the work continues after it was cancelled
        self.election = LeaderElection(
            patient_api(api), namespace, NAME, name, lease=LEASE, deadline=DEADLINE, retry=RETRY,
            record=fresh_record(), on_change=self.changes.append, on_deadline_missed=self._on_deadline_missed,
            **options,
        )  # fmt: skip
        self.task = asyncio.create_task(self.election.run(self.work))

    async def work(self) -> None:
        end = None
        while not self.killed.is_set() and not (end and time.monotonic() > end):
            try:
                self.ticks.append(time.monotonic())
                await asyncio.sleep(TICK)
            except asyncio.CancelledError:
                if not self.cancellation_seconds:
                    raise
                end = end or time.monotonic() + self.cancellation_seconds

    async def wait_until_leading(self, within: float = HANG_SECONDS) -> float:
        """Wait until it leads, and return the time at which its work first ran."""
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
        self.killed.set()  # simulates the end of the process


Start = Callable[..., Awaitable[Candidate]]


@pytest_asyncio.fixture
async def start(cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts candidates for the one Lease of this test."""
    async with AsyncExitStack() as stack:

        async def begin(name: str, *, kubeconfig: Path = cluster.kubeconfig, **options: Any) -> Candidate:
            monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
            api = await stack.enter_async_context(await connect())
            candidate = Candidate(api, namespace, name, **options)
            stack.push_async_callback(candidate.stop)
            stack.callback(candidate.killed.set)
            return candidate

        yield begin


@pytest_asyncio.fixture
async def tunnel(cluster: ControlPlane, tmp_path: Path) -> AsyncIterator[Tunnel]:
    async with Tunnel(cluster.kubeconfig, tmp_path) as tunnel:
        yield tunnel


def lease_spec(cluster: ControlPlane, namespace: str) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(
        cluster.kubectl("get", "lease", NAME, "--namespace", namespace, "-o", "json").stdout
    )["spec"]
    return spec


def check_one_leader_at_a_time(*candidates: Candidate) -> None:
    """Raise an error if the work of one candidate ran within the term of another."""
    ticks = sorted((tick, candidate.name) for candidate in candidates for tick in candidate.ticks)
    turns = [name for (_, name), (_, before) in zip(ticks[1:], ticks, strict=False) if name != before]
    terms = sum(sum(candidate.changes) for candidate in candidates)
    if len(turns) >= terms:
        raise TwoLeaders(f"the work of {terms} terms took turns: {turns}")


# Takeover


async def test_first_replica_leads_and_second_replica_stands_by(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    first = await start("first")
    await first.wait_until_leading()
    second = await start("second")
    await asyncio.sleep(2 * LEASE)

    assert first.election.leading
    assert not second.election.leading
    assert (first.changes, second.changes, second.ticks) == ([True], [], [])
    assert first.election.identity.startswith("first_")
    lease = lease_spec(cluster, namespace)
    assert lease["holderIdentity"] == first.election.identity
    assert lease["leaseDurationSeconds"] == LEASE
    assert lease["leaseTransitions"] == 0


async def test_standby_takes_over_at_once_from_a_leader_that_stops_gracefully(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    first = await start("first")
    await first.wait_until_leading()
    second = await start("second")
    await asyncio.sleep(RETRY)
    stopping = time.monotonic()
    await first.stop()

    assert await second.wait_until_leading() - stopping < LEASE / 2
    assert first.changes == [True, False]
    assert not first.election.leading
    assert lease_spec(cluster, namespace)["leaseTransitions"] == 1
    check_one_leader_at_a_time(first, second)


async def test_stopping_leader_keeps_the_lease_until_its_work_has_ended(start: Start) -> None:
    first = await start("first")
    first.cancellation_seconds = 2 * LEASE  # like a request that is in flight at SIGTERM
    await first.wait_until_leading()
    second = await start("second")
    await first.stop()
    stopped = time.monotonic()

    assert first.ticks[-1] - first.ticks[0] >= 2 * LEASE - TICK
    assert not first.killed.is_set()
    assert await second.wait_until_leading() - stopped < LEASE / 2
    check_one_leader_at_a_time(first, second)


async def test_election_ends_when_the_work_of_the_leader_returns(start: Start) -> None:
    first = await start("first")
    await first.wait_until_leading()
    first.killed.set()
    await asyncio.wait_for(first.task, HANG_SECONDS)
    assert first.changes == [True, False]
    assert await (await start("second")).wait_until_leading() > first.ticks[-1]


async def test_election_raises_the_error_of_the_work_and_releases_the_lease(
    cluster: ControlPlane, namespace: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing_work() -> None:
        raise TimeoutError("raised by the work")

    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    async with await connect() as api:
        election = LeaderElection(
            patient_api(api), namespace, NAME, "failing", lease=LEASE, deadline=DEADLINE, retry=RETRY,
            record=fresh_record(),
        )  # fmt: skip
        with pytest.raises(TimeoutError, match="raised by the work"):
            await election.run(failing_work)
    assert lease_spec(cluster, namespace).get("holderIdentity", "") == ""
    await (await start("second")).wait_until_leading(LEASE / 2)


async def test_exactly_one_of_five_replicas_leads(start: Start) -> None:
    candidates = [await start(f"candidate-{n}") for n in range(5)]
    await asyncio.sleep(5 * RETRY)
    assert sum(bool(candidate.ticks) for candidate in candidates) == 1
    check_one_leader_at_a_time(*candidates)


# The API server hangs


async def test_leader_that_cannot_reach_the_api_server_stops_before_another_leads(start: Start, tunnel: Tunnel) -> None:
    cut_off = await start("cut-off", kubeconfig=tunnel.kubeconfig)
    await cut_off.wait_until_leading()
    other = await start("other")
    await asyncio.sleep(RETRY)
    stalled = time.monotonic()
    tunnel.stall()
    taken_over = await other.wait_until_leading()

    assert cut_off.ticks[-1] <= stalled + DEADLINE + RETRY
    assert not cut_off.election.leading
    assert cut_off.election.problem
    assert taken_over - stalled < 1.5 * LEASE + 2 * RETRY
    check_one_leader_at_a_time(cut_off, other)

    tunnel.resume()  # what the replica sent in the meantime arrives now
    await asyncio.sleep(3 * RETRY)
    assert cut_off.changes == [True, False]
    assert other.election.leading
    assert cut_off.election.problem is None
    check_one_leader_at_a_time(cut_off, other)


async def test_leader_keeps_leading_through_short_stalls_of_its_connection(start: Start, tunnel: Tunnel) -> None:
    leader = await start("leader", kubeconfig=tunnel.kubeconfig)
    await leader.wait_until_leading()
    other = await start("other")
    for _ in range(3):
        tunnel.stall()
        await asyncio.sleep(2 * RETRY)
        tunnel.resume()
        await asyncio.sleep(2 * RETRY)
    assert leader.changes == [True]
    assert other.ticks == []


async def test_no_replica_leads_while_the_api_server_is_frozen_and_one_leads_afterwards(
    start: Start, cluster: ControlPlane
) -> None:
    first, second = await start("first"), await start("second")
    await asyncio.sleep(3 * RETRY)
    cluster.freeze()
    frozen = time.monotonic()
    try:
        await asyncio.sleep(2 * LEASE)
        assert max(first.ticks + second.ticks) <= frozen + DEADLINE + RETRY
        assert not first.election.leading
        assert not second.election.leading
    finally:
        await asyncio.to_thread(cluster.thaw)
    await asyncio.sleep(LEASE + 2 * RETRY)
    assert first.election.leading != second.election.leading
    check_one_leader_at_a_time(first, second)


# The leader misbehaves


async def test_work_that_ignores_its_cancellation_is_killed_before_another_replica_leads(
    start: Start, tunnel: Tunnel
) -> None:
    stubborn = await start("stubborn", kubeconfig=tunnel.kubeconfig)
    stubborn.cancellation_seconds = HANG_SECONDS
    await stubborn.wait_until_leading()
    other = await start("other")
    await asyncio.sleep(RETRY)
    tunnel.stall()
    await other.wait_until_leading()

    assert stubborn.killed.is_set()
    assert not stubborn.election.leading
    check_one_leader_at_a_time(stubborn, other)


async def test_cancelled_election_ends_although_its_work_swallows_the_cancellation(
    start: Start, tunnel: Tunnel
) -> None:
    cut_off = await start("cut-off", kubeconfig=tunnel.kubeconfig)
    cut_off.cancellation_seconds = (LEASE - DEADLINE) / 2
    await cut_off.wait_until_leading()
    tunnel.stall()
    await asyncio.sleep(DEADLINE + RETRY / 3)
    cut_off.task.cancel()
    done, _ = await asyncio.wait({cut_off.task}, timeout=LEASE)
    assert done


async def test_work_that_takes_some_time_to_end_is_not_killed(start: Start, tunnel: Tunnel) -> None:
    slow = await start("slow", kubeconfig=tunnel.kubeconfig)
    slow.cancellation_seconds = (LEASE - DEADLINE) / 2
    await slow.wait_until_leading()
    other = await start("other")
    await asyncio.sleep(RETRY)
    tunnel.stall()
    await other.wait_until_leading()

    assert not slow.killed.is_set()
    check_one_leader_at_a_time(slow, other)


# The Lease is tampered with


async def test_leader_recreates_its_deleted_lease_and_keeps_leading(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    leader = await start("leader")
    await leader.wait_until_leading()
    other = await start("other")
    await asyncio.sleep(2 * RETRY)
    for _ in range(3):
        await asyncio.to_thread(cluster.kubectl, "delete", "lease", NAME, "--namespace", namespace)
        await asyncio.sleep(2 * RETRY)

    assert lease_spec(cluster, namespace)["holderIdentity"] == leader.election.identity
    assert (leader.changes, other.ticks) == ([True], [])


async def test_standby_does_not_take_over_early_if_the_lease_of_an_unreachable_leader_is_deleted(
    start: Start, tunnel: Tunnel, cluster: ControlPlane, namespace: str
) -> None:
    cut_off = await start("cut-off", kubeconfig=tunnel.kubeconfig)
    await cut_off.wait_until_leading()
    other = await start("other")
    await asyncio.sleep(2 * RETRY)
    tunnel.stall()
    await asyncio.to_thread(cluster.kubectl, "delete", "lease", NAME, "--namespace", namespace)
    await other.wait_until_leading()
    check_one_leader_at_a_time(cut_off, other)


async def test_leader_that_is_replaced_in_the_lease_stops_at_its_next_renewal(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    leader = await start("leader")
    await leader.wait_until_leading()
    patch = {"spec": {"holderIdentity": "somebody", "renewTime": "2026-01-01T00:00:00.000000Z"}}
    await asyncio.to_thread(
        cluster.kubectl, "patch", "lease", NAME, "--namespace", namespace, "--type=merge", "-p", json.dumps(patch)
    )
    patched = time.monotonic()
    await asyncio.sleep(2 * RETRY)
    assert leader.changes == [True, False]
    assert leader.ticks[-1] < patched + 2 * RETRY
    assert await leader.wait_until_leading() > patched + LEASE - RETRY  # the old renewTime in the Lease does not count


async def test_leader_keeps_a_label_that_a_user_adds_to_the_lease(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    leader = await start("leader")
    await leader.wait_until_leading()
    await asyncio.to_thread(cluster.kubectl, "label", "lease", NAME, "--namespace", namespace, "team=dex")
    await asyncio.sleep(3 * RETRY)
    lease = json.loads(cluster.kubectl("get", "lease", NAME, "--namespace", namespace, "-o", "json").stdout)
    assert lease["metadata"]["labels"] == {"team": "dex"}
    assert leader.changes == [True]


async def test_replica_without_permission_for_leases_reports_it_and_does_not_lead(
    cluster: ControlPlane, namespace: str, start: Start
) -> None:
    candidate = await start("nobody", kubeconfig=cluster.service_account(namespace, "nobody"))
    await asyncio.sleep(3 * RETRY)
    assert candidate.election.problem == (
        f"the operator may not get leases.coordination.k8s.io in namespace {namespace} (HTTP 403): "
        "its role lacks that rule"
    )
    assert candidate.ticks == []


def test_election_rejects_unsafe_times() -> None:
    for times in ({"lease": 5, "deadline": 5}, {"deadline": 1, "retry": 2}, {"retry": 0}):
        with pytest.raises(ValueError, match="retry < deadline < lease"):
            LeaderElection(None, "n", "l", "i", record=fresh_record(), **times)


# Processes that are killed or paused


class Process:
    """A replica as a process, which prints the times at which it leads."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.ticks: list[float] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            self.ticks.append(float(line))

    async def wait_until_leading(self, within: float = HANG_SECONDS) -> float:
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
    replica = Process(
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.controller.election.test_leader_election",
            namespace,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
    )
    try:
        yield replica
    finally:
        await replica.end()


async def test_standby_takes_over_from_a_killed_leader_after_lease_expiry(
    start: Start, cluster: ControlPlane, namespace: str
) -> None:
    async with process(cluster, namespace) as first:
        await first.wait_until_leading()
        second = await start("second")
        await asyncio.sleep(RETRY)
        first.signal(signal.SIGKILL)
        killed = time.monotonic()
        assert await second.wait_until_leading() - killed < 1.5 * LEASE + 2 * RETRY
        assert second.ticks[0] - killed > LEASE / 2 - RETRY


@pytest.mark.parametrize("long", [False, True], ids=["shorter than the deadline", "longer than the Lease"])
async def test_paused_leader_leads_afterwards_only_if_its_lease_has_not_expired(
    start: Start, cluster: ControlPlane, namespace: str, long: bool
) -> None:
    seconds = 2 * LEASE if long else DEADLINE / 2
    async with process(cluster, namespace) as paused:
        await paused.wait_until_leading()
        other = await start("other")
        await asyncio.sleep(3 * RETRY)
        paused.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        paused.signal(signal.SIGCONT)
        resumed = time.monotonic()
        await asyncio.sleep(2 * RETRY)

        if not long:
            assert paused.ticks[-1] > resumed
            assert other.ticks == []
        else:
            assert other.election.leading
            if max(paused.ticks) >= other.ticks[0]:
                raise TwoLeaders


async def main(namespace: str) -> None:
    """Run a replica whose work consists of several tasks, as that of the operator does."""

    async def work() -> None:
        while True:
            await asyncio.sleep(TICK)
            if election.leading:
                print(time.monotonic(), flush=True)

    async def lead() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(work())

    async with await connect() as api:
        election = LeaderElection(
            patient_api(api), namespace, NAME, "process", lease=LEASE, deadline=DEADLINE, retry=RETRY,
            record=fresh_record(),
        )  # fmt: skip
        await election.run(lead)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
