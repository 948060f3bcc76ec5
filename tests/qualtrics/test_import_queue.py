"""Imports that overlap: one run posts several chunks, and several runs share a mailing list. All on virtual time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any

import pytest

from qualtrics_exporter.fair_share import Tenant
from qualtrics_exporter.qualtrics.client import QualtricsClient
from qualtrics_exporter.qualtrics.credentials import qualtrics_from
from qualtrics_exporter.qualtrics.imports import MAX_OF_LIST, MAX_OF_RUN, Imported
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import OutcomeUnknown
from qualtrics_exporter.remote.loop_time import LoopTime
from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.sandbox.middleware import Reply
from tests.simulation import patches
from tests.simulation.faults import Faults
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.remote import Network
from tests.simulation.tenants import WorldClock, brand

TEAM = Tenant("team", "nexthink")


class VirtualClock(WorldClock):
    """The time of the loop."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class VirtualBrand:
    """A brand of Qualtrics on virtual time, and clients of one process for it."""

    def __init__(self, seconds: float, *, busy_list: str = "queue") -> None:
        self.loop = VirtualLoop()
        self.calls: list[tuple[str, int]] = []
        clock = VirtualClock(self.loop.time)
        self.brand, hosts = brand(0, clock)
        self.account = self.brand.account
        self.account.import_polls, self.account.import_seconds = 10**6, seconds
        self.account.busy_list = busy_list  # type: ignore[assignment]
        self.lists = [self.brand.add_target(number)["mailingListId"] for number in range(150)]
        network = Network(self.loop, Faults(frozenset(), Random("api"), Random("remote")), self._record, self._ignore)
        network.hosts |= hosts
        self.network = network
        transport: Any = network.transport("operator", self._ignore)
        self.context = ApiContext(clock=clock, transport=transport, loop_time=LoopTime(lambda: 0.0))
        self.most_in_progress = 0
        self.ended: dict[str, float] = {}

    def _ignore(self, *_: Any) -> None:
        """Traces are not needed."""

    def _record(self, _: str, request: Request, reply: Reply, __: float) -> None:
        self.calls.append((request.operation, reply.status))
        self.most_in_progress = max(self.most_in_progress, self.brand.state.running_imports)

    def count(self, operation: str, status: int | None = None) -> int:
        return sum(call == operation and status in (None, reply) for call, reply in self.calls)

    async def run(self, name: str, parts: int, *, mailing_list: int = 0, tenant: Tenant = TEAM) -> list[Imported]:
        """Import so many chunks of two people into a new batch."""
        client = QualtricsClient(
            self.context, qualtrics_from(_encoded(self.brand.secret()), "Secret team/qualtrics"), tenant
        )
        batch_id = await client.create_batch(self.account.directory_id)
        chunks = [[f"{name}-{n}-{person}@example.com" for person in "ab"] for n in range(parts)]
        results = client.import_chunks(
            self.account.directory_id, self.lists[mailing_list], batch_id, name, iter(chunks)
        )
        imported = [one async for one in results]
        self.ended[name] = self.loop.time()
        people = Counter(self.brand.recorder.batches[batch_id].addresses)
        if not any(one.limited for one in imported):
            assert people == Counter(address for chunk in chunks for address in chunk)
        return imported

    def play(self, *runs: Coroutine[Any, Any, Any], seconds: float = 7200) -> list[Any]:
        """Let the runs work at the same time. Returns their results, or their errors."""
        process = Process("operator")
        tasks = [self.loop.spawn(process, run, f"run {n}") for n, run in enumerate(runs)]
        with patches.repeatable(0):
            self.loop.run_until(self.loop.time() + seconds)
        return [task.exception() or task.result() for task in tasks]


def _encoded(data: dict[str, str]) -> dict[str, bytes]:
    return {key: value.encode() for key, value in data.items()}


@pytest.fixture
def create() -> Iterator[Callable[..., VirtualBrand]]:
    brands: list[VirtualBrand] = []

    def create(*arguments: Any, **options: Any) -> VirtualBrand:
        brands.append(VirtualBrand(*arguments, **options))
        return brands[-1]

    yield create
    for one in brands:
        one.loop.dispose()


@pytest.mark.parametrize("seconds", [1, 4, 15, 60])
def test_qualtrics_always_has_the_next_chunk_of_a_run(create: Callable[..., VirtualBrand], seconds: float) -> None:
    qualtrics = create(seconds)
    (imported,) = qualtrics.play(qualtrics.run("run", 20))
    assert imported == [Imported(2, 0, 0)] * 20
    noticed_late = 0.35 * seconds + 1
    assert 20 * seconds <= qualtrics.ended["run"] < 20 * seconds + noticed_late
    assert qualtrics.most_in_progress == MAX_OF_RUN


def test_instant_imports_are_not_slowed_down(create: Callable[..., VirtualBrand]) -> None:
    qualtrics = create(0)
    qualtrics.play(qualtrics.run("run", 70))
    assert qualtrics.ended["run"] < 70 * 0.3  # a call and its reply take 0.1 s on average


