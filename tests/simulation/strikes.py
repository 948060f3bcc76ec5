"""Strikes between two steps of a process: crashes, pauses, and changes by users and clocks at that instant.

The names of the functions in `EVENTS` are part of the seeds: do not rename them.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from .events import _moment, _often, _one
from .world import DAY, HOUR, ZONES, Event, Plan

CALLS = (
    "status",
    "status",
    "status",
    "get",
    "event",
    "secret",
    "execute",
    "export",
    "download",
    "create_batch",
    "import_contacts",
    "import_status",
    "create_distribution",
    "create_distribution",
    "create_distribution",
    "list_distributions",
    "lease",
)


def _strikes(random: Random, plan: Plan) -> Iterable[Event]:
    """Crashes and pauses, at any step after a call, or at any time."""
    for kind, name, per_day in (("crash", "crash", 2.0), ("pause", "pause", 1.5)):
        for _ in range(_often(random, plan, name, per_day)):
            down = random.choice((1.0, 12.0, 60.0, 700.0, 2 * HOUR, 5 * HOUR, 26 * HOUR))
            arguments: dict[str, Any] = {"seconds": down, "steps": random.choice((1, 1, 2, 3, 5, 8, 13, 30, 100))}
            if random.random() < 0.85:
                arguments["call"], arguments["nth"] = random.choice(CALLS), random.randrange(1, 7)
            yield Event(_moment(random, plan), kind, random.choice(plan.replicas).name, arguments)


def _meanwhile(random: Random, plan: Plan) -> Iterable[Event]:
    """Edits, suspensions, changes of the time zone and clock steps, at any step after a call."""
    # Replicas that all work with different clocks take long to simulate: see `_clocks`.
    per_day_of_clocks = {"clock": 0.5} if all(replica.elects for replica in plan.replicas) else {}
    for name, per_day in {"edit": 1.0, "zone": 1.0, "suspend": 1.0, **per_day_of_clocks}.items():
        for _ in range(_often(random, plan, name, per_day)):
            exporter, replica = _one(random, plan), random.choice(plan.replicas).name
            at = _moment(random, plan, exporter)
            whom, change = exporter.name, _change(random, name)
            if name == "clock":
                whom, lasts = replica, random.choice((5.0, 60.0, 600.0, 6 * HOUR))
                yield Event(at + lasts, "clock", replica, {"offset": 0.0})
            strike = {
                "call": random.choice(CALLS),
                "nth": random.randrange(1, 7),
                "steps": random.choice((1, 2, 5, 13)),
            }
            kind = {"zone": "edit"}.get(name, name)
            yield Event(at, "meanwhile", replica, {**strike, "kind": kind, "whom": whom, "change": change})


def _change(random: Random, name: str) -> dict[str, Any]:
    if name == "edit":
        return random.choice(({"subject": f"Subject {random.randrange(100)}"}, {"query": random.choice("ab")}))
    if name == "zone":
        return {"zone": random.choice(ZONES)}
    if name == "suspend":
        return {"seconds": random.choice((2.0, 60.0, 3 * HOUR))}
    return {"offset": random.choice((60.0, HOUR, 12 * HOUR, 3 * DAY)) * random.choice((1, 1, -1))}


EVENTS: tuple[Callable[[Random, Plan], Iterable[Event]], ...] = (_strikes, _meanwhile)
