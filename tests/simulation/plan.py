"""What happens in a world: its exporters and replicas, and a list of events, all made from the seed before it runs.

The events are a list, so `shrink.py` can leave some of them out, and a person can read them in order.
"""

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

from . import invalid_input_events, strikes
from .events import EVENTS
from .faults import CLASSES, INVALID_INPUT, OF_TENANTS
from .world import DAY, ZONES, Event, Plan, PlannedExporter, PlannedReplica, schedule


def make(
    seed: int,
    *,
    without: Iterable[str] = (),
    only: Iterable[str] | None = None,
    keep: Iterable[int] | None = None,
    exporters: int | None = None,
    days: float | None = None,
) -> Plan:
    """The plan of a seed. `without` disables classes of faults. `keep` has the numbers of the only events to play.

    The numbers of the events do not depend on what is left out.
    """
    random = Random(f"plan {seed}")
    chosen = {name for name in CLASSES if random.random() < 0.4}
    chosen |= {name for name in OF_TENANTS if Random(f"{name} {seed}").random() < 0.3}
    chosen |= {name for name in INVALID_INPUT if Random(f"{name} {seed}").random() < 0.2}
    quiet = random.random() < 0.05
    enabled = frozenset(set() if quiet else chosen) if only is None else frozenset(only)
    crowd = (16, 24, 40) if "rush" in enabled else (6, 8, 10, 12, 16, 24, 40)
    number = random.choice(crowd) if exporters is None else exporters
    length = random.choice((2, 3, 4, 5, 8)) if days is None else days
    # A month has several weekly slots of an exporter, both ends of summer time, and more slots than a status remembers.
    month = days is None and Random(f"month {seed}").random() < 0.1
    if month:
        number, length = min(number, 16) if exporters is None else exporters, 30
    shards = ("a", "b") if "relabel" in enabled and random.random() < 0.6 else ("a",)
    per_shard = random.choice((1, 1, 1, 2, 2, 2, 3))
    elects = per_shard > 1 or random.random() < 0.5
    # Without election, two replicas of one shard work at the same time: the journal alone keeps them apart.
    if per_shard == 2 and random.random() < 0.2:
        elects = False
    tenants = random.choice((2, 3, 4))
    brands = random.choice((1, 2))
    plan = Plan(
        seed=seed,
        enabled=enabled,
        rate=random.choice((0.001, 0.003, 0.01, 0.02)),
        seconds=length * DAY,
        density=0.2 if month else 1.0,
        runs=random.choice((3, 3, 10) if "rush" in enabled else (3, 10, 10)),
        instances=tenants,
        brands=brands,
        list_lag=[random.choice((0.0, 30.0, 150.0, 290.0)) if "list-lag" in enabled else 0.0] * brands,
        batch_echo=[random.choice(("mailingListId", "byId", "never")) if "batch-echo" in enabled else "byId"] * brands,
        busy_lists=[Random(f"busy lists {seed}").choice(("queue", "queue", "refuse"))] * brands,
        contacts=Random(f"contacts {seed}").choice((10_000, 10_000, 3, 1)),
        import_seconds=[random.choice((5.0, 40.0, 200.0)) if "slow-import" in enabled else 5.0] * brands,
        replicas=[
            PlannedReplica(f"{shard}{n}", shard, f"shard={shard}" if len(shards) > 1 else None, f"zone-{n}", elects)
            for shard in shards
            for n in range(per_shard)
        ],
        exporters=[_exporter(random, n, tenants, brands, shards, number, length) for n in range(number)],
    )
    if "clock" in enabled:  # the shortest interval shows the effects of a wrong clock best
        hourly = {"frequency": "Hourly", "everyHours": random.choice((1, 1, 2)), "timeZone": "UTC"}
        plan.exporters[0] = replace(plan.exporters[0], schedule=hourly, created=0.0)
    if "rush" in enabled:  # all exporters have the same hour
        same = random.choice(({"frequency": "Daily", "timeZone": "UTC"}, schedule(random)))
        plan.exporters = [replace(one, schedule=same) if random.random() < 0.9 else one for one in plan.exporters]
    often = Random(f"often {seed}")
    if enabled & {"clock", "zone"} and often.random() < 0.4:
        # More slots than a history has entries: the history alone would forget slots.
        chosen_one = often.randrange(number)
        hourly = {"frequency": "Hourly", "everyHours": often.choice((1, 2, 2, 3)), "timeZone": often.choice(ZONES)}
        plan.exporters[chosen_one] = replace(plan.exporters[chosen_one], schedule=hourly)
    everything = _events(plan)
    plan.enabled -= frozenset(without)
    left = {(event.time, event.kind, event.target, str(event.arguments)) for event in _events(plan)}
    kept = None if keep is None else set(keep)
    plan.events = [
        replace(event, number=number)
        for number, event in enumerate(everything)
        if (event.time, event.kind, event.target, str(event.arguments)) in left and (kept is None or number in kept)
    ]
    return plan


def _events(plan: Plan) -> list[Event]:
    events = [
        event
        for kind in (*EVENTS, *strikes.EVENTS, *invalid_input_events.EVENTS)
        for event in kind(Random(f"{kind.__name__} {plan.seed}"), plan)
    ]
    return sorted(events, key=lambda event: (event.time, event.kind, event.target))


def _exporter(
    random: Random, number: int, tenants: int, brands: int, shards: tuple[str, ...], of: int, days: float
) -> PlannedExporter:
    options: dict[str, Any] = {}
    if random.random() < 0.15:
        options["dryRun"] = True
    if random.random() < 0.25:
        options["driftPolicy"] = random.choice(("Hold", "Hold", "Warn"))
    if random.random() < 0.15:
        options["startingDeadlineSeconds"] = random.choice((60, 900, 7200, 86400))
    if random.random() < 0.1:
        options["maxRecipients"] = random.choice((5, 10))
    drawn = Random(f"sample {random.random()}")
    if drawn.random() < 0.2:
        options["sample"] = {"groups": drawn.choice((2, 3, 4))}
    created = random.random() * 1800 if random.random() < 0.85 else random.random() * days * DAY * 0.7
    return PlannedExporter(
        number=number,
        name=f"e{number:02d}",
        tenant=random.randrange(tenants),
        brand=random.randrange(brands),
        shard=random.choice(shards),
        created=created,
        schedule=schedule(random),
        options=options,
        size=random.choice((12, 15, 25) if "driftPolicy" in options else (0, 1, 3, 5, 8, 11, 11, 12, 15, 25)),
        target=number if random.random() < 0.9 else random.randrange(of),
    )
