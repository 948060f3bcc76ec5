"""Shares of a limited resource: tenants take turns, and no tenant can take everything.

A tenant may hold as much as is still free (the dynamic threshold of shared-memory switches, Choudhury and Hahne 1998).
One busy tenant therefore gets half of the total, two get a third each, n get 1/(n+1) each. Whatever the others do,
some of the total is free when a tenant that held nothing comes, and the shares need no configuration.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

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


@dataclass(frozen=True, slots=True)
class Grant(Generic[T]):
    """An item whose turn it is, and the units that its tenant holds until it is released."""

    tenant: Tenant
    item: T
    weight: int
    urgent: bool


class FairQueue(Generic[T]):
    """Items that wait for a part of `total`. Pure: the caller decides when to look.

    Within a tenant, urgent items come before the others, and each kind is served first come, first served. Background
    items have at most `background` units at once.
    """

    def __init__(self, total: int, *, background: int | None = None) -> None:
        self.total = total
        self.used = 0
        self._background = total if background is None else background
        self._held: dict[Tenant, int] = {}
        self._waiting: OrderedDict[Tenant, _Waiting[T]] = OrderedDict()  # in the order of their turns
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, tenant: Tenant, item: T, *, urgent: bool = True, weight: int = 1) -> None:
        """Let an item wait for `weight` units, all of them at most."""
        self._waiting.setdefault(tenant, _Waiting()).lane(urgent).append((item, min(weight, self.total)))
        self._length += 1

    def pop(self) -> Grant[T] | None:
        """The item whose turn it is; None if nothing can start.

        An item that waits only for free units keeps its turn: smaller ones do not overtake it for ever.
        """
        if not self._waiting:
            return None
        for urgent in (True, False) if self._background > 0 else (True,):
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
                self._forget_idle(tenant)
                self.used += weight
                self._held[tenant] = self._held.get(tenant, 0) + weight
                self._background -= 0 if urgent else weight
                return Grant(tenant, item, weight, urgent)
        return None

    def release(self, grant: Grant[T], weight: int | None = None) -> None:
        """Give the units of a grant back, or so many of them."""
        weight = grant.weight if weight is None else weight
        self.used -= weight
        self._background += 0 if grant.urgent else weight
        self._held[grant.tenant] -= weight
        if not self._held[grant.tenant]:
            del self._held[grant.tenant]

    def _forget_idle(self, tenant: Tenant) -> None:
        waiting = self._waiting[tenant]
        if not waiting.urgent and not waiting.background:
            del self._waiting[tenant]

    def discard(self, tenant: Tenant, item: T) -> None:
        """Let an item wait no longer."""
        waiting = self._waiting.get(tenant)
        for lane in (waiting.urgent, waiting.background) if waiting else ():
            for entry in lane:
                if entry[0] is item:
                    lane.remove(entry)
                    self._length -= 1
                    self._forget_idle(tenant)
                    return


Shrink = Callable[[int], None]


class FairSemaphore:
    """A semaphore whose units are shared between tenants."""

    def __init__(self, total: int) -> None:
        self._queue: FairQueue[Any] = FairQueue(total)

    @asynccontextmanager
    async def hold(self, tenant: Tenant, weight: int = 1) -> AsyncIterator[Shrink]:
        """Hold `weight` units within the block; wait for them first. Yields what gives all but so many units back."""
        granted: asyncio.Future[Grant[Any]] = asyncio.get_running_loop().create_future()
        self._queue.push(tenant, granted, weight=weight)
        self._grant()
        try:
            grant = await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # it was granted in the moment of the cancellation
                self._give_back(granted.result(), granted.result().weight)
            else:
                self._queue.discard(tenant, granted)
            raise
        held = grant.weight

        def shrink(units: int) -> None:
            nonlocal held
            if units < held:
                self._give_back(grant, held - units)
                held = units

        try:
            yield shrink
        finally:
            self._give_back(grant, held)

    def _give_back(self, grant: Grant[Any], weight: int) -> None:
        self._queue.release(grant, weight)
        self._grant()

    def _grant(self) -> None:
        while (grant := self._queue.pop()) is not None:
            if grant.item.cancelled():  # its task has not been told yet
                self._queue.release(grant)
            else:
                grant.item.set_result(grant)
