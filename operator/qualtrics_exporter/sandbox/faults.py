"""What shall go wrong, ordered for a chosen call.

A call passes: delay → hold before → effect → delay_after → hold after → reply. `drop="before"` ends the connection
before the effect, `drop="after"` once it has happened: the client cannot tell the two apart. A reply with a
`status` of its own comes without the effect, unless `apply_effect`.
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.sandbox.condition import ConditionVariable

When = Literal["before", "after"]


class Dropped(Exception):
    """The connection ends here."""


@dataclass(kw_only=True)
class Fault:
    """One order. `operation` may hold wildcards; `times=None` is for ever; `after` lets the first calls pass."""

    operation: str
    times: int | None = 1
    after: int = 0
    status: int | None = None
    body: str | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    """Seconds, by the sandbox's clock, before the effect."""
    delay_after: float = 0
    drop: When | None = None
    truncate: int | None = None
    """The reply announces its whole length, and ends after so many bytes of the body."""
    endless: bool = False
    """The body of the reply has no end: spaces, until the client has had enough."""
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
        """Whether the call still does what it is for."""
        if self.drop == "before":
            return False
        return self.status is None if self.apply_effect is None else self.apply_effect

    @property
    def alters_reply(self) -> bool:
        return self.status is not None or self.body is not None or self.endless or bool(self.headers)

    def takes(self, operation: str) -> bool:
        """Whether this call is meant; counts those that are let pass."""
        if not fnmatchcase(operation, self.operation) or (self.times is not None and self.hits >= self.times):
            return False
        if self.passed < self.after:
            self.passed += 1
            return False
        self.hits += 1
        return True


@dataclass(eq=False)
class _Held:
    operation: str
    verdict: Literal["go", "drop"] | None = None


class Faults:
    """The orders that are open, and the requests that are held."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults: list[Fault] = []
        self._held: list[_Held] = []
        self._changed = ConditionVariable()

    def add(self, operation: str, **order: Any) -> Fault:
        """Order a fault; the fields of `Fault` are the arguments. The first that fits takes a call."""
        fault = Fault(operation=operation, **order)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all orders and let go of what is held."""
        self._faults.clear()
        self.release()

    def open(self) -> list[Fault]:
        """The orders that may still strike."""
        return [fault for fault in self._faults if fault.times is None or fault.hits < fault.times]

    def held(self, operation: str = "*") -> int:
        """How many requests stand held right now."""
        return sum(fnmatchcase(held.operation, operation) and held.verdict is None for held in self._held)

    async def reached(self, operation: str, *, count: int = 1, timeout: float = 30) -> None:
        """Wait until so many requests of that operation stand held; TimeoutError otherwise."""
        await self._changed.wait_for(lambda: self.held(operation) >= count, timeout=timeout)

    def release(self, operation: str = "*", *, drop: bool = False) -> int:
        """Let what is held go on; with `drop`, end its connection instead, with nothing more happening."""
        freed = [held for held in self._held if held.verdict is None and fnmatchcase(held.operation, operation)]
        for held in freed:
            held.verdict = "drop" if drop else "go"
        self._changed.notify_all()
        return len(freed)

    # For the gate.

    def take(self, operation: str) -> Fault | None:
        """The order that is meant for this call, if there is one."""
        return next((fault for fault in self._faults if fault.takes(operation)), None)

    async def pause(self, fault: Fault, when: When, operation: str) -> None:
        """Delay and hold the call as ordered; `Dropped` where its connection shall end."""
        delay = fault.delay if when == "before" else fault.delay_after
        if delay:
            await self._clock.sleep(delay)
        if fault.hold == when:
            held = _Held(operation)
            self._held.append(held)
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: held.verdict is not None, timeout=24 * 3600)
            finally:
                self._held.remove(held)
            if held.verdict == "drop":
                raise Dropped
        if fault.drop == when:
            raise Dropped
