"""Faults: errors that a test injects into chosen requests.

A request passes these stages: delay → hold before → effect → delay_after → hold after → reply. `drop="before"` closes
the connection before the effect, and `drop="after"` closes it after the effect: the client cannot distinguish the two.
A fault with a `status` replaces the effect, unless `apply_effect` is set.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.condition import ConditionVariable

When = Literal["before", "after"]


class Dropped(Exception):
    """The connection is closed without a reply."""


@dataclass(kw_only=True)
class Fault:
    """One fault. `operation` may contain wildcards. `times=None` means always. `after` skips the first requests."""

    operation: str
    times: int | None = 1
    after: int = 0
    status: int | None = None
    body: str | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    """Seconds before the effect, by the clock of the sandbox."""
    delay_after: float = 0
    drop: When | None = None
    truncate: int | None = None
    """The reply announces its full length, but the connection closes after this many bytes of the body."""
    endless: bool = False
    """The body of the reply never ends: it sends spaces until the client closes the connection."""
    hold: bool | When = False
    apply_effect: bool | None = None
    """None: yes, unless there is a `status` or `drop="before"`."""
    passed: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.drop not in (None, "before", "after"):
            raise ValueError('drop is "before" or "after"')
        if self.hold not in (True, False, "before", "after"):
            raise ValueError('hold is true, "before" or "after"')
        if self.hold is True:
            self.hold = "before"
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError("status is a number from 200 to 599")

    @property
    def effective(self) -> bool:
        """Whether the request still has its effect."""
        if self.drop == "before":
            return False
        return self.status is None if self.apply_effect is None else self.apply_effect

    @property
    def open(self) -> bool:
        """Whether it can still hit a request."""
        return self.times is None or self.hits < self.times

    @property
    def alters_reply(self) -> bool:
        return self.status is not None or self.body is not None or self.endless or bool(self.headers)

    def applies_to(self, operation: str) -> bool:
        """Whether this request gets the fault. Counts the request as skipped or as hit."""
        if not fnmatchcase(operation, self.operation) or not self.open:
            return False
        if self.passed < self.after:
            self.passed += 1
            return False
        self.hits += 1
        return True


def matches_any(operation: str, known: Iterable[str]) -> bool:
    """Whether one of these operations has this name, which may contain wildcards."""
    return any(fnmatchcase(each, operation) for each in known)


@dataclass(eq=False)
class _HeldRequest:
    operation: str
    released: Literal["continue", "drop"] | None = None


class Faults:
    """The active faults, and the requests that are held."""

    def __init__(self, clock: Clock, changed: ConditionVariable | None = None) -> None:
        self._clock = clock
        self._faults: list[Fault] = []
        self._held: list[_HeldRequest] = []
        self._changed = changed or ConditionVariable()
        self.operations: set[str] = set()
        """All operations that are served, such as `qualtrics.create_distribution`; empty if they are not known."""

    def add(self, operation: str, **settings: Any) -> Fault:
        """Add a fault. The arguments are the fields of `Fault`. A request gets the first fault that applies to it.

        Raises ValueError if no operation has this name: a fault that hits nothing would look like a service without it.
        """
        if self.operations and not matches_any(operation, self.operations):
            raise ValueError(
                f"no operation matches {operation!r}. All operations: {', '.join(sorted(self.operations))}"
            )
        fault = Fault(operation=operation, **settings)
        self._faults.append(fault)
        self._changed.notify_all()
        return fault

    def clear(self) -> None:
        """Remove all faults and release all held requests."""
        self._faults.clear()
        self.release()

    def added(self) -> list[Fault]:
        """The faults that were added since they were last cleared, also those that can hit no more requests."""
        return list(self._faults)

    def open(self) -> list[Fault]:
        """The faults that can still hit a request."""
        return [fault for fault in self._faults if fault.open]

    def held(self, operation: str = "*") -> int:
        """How many requests are held now."""
        return sum(fnmatchcase(held.operation, operation) and held.released is None for held in self._held)

    def held_operations(self) -> list[str]:
        """The operations of the requests that are held now."""
        return [held.operation for held in self._held if held.released is None]

    async def reached(self, operation: str, *, count: int = 1, timeout: float = 30) -> None:
        """Wait until that many requests of the operation are held. Raises TimeoutError otherwise."""
        await self._changed.wait_for(lambda: self.held(operation) >= count, timeout=timeout)

    def release(self, operation: str = "*", *, drop: bool = False) -> int:
        """Let held requests continue. With `drop`, close their connections instead: nothing more happens for them."""
        released = [held for held in self._held if held.released is None and fnmatchcase(held.operation, operation)]
        for held in released:
            held.released = "drop" if drop else "continue"
        self._changed.notify_all()
        return len(released)

    # Called by the middleware.

    def take(self, operation: str) -> Fault | None:
        """The fault of this request, if it has one."""
        return next((fault for fault in self._faults if fault.applies_to(operation)), None)

    async def pause(self, fault: Fault, when: When, operation: str) -> None:
        """Delay and hold the request. Raises `Dropped` if its connection must be closed."""
        delay = fault.delay if when == "before" else fault.delay_after
        if delay:
            await self._clock.sleep(delay)
        if fault.hold == when:
            held = _HeldRequest(operation)
            self._held.append(held)
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: held.released is not None, timeout=24 * 3600)
            finally:
                self._held.remove(held)
            if held.released == "drop":
                raise Dropped
        if fault.drop == when:
            raise Dropped
