"""Plays the events of `strikes`: between two steps of a replica, after a call that the plan names."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .replica import TAKEOVER, Replica
from .world import Event

if TYPE_CHECKING:
    from .simulation import Simulation

KINDS = ("crash", "pause", "meanwhile")


class StrikeActors:
    """Plays the events of `strikes`. `act` plays any other event."""

    def __init__(self, simulation: "Simulation", replicas: Mapping[str, Replica], act: Callable[[Event], None]) -> None:
        self._simulation = simulation
        self._replicas = replicas
        self._act = act
        self._armed: list[tuple[Event, list[int]]] = []
        self._over = False

    def crash(self, name: str, seconds: float, steps: int, call: str | None = None, nth: int = 1) -> None:
        """Kill the process, and start another one later."""
        self._arm(Event(self._simulation.now, "crash", name, {"seconds": seconds, "steps": steps}), call, nth)

    def pause(self, name: str, seconds: float, steps: int, call: str | None = None, nth: int = 1) -> None:
        """Pause the process, and resume it later."""
        self._arm(Event(self._simulation.now, "pause", name, {"seconds": seconds, "steps": steps}), call, nth)

    def meanwhile(
        self, name: str, steps: int, kind: str, whom: str, change: dict[str, Any], call: str, nth: int
    ) -> None:
        """Play another event at that instant."""
        arguments = {"steps": steps, "kind": kind, "whom": whom, "change": change}
        self._arm(Event(self._simulation.now, "meanwhile", name, arguments), call, nth)

    def end(self) -> None:
        """End all strikes."""
        self._over = True
        self._armed.clear()

    def _arm(self, event: Event, call: str | None, nth: int) -> None:
        if call is None:
            self._strike(event)
        else:
            self._armed.append(
                (Event(event.time, event.kind, call, {**event.arguments, "replica": event.target}), [nth])
            )

    def calling(self, replica: Replica, operation: str) -> None:
        """A replica makes a call. A strike may wait for it."""
        for armed in self._armed:
            event, left = armed
            if event.target != operation:
                continue
            # The strike hits the replica that works: that of the plan, or the leader in its place.
            if replica.name == event.arguments["replica"] or replica.leading:
                left[0] -= 1
                if left[0] <= 0:
                    self._armed.remove(armed)
                    strike = Event(event.time, event.kind, replica.name, event.arguments)
                    replica.strike_after(event.arguments["steps"], partial(self._strike, strike))
                    return

    def _strike(self, event: Event) -> None:
        if self._over:
            return
        if event.kind == "meanwhile":
            self._act(Event(0.0, event.arguments["kind"], event.arguments["whom"], event.arguments["change"]))
            return
        replica, seconds = self._replicas[event.target], event.arguments["seconds"]
        loop = self._simulation.loop
        self._simulation.invariants.disturb(seconds + TAKEOVER + 600, replica.shard)
        if event.kind == "crash":
            replica.kill()
            loop.outside(seconds, replica.start)
        else:
            replica.pause()
            loop.outside(seconds, replica.resume)
