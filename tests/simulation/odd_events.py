"""The events of objects that cannot be, and of remote sides that mislead."""

from collections.abc import Callable, Iterable
from random import Random

from .damage import HOW, ODD_SPECS, ODD_TOKENS
from .events import _moment, _often, _one
from .world import DAY, HOUR, Event, Plan


def _odd_statuses(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "odd-status", len(plan.exporters) / 4)):
        exporter = _one(random, plan)
        arguments = {"how": random.choice(HOW), "draw": random.randrange(1 << 30)}
        yield Event(_moment(random, plan, exporter), "damage_status", exporter.name, arguments)


def _odd_specs(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "odd-spec", len(plan.exporters) / 8)):
        exporter = _one(random, plan)
        arguments = {"number": random.randrange(ODD_SPECS), "seconds": random.choice((1.0, 60.0, 3 * HOUR, 2 * DAY))}
        yield Event(_moment(random, plan, exporter), "damage_spec", exporter.name, arguments)


def _odd_metadata(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "odd-metadata", len(plan.exporters) / 8)):
        exporter = _one(random, plan)
        at, kind = _moment(random, plan, exporter), random.random()
        if kind < 0.3:
            yield Event(at, "damage_metadata", exporter.name, {"draw": random.randrange(1 << 30)})
        elif kind < 0.5:
            yield Event(at, "token", exporter.name, {"token": random.choice(ODD_TOKENS)})
        elif kind < 0.7:
            arguments = {
                "token": random.choice(ODD_TOKENS),
                "mode": random.choice((None, "Deliver", "deliver", "\x00")),
            }
            yield Event(at, "test", exporter.name, arguments)
        else:
            # A finalizer of somebody else keeps an object that is deleted.
            yield Event(at, "finalize", exporter.name, {"seconds": random.choice((5.0, 600.0, 6 * HOUR))})


def _misleading(random: Random, plan: Plan) -> Iterable[Event]:
    """A remote side answers in the right form, with the content of others or without an end."""
    for name, manner in (("remote-mixup", "mixup"), ("remote-endless", "endless")):
        for _ in range(_often(random, plan, name, 0.5)):
            sides = [f"t{n}.api.eu.nexthink.cloud" for n in range(plan.instances)]
            host = random.choice(sides + [f"b{n}.eu.qualtrics.com" for n in range(plan.brands)])
            arguments = {"seconds": random.choice((300.0, HOUR, DAY)), "manner": manner}
            yield Event(max(0.0, _moment(random, plan) - 60), "mislead", host, arguments)


EVENTS: tuple[Callable[[Random, Plan], Iterable[Event]], ...] = (_odd_statuses, _odd_specs, _odd_metadata, _misleading)