def test_exporters_that_share_a_mailing_list_keep_qualtrics_busy(create: Callable[..., VirtualBrand]) -> None:
    """The example of the README has one mailing list."""
    qualtrics = create(15)
    qualtrics.play(*(qualtrics.run(f"run{n}", 1) for n in range(100)))
    assert len(qualtrics.ended) == 100
    assert max(qualtrics.ended.values()) < 100 * 15 * 1.02
    assert qualtrics.most_in_progress <= MAX_OF_LIST


def test_small_run_waits_for_few_chunks_of_a_large_one(create: Callable[..., VirtualBrand]) -> None:
    qualtrics = create(10)

    async def later() -> None:
        await asyncio.sleep(35)
        await qualtrics.run("small", 1)

    qualtrics.play(qualtrics.run("large", 50), later())
    assert qualtrics.ended["small"] < 35 + (MAX_OF_RUN + 2) * 10
    assert qualtrics.ended["large"] < 51 * 10 * 1.05


def test_tenant_with_many_large_runs_leaves_places_to_another_tenant(create: Callable[..., VirtualBrand]) -> None:
    qualtrics = create(10)

    async def later() -> None:
        await asyncio.sleep(35)
        await qualtrics.run("other", 1, tenant=Tenant("other-team", "nexthink"))

    qualtrics.play(*(qualtrics.run(f"large{n}", 30) for n in range(10)), later())
    assert qualtrics.ended["other"] < 35 + (MAX_OF_LIST + 1) * 10


def test_runs_that_share_a_list_end_at_about_the_same_time(create: Callable[..., VirtualBrand]) -> None:
    qualtrics = create(5)
    qualtrics.play(*(qualtrics.run(f"run{n}", 10) for n in range(5)))
    assert max(qualtrics.ended.values()) < 50 * 5 * 1.05
    assert min(qualtrics.ended.values()) > 25 * 5


def test_imports_into_different_lists_overlap_within_the_queue_of_the_brand(
    create: Callable[..., VirtualBrand],
) -> None:
    """Qualtrics processes 25 imports at once and queues 100: it refuses more than that."""
    qualtrics = create(30)
    tenants = [Tenant(f"team-{n % 10}", "nexthink") for n in range(150)]
    qualtrics.play(*(qualtrics.run(f"run{n}", 2, mailing_list=n, tenant=tenants[n]) for n in range(150)))
    assert len(qualtrics.ended) == 150
    assert qualtrics.count("import_contacts", 429) == 0
    assert 60 < qualtrics.most_in_progress <= 100
    assert max(qualtrics.ended.values()) < 300 * 30 / 25 * 1.2


def test_looks_at_many_imports_stay_within_their_rate_limit(create: Callable[..., VirtualBrand]) -> None:
    qualtrics = create(2)
    qualtrics.play(*(qualtrics.run(f"run{n}", 1, mailing_list=n) for n in range(100)))
    assert len(qualtrics.ended) == 100
    assert qualtrics.count("import_status", 429) == 0
    assert qualtrics.count("import_status") < 500
    assert max(qualtrics.ended.values()) < 100 / 25 * 2 + 15


def test_brand_that_refuses_a_second_import_gets_one_at_a_time(create: Callable[..., VirtualBrand]) -> None:
    """Whether Qualtrics queues imports for a list is documented, and was not tried."""
    qualtrics = create(10, busy_list="refuse")
    first, second = qualtrics.play(qualtrics.run("first", 10), qualtrics.run("second", 10), seconds=1000)
    assert [one.created for one in first + second] == [2] * 20
    assert 1 <= qualtrics.count("import_contacts", 429) <= 2
    assert max(qualtrics.ended.values()) < 20 * 10 * 1.4

    refused = qualtrics.count("import_contacts", 429)
    (third,) = qualtrics.play(qualtrics.run("third", 10))
    assert third == [Imported(2, 0, 0)] * 10
    assert qualtrics.count("import_contacts", 429) == refused


def test_refused_import_is_reported_because_qualtrics_may_have_accepted_it(
    create: Callable[..., VirtualBrand],
) -> None:
    qualtrics = create(10, busy_list="refuse")
    (imported,) = qualtrics.play(qualtrics.run("run", 5))
    assert [one.limited for one in imported] == [False, True, False, False, False]


def test_import_waits_for_an_import_of_another_client(create: Callable[..., VirtualBrand]) -> None:
    qualtrics = create(30, busy_list="refuse")
    directory_id, mailing_list = qualtrics.account.directory_id, qualtrics.lists[0]
    qualtrics.brand.state.start_import(directory_id, mailing_list, "BT_other", [{"email": "x@example.com"}])
    (imported,) = qualtrics.play(qualtrics.run("run", 1))
    assert imported == [Imported(2, 0, 0, limited=True)]


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_run_that_ends_early_gives_its_places_back(create: Callable[..., VirtualBrand], how: str) -> None:
    qualtrics = create(10)
    if how == "failed":
        qualtrics.account.import_ends = "failed"
        (error,) = qualtrics.play(qualtrics.run("run", 20))
        assert isinstance(error, OutcomeUnknown)
        qualtrics.account.import_ends = "complete"
    else:

        async def cancelled() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(25):
                    await qualtrics.run("run", 20)

        qualtrics.play(cancelled())
    assert "run" not in qualtrics.ended
    began = qualtrics.loop.time()
    others = [qualtrics.run(f"run{n}", 2) for n in range(MAX_OF_LIST)]
    qualtrics.play(*others)
    assert len(qualtrics.ended) == MAX_OF_LIST
    assert max(qualtrics.ended.values()) - began < 2 * MAX_OF_LIST * 10 * 1.1


