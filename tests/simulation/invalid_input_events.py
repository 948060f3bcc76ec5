"""The events with invalid objects and misleading replies.

The names of the functions in `EVENTS` are part of the seeds: do not rename them.
"""

from collections.abc import Callable, Iterable
from random import Random

from .damage import HOW, INVALID_SPECS, UNUSUAL_TOKENS
from .events import _moment, _often, _one
from .world import DAY, HOUR, Event, Plan


def _invalid_statuses(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "odd-status", len(plan.exporters) / 4)):
        exporter = _one(random, plan)
        arguments = {"how": random.choice(HOW), "draw": random.randrange(1 << 30)}
        yield Event(_moment(random, plan, exporter), "damage_status", exporter.name, arguments)


def _invalid_specs(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "odd-spec", len(plan.exporters) / 8)):
        exporter = _one(random, plan)
        arguments = {
            "number": random.randrange(INVALID_SPECS),
            "seconds": random.choice((1.0, 60.0, 3 * HOUR, 2 * DAY)),
        }
        yield Event(_moment(random, plan, exporter), "damage_spec", exporter.name, arguments)


def _unusual_metadata(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "odd-metadata", len(plan.exporters) / 8)):
        exporter = _one(random, plan)
        at, kind = _moment(random, plan, exporter), random.random()
        if kind < 0.3:
            yield Event(at, "damage_metadata", exporter.name, {"draw": random.randrange(1 << 30)})
        elif kind < 0.5:
            yield Event(at, "token", exporter.name, {"token": random.choice(UNUSUAL_TOKENS)})
        elif kind < 0.7:
            arguments = {
                "token": random.choice(UNUSUAL_TOKENS),
                "mode": random.choice((None, "Deliver", "deliver", "\x00")),
            }
            yield Event(at, "test", exporter.name, arguments)
        else:
            # A finalizer of another tool keeps a deleted object.
            yield Event(at, "finalize", exporter.name, {"seconds": random.choice((5.0, 600.0, 6 * HOUR))})


def _misleading(random: Random, plan: Plan) -> Iterable[Event]:
    """Nexthink or Qualtrics sends valid replies with the content of others, or endless replies."""
    for name, manner in (("remote-mixup", "mixup"), ("remote-endless", "endless")):
        for _ in range(_often(random, plan, name, 0.5)):
            hosts = [f"t{n}.api.eu.nexthink.cloud" for n in range(plan.instances)]
            host = random.choice(hosts + [f"b{n}.eu.qualtrics.com" for n in range(plan.brands)])
            arguments = {"seconds": random.choice((300.0, HOUR, DAY)), "manner": manner}
            yield Event(max(0.0, _moment(random, plan) - 60), "mislead", host, arguments)


EVENTS: tuple[Callable[[Random, Plan], Iterable[Event]], ...] = (
    _invalid_statuses,
    _invalid_specs,
    _unusual_metadata,
    _misleading,
)
