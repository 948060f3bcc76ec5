"""Shares of tenants: what one tenant can take, and what is left for the others."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualtrics_exporter.fair_share import FairQueue, FairSemaphore, Grant, Tenant
from tests.environment.waiting import HANG_SECONDS

A, B, C = (Tenant(name, "nexthink") for name in "abc")
A2 = Tenant("a", "another")


def filled(total: int, **waiting: int) -> FairQueue[str]:
    """A queue with so many items of each tenant in it."""
    queue: FairQueue[str] = FairQueue(total)
    for name, number in waiting.items():
        for n in range(number):
            queue.push(Tenant(name, "nexthink"), f"{name}{n}")
    return queue


def taken(queue: FairQueue[str]) -> list[str]:
    """Everything that can start now, in order."""
    started = []
    while (found := queue.pop()) is not None:
        started.append(found.item)
    return started


@pytest.mark.parametrize(("total", "share"), [(1, 1), (2, 1), (10, 5), (100, 50)])
def test_one_tenant_gets_half(total: int, share: int) -> None:
    assert len(taken(filled(total, a=500))) == share


def test_tenants_take_turns() -> None:
    assert taken(filled(8, a=9, b=9)) == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_tenant_that_comes_late_starts_at_once_although_others_hold_all_they_can() -> None:
    queue = filled(100, a=500, b=500)
    taken(queue)
    queue.push(C, "late")
    assert taken(queue) == ["late"]


def test_a_tenant_that_never_gives_back_does_not_stop_the_others() -> None:
    queue = filled(10, a=100, b=100)
    held: list[Grant[str]] = []
    for _ in range(200):  # the items of b end, those of a hang
        while (grant := queue.pop()) is not None:
            held.append(grant)
        for ended in [grant for grant in held if grant.tenant == B]:
            held.remove(ended)
            queue.release(ended)
    assert 0 < len(held) <= 5
    assert len(queue) == 100 - len(held), "nothing of b waits"


def test_urgent_items_come_before_background_ones_of_every_tenant() -> None:
    queue: FairQueue[str] = FairQueue(100)
    queue.push(A, "check", urgent=False)
    queue.push(B, "slot")
    assert taken(queue) == ["slot", "check"]


def test_background_items_leave_most_of_the_room_to_urgent_ones() -> None:
    queue: FairQueue[str] = FairQueue(100, background=4)
    for n in range(5):
        queue.push(A, f"check-{n}", urgent=False)
    held = [queue.pop() for _ in range(3)]
    assert [grant.item if grant else None for grant in held] == ["check-0", "check-1", None]
    queue.push(A, "slot")
    assert taken(queue) == ["slot"]
    assert held[0]
    queue.release(held[0])
    assert taken(queue) == ["check-2"]


def test_background_items_of_a_tenant_that_hang_do_not_stop_those_of_another() -> None:
    queue: FairQueue[str] = FairQueue(1000, background=50)
    for n in range(500):
        queue.push(A, f"hanging-{n}", urgent=False)
    assert len(taken(queue)) == 25
    queue.push(B, "check", urgent=False)
    assert taken(queue) == ["check"]


@pytest.mark.parametrize("urgent", [True, False])
def test_a_namespace_with_many_secrets_does_not_take_everything(urgent: bool) -> None:
    queue: FairQueue[str] = FairQueue(100, background=100)
    for n in range(200):
        queue.push(Tenant("greedy", f"secret-{n}"), "greedy", urgent=urgent)
    assert len(taken(queue)) == 67
    queue.push(B, "b", urgent=urgent)
    assert taken(queue) == ["b"]


def test_a_tenant_that_holds_all_it_can_leaves_something_to_others_of_its_namespace() -> None:
    queue = filled(100, a=500)
    taken(queue)
    for n in range(500):
        queue.push(A2, f"n{n}")
    assert len(taken(queue)) > 10
    queue.push(C, "late")
    assert taken(queue) == ["late"]


def test_namespaces_take_turns_however_many_secrets_one_has() -> None:
    queue: FairQueue[str] = FairQueue(100)
    for n in range(20):
        queue.push(Tenant("a", f"secret-{n}"), f"a{n}")
    for n in range(3):
        queue.push(B, f"b{n}")
    assert taken(queue)[:6] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_large_item_is_not_overtaken_for_ever() -> None:
    queue: FairQueue[str] = FairQueue(10)
    queue.push(A, "a", weight=4)
    first = queue.pop()
    assert first
    queue.push(B, "large", weight=8)
    queue.push(C, "small", weight=1)
    assert taken(queue) == []
    queue.release(first)
    assert taken(queue) == ["large", "small"]


def test_an_item_larger_than_everything_starts_alone() -> None:
    queue: FairQueue[str] = FairQueue(10)
    queue.push(A, "huge", weight=1000)
    assert taken(queue) == ["huge"]
    assert queue.used == 10


@given(
    st.integers(1, 30),
    st.lists(st.tuples(st.sampled_from([A, A2, B, C]), st.integers(1, 40), st.booleans()), max_size=60),
)
def test_never_more_than_all_is_held_and_nothing_waits_for_ever(
    total: int, items: list[tuple[Tenant, int, bool]]
) -> None:
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


async def test_a_holder_that_needs_less_gives_the_rest_back_at_once() -> None:
    semaphore = FairSemaphore(10)
    async with semaphore.hold(A, 10) as shrink, asyncio.timeout(HANG_SECONDS):
        shrink(3)
        async with semaphore.hold(B, 7):
            pass
    async with asyncio.timeout(HANG_SECONDS), semaphore.hold(C, 10):
        pass


async def test_units_that_are_given_back_in_the_moment_of_a_cancellation_are_not_lost() -> None:
    semaphore, tenant = FairSemaphore(1), Tenant("a", "")

    async def hold() -> None:
        async with semaphore.hold(tenant):
            pass

    async with semaphore.hold(tenant):
        waiting = asyncio.create_task(hold())
        await asyncio.sleep(0)
        waiting.cancel()  # it is told in the next round of the loop, after the unit was given back
    async with asyncio.timeout(HANG_SECONDS):
        await hold()
    assert waiting.cancelled() or not waiting.done()
    await asyncio.wait({waiting})


async def test_a_waiter_that_is_cancelled_leaves_its_units_to_the_others() -> None:
    semaphore = FairSemaphore(1)
    got: list[str] = []

    async def hold(name: str, until: asyncio.Event) -> None:
        async with semaphore.hold(Tenant(name, "")):
            got.append(name)
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
    assert got == ["a", "c"]