def test_slow_imports_of_many_runs_into_one_list_all_end(create: Callable[..., VirtualBrand]) -> None:
    """The limit of 30 minutes is for one import, and not for those of other runs before it."""
    qualtrics = create(260)
    runs = [qualtrics.run(f"run{n}", 4, tenant=Tenant(f"team-{n}", "nexthink")) for n in range(12)]
    results = qualtrics.play(*runs, seconds=20_000)
    assert [sum(one.created for one in imported) for imported in results] == [8] * 12


@pytest.mark.parametrize("seconds", [15, 40])
def test_status_that_does_not_exist_before_an_import_starts_means_not_yet(
    create: Callable[..., VirtualBrand], seconds: float
) -> None:
    qualtrics = create(seconds)
    handled = qualtrics.network._handled

    def hidden_while_queued(host: str, request: Request) -> Reply:
        reply = handled(host, request)
        job = qualtrics.brand.state.jobs.get(request.url.rest.rpartition("/")[2])
        if request.operation == "import_status" and job and job.started_at is None:
            return qualtrics.network._error(host, request, 404)
        return reply

    qualtrics.network._handled = hidden_while_queued  # type: ignore[method-assign]
    qualtrics.play(*(qualtrics.run(f"run{n}", 1, tenant=Tenant(f"team-{n}", "nexthink")) for n in range(8)))
    assert len(qualtrics.ended) == 8


def test_import_whose_status_never_exists_has_an_unknown_outcome(create: Callable[..., VirtualBrand]) -> None:
    qualtrics = create(15)
    handled = qualtrics.network._handled

    def without_status(host: str, request: Request) -> Reply:
        status = request.operation == "import_status"
        return qualtrics.network._error(host, request, 404) if status else handled(host, request)

    qualtrics.network._handled = without_status  # type: ignore[method-assign]
    (error,) = qualtrics.play(qualtrics.run("run", 2))
    assert isinstance(error, OutcomeUnknown)


def test_runs_of_a_tenant_that_has_its_share_do_not_slow_down_another_tenant(
    create: Callable[..., VirtualBrand],
) -> None:
    qualtrics = create(10)
    busy = [qualtrics.run(f"busy{n}", 4, mailing_list=n, tenant=Tenant("busy", "nexthink")) for n in range(70)]
    qualtrics.play(*busy, qualtrics.run("other", 12, mailing_list=100, tenant=Tenant("other", "nexthink")))
    assert qualtrics.ended["other"] < 190, "its own imports take 120 s, and Qualtrics does 25 at once"


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("chunk", [0, 3, 7])
def test_429_for_one_chunk_is_found_by_counting_if_qualtrics_accepted_it(
    create: Callable[..., VirtualBrand], chunk: int, accepted: bool
) -> None:
    qualtrics = create(10)
    handled, posts = qualtrics.network._handled, 0

    def limited_once(host: str, request: Request) -> Reply:
        nonlocal posts
        posts += request.operation == "import_contacts"
        if request.operation == "import_contacts" and posts == chunk + 1:
            if accepted:
                handled(host, request)
            return qualtrics.network._error(host, request, 429)
        return handled(host, request)

    qualtrics.network._handled = limited_once  # type: ignore[method-assign]
    (imported,) = qualtrics.play(qualtrics.run("run", 8))
    assert [one.limited for one in imported] == [n == chunk for n in range(8)]
    (batch,) = qualtrics.brand.recorder.batches.values()
    assert len(batch.addresses) == (18 if accepted else 16)


def test_only_the_list_that_refused_a_second_import_gets_one_at_a_time(create: Callable[..., VirtualBrand]) -> None:
    qualtrics = create(10, busy_list="refuse")
    qualtrics.play(qualtrics.run("first", 5), seconds=500)
    assert qualtrics.count("import_contacts", 429) == 1
    qualtrics.account.busy_list = "queue"
    qualtrics.play(qualtrics.run("other list", 5, mailing_list=1), seconds=500)
    assert qualtrics.most_in_progress == MAX_OF_RUN


def test_few_runs_of_a_list_that_refuses_a_second_import_are_refused(create: Callable[..., VirtualBrand]) -> None:
    qualtrics = create(10, busy_list="refuse")
    results = qualtrics.play(*(qualtrics.run(f"run{n}", 2) for n in range(30)), seconds=3000)
    assert len(qualtrics.ended) == 30
    assert sum(any(one.limited for one in imported) for imported in results) <= MAX_OF_LIST
