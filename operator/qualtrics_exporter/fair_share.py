"""Shares of a limited resource: tenants take turns, and no tenant can take everything.

A tenant may hold as much as is still free (the dynamic threshold of shared-memory switches, Choudhury and Hahne 1998).
One busy tenant therefore gets half of the total, two get a third each, n get 1/(n+1) each. Whatever the others do,
some of the total is free when a tenant that held nothing comes, and the shares need no configuration.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Tenant(NamedTuple):
    """Who shares: the exporters of one namespace that use the same Nexthink credentials."""

    namespace: str
    secret: str


NOBODY = Tenant("", "")
"""Where there is only one: on the command line."""


@dataclass(slots=True)
class _Waiting(Generic[T]):
    urgent: deque[tuple[T, int]] = field(default_factory=deque)
    background: deque[tuple[T, int]] = field(default_factory=deque)

    def lane(self, urgent: bool) -> deque[tuple[T, int]]:
        return self.urgent if urgent else self.background


class FairQueue(Generic[T]):
    """Items that wait for a part of `total`. Pure: the caller decides when to look.

    Within a tenant, urgent items come before the others, and each kind is served first come, first served.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._held: dict[Tenant, int] = {}
        self._waiting: OrderedDict[Tenant, _Waiting[T]] = OrderedDict()  # in the order of their turns
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, tenant: Tenant, item: T, *, urgent: bool = True, weight: int = 1) -> None:
        """Let an item wait for `weight` units, all of them at most."""
        self._waiting.setdefault(tenant, _Waiting()).lane(urgent).append((item, min(weight, self.total)))
        self._length += 1

    def pop(self) -> tuple[Tenant, T, int] | None:
        """The tenant and the item whose turn it is, and the units that it holds from now on; None if nothing can start.

        An item that waits only for free units keeps its turn: smaller ones do not overtake it for ever.
        """
        for urgent in (True, False):
            for tenant, waiting in self._waiting.items():
                lane = waiting.lane(urgent)
                if not lane:
                    continue
                item, weight = lane[0]
                free = self.total - self.used
                if self._held.get(tenant, 0) + weight > max(weight, free):
                    continue  # it has its share
                if weight > free:
                    return None
                lane.popleft()
                self._length -= 1
                self._waiting.move_to_end(tenant)
                if not waiting.urgent and not waiting.background:
                    del self._waiting[tenant]
                self.used += weight
                self._held[tenant] = self._held.get(tenant, 0) + weight
                return tenant, item, weight
        return None

    def release(self, tenant: Tenant, weight: int = 1) -> None:
        """Give units back."""
        self.used -= weight
        self._held[tenant] -= weight
        if not self._held[tenant]:
            del self._held[tenant]

    def discard(self, tenant: Tenant, item: T) -> None:
        """Let an item wait no longer."""
        waiting = self._waiting.get(tenant)
        for lane in (waiting.urgent, waiting.background) if waiting else ():
            for entry in lane:
                if entry[0] is item:
                    lane.remove(entry)
                    self._length -= 1
                    return


class FairSemaphore:
    """A semaphore whose units are shared between tenants."""

    def __init__(self, total: int) -> None:
        self._queue: FairQueue[asyncio.Future[int]] = FairQueue(total)

    @asynccontextmanager
    async def hold(self, tenant: Tenant, weight: int = 1) -> AsyncIterator[None]:
        """Hold `weight` units within the block; wait for them first."""
        granted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.push(tenant, granted, weight=weight)
        self._grant()
        try:
            held = await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # it was granted in the moment of the cancellation
                self._give_back(tenant, granted.result())
            else:
                self._queue.discard(tenant, granted)
            raise
        try:
            yield
        finally:
            self._give_back(tenant, held)

    def _give_back(self, tenant: Tenant, weight: int) -> None:
        self._queue.release(tenant, weight)
        self._grant()

    def _grant(self) -> None:
        while (granted := self._queue.pop()) is not None:
            tenant, waiter, weight = granted
            if waiter.cancelled():  # its task has not been told yet
                self._queue.release(tenant, weight)
            else:
                waiter.set_result(weight)
