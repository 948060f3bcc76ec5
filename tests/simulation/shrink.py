"""Shrinks a failing world: fewer classes of faults, fewer events and fewer exporters, with the same violation.

First, it leaves out whole classes of faults, one by one. Then it leaves out events in halves, quarters and so on (delta
debugging). The creation of an exporter is an event too, so exporters that do not matter disappear.
"""

import time
from collections.abc import Callable
from typing import Any

from . import plan, simulation


class Shrinker:
    """Shrinks one seed as long as it violates this invariant, and until the time is up."""

    def __init__(
        self, seed: int, kind: str, changes: dict[str, Any], seconds: float, report: Callable[[str], None]
    ) -> None:
        self._seed = seed
        self._kind = kind
        self._changes = dict(changes)
        self._until = time.monotonic() + seconds
        self._report = report
        self.runs = 0

    def shrink(self, exporter: str) -> dict[str, Any]:
        """The arguments of the smallest plan that was found. `exporter` is the one with the violation."""
        kept = [event.number for event in plan.make(self._seed, **self._changes).events]
        near = [
            event.number
            for event in plan.make(self._seed, **self._changes).events
            if event.target in (exporter, "*") or event.target[:1] != "e"
        ]
        if exporter and self._fails(keep=near):
            kept = near
        without = list(self._changes.get("without") or ())
        for name in sorted(plan.make(self._seed, **self._changes).enabled):
            if self._fails(without=[*without, name], keep=kept):
                without.append(name)
        self._changes["without"] = without
        left = {event.number for event in plan.make(self._seed, **self._changes).events}
        self._report(
            f"classes that matter: {', '.join(sorted(plan.make(self._seed, **self._changes).enabled)) or 'none'}"
        )
        self._changes["keep"] = self._events([number for number in kept if number in left])
        return self._changes

    def _events(self, kept: list[int]) -> list[int]:
        size = max(1, len(kept) // 2)
        while size and time.monotonic() < self._until:
            position = 0
            while position < len(kept):
                fewer = kept[:position] + kept[position + size :]
                if self._fails(keep=fewer):
                    kept = fewer
                else:
                    position += size
            size //= 2
        self._report(f"{len(kept)} events matter, after {self.runs} runs")
        return kept

    def _fails(self, **changes: Any) -> bool:
        if time.monotonic() > self._until:
            return False
        self.runs += 1
        made = plan.make(self._seed, **{**self._changes, **changes})
        result = simulation.Simulation(made, stop_at=(self._kind,)).run()
        return any(violation.kind == self._kind for violation in result.violations)
