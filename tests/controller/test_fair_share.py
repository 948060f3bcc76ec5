"""Shares of tenants: what one tenant can take, and what is left for the others."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.fair_share import FairQueue, FairSemaphore, Grant, Tenant
from tests.support.waiting import HANG_SECONDS

A, B, C = (Tenant(name, "nexthink") for name in "abc")
A2 = Tenant("a", "another")


def queue_of(total: int, **items: int) -> FairQueue[str]:
    """Return a queue with this number of items of each tenant."""
    queue: FairQueue[str] = FairQueue(total)
    for name, number in items.items():
        for n in range(number):
            queue.push(Tenant(name, "nexthink"), f"{name}{n}")
    return queue


def start_all(queue: FairQueue[str]) -> list[str]:
    """Start everything that can start now, and return it in order."""
    started = []
    while (found := queue.pop()) is not None:
        started.append(found.item)
    return started


@pytest.mark.parametrize(("total", "share"), [(1, 1), (2, 1), (10, 5), (100, 50)])
def test_only_tenant_gets_half_of_the_total(total: int, share: int) -> None:
    assert len(start_all(queue_of(total, a=500))) == share


def test_tenants_take_turns() -> None:
    assert start_all(queue_of(8, a=9, b=9)) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_new_tenant_starts_at_once_although_the_others_hold_their_maximum() -> None:
    queue = queue_of(100, a=500, b=500)
    start_all(queue)
    queue.push(C, "late")
    assert start_all(queue) == ["late"]


def test_tenant_whose_items_hang_does_not_stop_the_others() -> None:
    queue = queue_of(10, a=100, b=100)
    held: list[Grant[str]] = []
    for _ in range(200):  # the items of b end, those of a hang
        while (grant := queue.pop()) is not None:
            held.append(grant)
        for ended in [grant for grant in held if grant.tenant == B]:
            held.remove(ended)
            queue.release(ended)
    assert 0 < len(held) <= 5
    assert len(queue) == 100 - len(held), "no item of b waits"


def test_urgent_items_start_before_background_items_of_all_tenants() -> None:
    queue: FairQueue[str] = FairQueue(100)
    queue.push(A, "check", urgent=False)
    queue.push(B, "slot")
    assert start_all(queue) == ["slot", "check"]


def test_background_items_leave_most_of_the_total_to_urgent_items() -> None:
    queue: FairQueue[str] = FairQueue(100, background=4)
    for n in range(5):
        queue.push(A, f"check-{n}", urgent=False)
    held = [queue.pop() for _ in range(3)]
    assert [grant.item if grant else None for grant in held] == ["check-0", "check-1", None]
    queue.push(A, "slot")
    assert start_all(queue) == ["slot"]
    assert held[0]
    queue.release(held[0])
    assert start_all(queue) == ["check-2"]


def test_hanging_background_items_of_one_tenant_do_not_stop_those_of_another() -> None:
    queue: FairQueue[str] = FairQueue(1000, background=50)
    for n in range(500):
        queue.push(A, f"hanging-{n}", urgent=False)
    assert len(start_all(queue)) == 25
    queue.push(B, "check", urgent=False)
    assert start_all(queue) == ["check"]


@pytest.mark.parametrize("urgent", [True, False], ids=["urgent", "background"])
def test_namespace_with_many_secrets_gets_at_most_two_thirds_of_the_total(urgent: bool) -> None:
    queue: FairQueue[str] = FairQueue(100, background=100)
    for n in range(200):
        queue.push(Tenant("greedy", f"secret-{n}"), "greedy", urgent=urgent)
    assert len(start_all(queue)) == 67
    queue.push(B, "b", urgent=urgent)
    assert start_all(queue) == ["b"]


def test_tenant_with_its_maximum_leaves_units_to_other_tenants_of_its_namespace() -> None:
    queue = queue_of(100, a=500)
    start_all(queue)
    for n in range(500):
        queue.push(A2, f"n{n}")
    assert len(start_all(queue)) > 10
    queue.push(C, "late")
    assert start_all(queue) == ["late"]


def test_namespaces_take_turns_regardless_of_the_number_of_their_secrets() -> None:
    queue: FairQueue[str] = FairQueue(100)
    for n in range(20):
        queue.push(Tenant("a", f"secret-{n}"), f"a{n}")
    for n in range(3):
        queue.push(B, f"b{n}")
    assert start_all(queue)[:6] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_large_item_starts_before_a_small_item_that_came_later() -> None:
    queue: FairQueue[str] = FairQueue(10)
    queue.push(A, "a", weight=4)
    first = queue.pop()
    assert first
    queue.push(B, "large", weight=8)
    queue.push(C, "small", weight=1)
    assert start_all(queue) == []
    queue.release(first)
    assert start_all(queue) == ["large", "small"]


def test_item_larger_than_the_total_starts_alone() -> None:
    queue: FairQueue[str] = FairQueue(10)
    queue.push(A, "huge", weight=1000)
    assert start_all(queue) == ["huge"]
    assert queue.used == 10


@given(
    st.integers(1, 30),
    st.lists(st.tuples(st.sampled_from([A, A2, B, C]), st.integers(1, 40), st.booleans()), max_size=60),
)
def test_queue_never_exceeds_its_total_and_starts_every_item(total: int, items: list[tuple[Tenant, int, bool]]) -> None:
    queue: FairQueue[int] = FairQueue(total)
    for number, (tenant, weight, urgent) in enumerate(items):
        queue.push(tenant, number, urgent=urgent, weight=weight)
    held: list[Grant[int]] = []
    done = []
    for _ in range(len(items) + 1):
        while (found := queue.pop()) is not None:
            held.append(found)
            assert queue.used == sum(grant.weight for grant in held) <= total
        if held:
            grant = held.pop(0)
            queue.release(grant)
            done.append(grant.item)
    assert sorted(done) == list(range(len(items)))
    assert (queue.used, len(queue)) == (0, 0)


async def test_holder_that_shrinks_its_share_releases_the_rest_at_once() -> None:
    semaphore = FairSemaphore(10)
    async with semaphore.hold(A, 10) as shrink, asyncio.timeout(HANG_SECONDS):
        shrink(3)
        async with semaphore.hold(B, 7):
            pass
    async with asyncio.timeout(HANG_SECONDS), semaphore.hold(C, 10):
        pass


async def test_units_that_are_released_during_a_cancellation_are_not_lost() -> None:
    semaphore, tenant = FairSemaphore(1), Tenant("a", "")

    async def hold() -> None:
        async with semaphore.hold(tenant):
            pass

    async with semaphore.hold(tenant):
        waiting = asyncio.create_task(hold())
        await asyncio.sleep(0)
        waiting.cancel()  # takes effect in the next iteration of the loop, after the unit was released
    async with asyncio.timeout(HANG_SECONDS):
        await hold()
    assert waiting.cancelled() or not waiting.done()
    await asyncio.wait({waiting})


async def test_cancelled_waiter_leaves_its_units_to_the_next_waiter() -> None:
    semaphore = FairSemaphore(1)
    holders: list[str] = []

    async def hold(name: str, until: asyncio.Event) -> None:
        async with semaphore.hold(Tenant(name, "")):
            holders.append(name)
            await until.wait()

    first, never = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(hold("a", first))
        cancelled = group.create_task(hold("b", never))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cancelled.cancel()
        group.create_task(hold("c", first))
        await asyncio.sleep(0)
        first.set()
    assert holders == ["a", "c"]
