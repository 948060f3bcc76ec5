"""Shares of a limited resource: tenants take turns, and no tenant can take everything.

A tenant may hold as much as is still free (the dynamic threshold of shared-memory switches, Choudhury and Hahne 1998).
One busy tenant therefore gets half of the total, two get a third each, n get 1/(n+1) each. Whatever the others do,
some of the total is free when a tenant that held nothing comes, and the shares need no configuration.

A team can create as many Secrets in its namespace as it likes, and each makes a tenant. So namespaces take turns too,
and the tenants of one namespace together may hold twice of what is free: two thirds of the total.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

NAMESPACE_FACTOR = 2
"""The tenants of one namespace may hold this many times the free units. With 1, a tenant that holds its maximum would
leave nothing to the other tenants of its namespace.
"""


class Tenant(NamedTuple):
    """The exporters of one namespace that use the same Nexthink credentials."""

    namespace: str
    secret: str


NOBODY = Tenant("", "")
"""The only tenant of the command line."""

TENANT: ContextVar[Tenant] = ContextVar("tenant", default=NOBODY)
"""The tenant that a task works for, where it cannot be passed as an argument: in connections and DNS look-ups."""


@contextmanager
def acting_for(tenant: Tenant) -> Iterator[None]:
    """Within the block, this task works on behalf of that tenant."""
    before = TENANT.set(tenant)
    try:
        yield
    finally:
        TENANT.reset(before)


@dataclass(slots=True)
class _Waiting(Generic[T]):
    urgent: deque[tuple[T, int]] = field(default_factory=deque)
    background: deque[tuple[T, int]] = field(default_factory=deque)

    def lane(self, urgent: bool) -> deque[tuple[T, int]]:
        return self.urgent if urgent else self.background


class _Shares:
    """The units of a total that each tenant and namespace holds."""

    def __init__(self, total: int, each: int | None = None) -> None:
        self.total = total
        self.used = 0
        self._each = total if each is None else each
        self._tenants: Counter[Tenant] = Counter()
        self._namespaces: Counter[str] = Counter()

    @property
    def free(self) -> int:
        return self.total - self.used

    def allow_namespace(self, namespace: str, weight: int) -> bool:
        """Whether `weight` more units are within the share of the namespace. True if it holds nothing."""
        return self._namespaces[namespace] + weight <= max(weight, NAMESPACE_FACTOR * self.free)

    def allow(self, tenant: Tenant, weight: int) -> bool:
        """Whether `weight` more units are within the shares of the tenant and of its namespace."""
        most = max(weight, min(self._each, self.free))
        return self._tenants[tenant] + weight <= most and self.allow_namespace(tenant.namespace, weight)

    def change(self, tenant: Tenant, weight: int) -> None:
        """Add units to the tenant, or with a negative weight, remove them."""
        self.used += weight
        self._tenants[tenant] += weight
        self._namespaces[tenant.namespace] += weight
        if not self._tenants[tenant]:
            del self._tenants[tenant]
        if not self._namespaces[tenant.namespace]:
            del self._namespaces[tenant.namespace]


@dataclass(frozen=True, slots=True)
class Grant(Generic[T]):
    """A started item, and the units that its tenant holds until the release."""

    tenant: Tenant
    item: T
    weight: int
    urgent: bool


class FairQueue(Generic[T]):
    """Items that wait for a part of `total`. Pure: the caller decides when to look.

    Namespaces take turns, and within a namespace its tenants. Within a tenant, urgent items come before the others, and
    each kind is served first come, first served. Background items have at most `background` units at once, which are
    shared in the same way, and those of one tenant at most `background_each`.
    """

    def __init__(self, total: int, *, background: int | None = None, background_each: int | None = None) -> None:
        self._all = _Shares(total)
        self._background = _Shares(total if background is None else background, background_each)
        self._waiting: OrderedDict[str, OrderedDict[Tenant, _Waiting[T]]] = OrderedDict()  # in the order of their turns
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def total(self) -> int:
        return self._all.total

    @property
    def used(self) -> int:
        return self._all.used

    def push(self, tenant: Tenant, item: T, *, urgent: bool = True, weight: int = 1) -> None:
        """Let an item wait for `weight` units, at most for the total."""
        tenants = self._waiting.setdefault(tenant.namespace, OrderedDict())
        tenants.setdefault(tenant, _Waiting()).lane(urgent).append((item, min(weight, self.total)))
        self._length += 1

    def pop(self) -> Grant[T] | None:
        """The next item. None if nothing can start.

        An item that waits only for free units keeps its turn, so that smaller items cannot overtake it forever.
        """
        if (head := self._head()) is None:
            return None
        tenant, urgent = head
        lane = self._waiting[tenant.namespace][tenant].lane(urgent)
        item, weight = lane[0]
        if weight > self._all.free:
            return None
        lane.popleft()
        for limit in self._limits(urgent):
            limit.change(tenant, weight)
        self._end_turn(tenant)
        return Grant(tenant, item, weight, urgent)

    def take(self, tenant: Tenant, item: T, weight: int = 1) -> Grant[T] | None:
        """The same as `push` and `pop` of an urgent item if no other item is before it. None if it has to wait.

        Items that wait because their tenants have their shares are not before it.
        """
        weight = min(weight, self.total)
        if weight > self._all.free or not self._all.allow(tenant, weight) or self._head():
            return None
        self._all.change(tenant, weight)
        return Grant(tenant, item, weight, urgent=True)

    def _head(self) -> tuple[Tenant, bool] | None:
        """The tenant of the item that is next, and whether it is urgent: it can start, or waits only for free units."""
        if not self._waiting:
            return None
        for urgent in (True, False):
            limits = self._limits(urgent)
            for namespace, tenants in self._waiting.items():
                if not all(limit.allow_namespace(namespace, 1) for limit in limits):
                    continue  # none of its tenants can start
                for tenant, waiting in tenants.items():
                    lane = waiting.lane(urgent)
                    if not lane or not all(limit.allow(tenant, lane[0][1]) for limit in limits):
                        continue  # it has its share
                    if not urgent and lane[0][1] > self._background.free:
                        continue
                    return tenant, urgent
        return None

    def _limits(self, urgent: bool) -> tuple[_Shares, ...]:
        return (self._all,) if urgent else (self._all, self._background)

    def release(self, grant: Grant[T], weight: int | None = None) -> None:
        """Give back the units of a grant, or `weight` of them."""
        weight = grant.weight if weight is None else weight
        self._all.change(grant.tenant, -weight)
        if not grant.urgent:
            self._background.change(grant.tenant, -weight)

    def discard(self, tenant: Tenant, item: T) -> None:
        tenants = self._waiting.get(tenant.namespace)
        waiting = tenants.get(tenant) if tenants else None
        for lane in (waiting.urgent, waiting.background) if waiting else ():
            for entry in lane:
                if entry[0] is item:
                    lane.remove(entry)
                    self._length -= 1
                    self._forget_idle(tenant)
                    return

    def _end_turn(self, tenant: Tenant) -> None:
        """Move the tenant behind the others, after an item of it was taken."""
        self._length -= 1
        self._waiting[tenant.namespace].move_to_end(tenant)
        self._waiting.move_to_end(tenant.namespace)
        self._forget_idle(tenant)

    def _forget_idle(self, tenant: Tenant) -> None:
        tenants = self._waiting[tenant.namespace]
        if not tenants[tenant].urgent and not tenants[tenant].background:
            del tenants[tenant]
        if not tenants:
            del self._waiting[tenant.namespace]


Shrink = Callable[[int], None]


class FairSemaphore:
    """A semaphore that tenants share."""

    def __init__(self, total: int) -> None:
        self._queue: FairQueue[Any] = FairQueue(total)

    @asynccontextmanager
    async def hold(self, tenant: Tenant, weight: int = 1, *, urgent: bool = True) -> AsyncIterator[Shrink]:
        """Wait for `weight` units and hold them within the block. Yields a function that gives back all but so many."""
        grant = self._queue.take(tenant, None, weight) if urgent else None
        grant = grant or await self._wait(tenant, weight, urgent=urgent)
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

    def take(self, tenant: Tenant, weight: int = 1) -> Callable[[], None] | None:
        """Take `weight` units if that needs no wait. Returns the function that gives them back; None otherwise."""
        grant = self._queue.take(tenant, None, weight)
        return partial(self._give_back, grant, grant.weight) if grant else None

    @property
    def used(self) -> int:
        """The units that are held now."""
        return self._queue.used

    async def _wait(self, tenant: Tenant, weight: int, *, urgent: bool = True) -> Grant[Any]:
        granted: asyncio.Future[Grant[Any]] = asyncio.get_running_loop().create_future()
        self._queue.push(tenant, granted, urgent=urgent, weight=weight)
        self._grant()
        try:
            return await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # it was granted in the moment of the cancellation
                self._give_back(granted.result(), granted.result().weight)
            else:
                self._queue.discard(tenant, granted)
            raise

    def _give_back(self, grant: Grant[Any], weight: int) -> None:
        self._queue.release(grant, weight)
        self._grant()

    def _grant(self) -> None:
        while (grant := self._queue.pop()) is not None:
            if grant.item.cancelled():  # its task has not handled the cancellation yet
                self._queue.release(grant)
            else:
                grant.item.set_result(grant)
