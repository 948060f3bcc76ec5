"""The events of each class of faults and of each kind of user, made from the seed.

The names of the functions in `EVENTS` are part of the seeds: do not rename them.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from random import Random
from typing import Any

from qualtrics_exporter.schedule import next_slot

from .clock import EPOCH
from .world import DAY, HOUR, ZONES, Event, Plan, PlannedExporter, parsed, schedule


def _often(random: Random, plan: Plan, name: str, per_day: float) -> int:
    """How many events of a class there are: none if it is disabled, otherwise at least one."""
    if name not in plan.enabled:
        return 0
    return max(1, round(random.expovariate(1 / max(0.01, per_day * plan.density * plan.seconds / DAY))))


def _one(random: Random, plan: Plan) -> PlannedExporter:
    return random.choice(plan.exporters)


def _moment(random: Random, plan: Plan, exporter: PlannedExporter | None = None) -> float:
    """A time, in most cases one at which a run of this exporter may be in progress."""
    if exporter is None:
        exporter = _one(random, plan)
    at = random.random() * plan.seconds
    if random.random() < 0.3:
        return at
    due = next_slot(parsed(exporter.schedule), EPOCH + timedelta(seconds=at)).due
    near = (due - EPOCH).total_seconds() + random.choice(
        (-60.0, -5.0, 0.5, 3.0, 10.0, 30.0, 60.0, 300.0)
    ) * random.random()
    return near if 0 < near < plan.seconds else at


def _created(random: Random, plan: Plan) -> Iterable[Event]:
    for exporter in plan.exporters:
        yield Event(exporter.created, "create", exporter.name, {})


def _people(random: Random, plan: Plan) -> Iterable[Event]:
    if "people" not in plan.enabled:
        return
    for exporter in plan.exporters:
        for _ in range(round(plan.seconds / DAY * 2)):
            yield Event(
                _moment(random, plan, exporter),
                "people",
                exporter.name,
                {
                    "query": random.choice("ab"),
                    "moved": random.choice((1, 2, 30)),
                    "size": random.choice((0, 1, 5, 11, 12, 13, 20)),
                },
            )


def _drift(random: Random, plan: Plan) -> Iterable[Event]:
    holding = [exporter for exporter in plan.exporters if exporter.options.get("driftPolicy") == "Hold"]
    for _ in range(_often(random, plan, "drift", len(plan.exporters) / 6)):
        exporter = random.choice(holding) if holding and random.random() < 0.7 else _one(random, plan)
        at = _moment(random, plan, exporter)
        yield Event(at, "drift", exporter.name, {"query": "a", "seconds": random.choice((20.0, 600.0, DAY))})


def _edits(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "edit", len(plan.exporters) / 5)):
        exporter = _one(random, plan)
        change: dict[str, Any] = random.choice(
            (
                {"schedule": schedule(random)},
                {"subject": f"Subject {random.randrange(100)}"},
                {"query": random.choice("ab")},
                {"options": {"dryRun": random.random() < 0.5}},
                {"options": {"driftPolicy": random.choice(("Hold", "Warn"))}},
                {"options": {"maxRecipients": random.choice((1, 10, 1000))}},
                {"invalid": True},
            )
        )
        at = _moment(random, plan, exporter)
        yield Event(at, "edit", exporter.name, change)
        if change.get("invalid"):
            yield Event(at + random.random() * 6 * HOUR, "edit", exporter.name, {"invalid": False})


def _zones(random: Random, plan: Plan) -> Iterable[Event]:
    hourly = [exporter for exporter in plan.exporters if exporter.schedule.get("everyHours", 1) > 1]
    for _ in range(_often(random, plan, "zone", len(plan.exporters) / 8)):
        exporter = random.choice(hourly) if hourly and random.random() < 0.5 else _one(random, plan)
        at = _moment(random, plan, exporter)
        for _ in range(random.choice((1, 1, 2, 3))):
            yield Event(at, "edit", exporter.name, {"zone": random.choice(ZONES)})
            at += random.random() * 12 * HOUR


def _flips(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "flip", 0.3)):
        exporter = _one(random, plan)
        at = _moment(random, plan, exporter)
        yield Event(
            at, "flip", exporter.name, {"minutes": random.choice((10, 20, 60)), "every": random.choice((20.0, 60.0))}
        )


def _suspensions(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "suspend", len(plan.exporters) / 8)):
        exporter = _one(random, plan)
        at = _moment(random, plan, exporter)
        yield Event(at, "suspend", exporter.name, {"seconds": random.choice((2.0, 60.0, 3 * HOUR, 2 * DAY))})


def _deletions(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "delete", 0.3)):
        exporter = _one(random, plan)
        yield Event(_moment(random, plan, exporter), "delete", exporter.name, {})
    for _ in range(_often(random, plan, "recreate", len(plan.exporters) / 6)):
        exporter = _one(random, plan)
        after = random.choice((0.0, 0.0, 0.0, 0.5, 30.0, 3600.0))
        at = _moment(random, plan, exporter)
        yield Event(at, "recreate", exporter.name, {"after": after})
        if "watch-gap" in plan.enabled and random.random() < 0.5:  # the watch misses the deletion
            for replica in plan.replicas:
                yield Event(max(0.0, at - 1.0), "gap", replica.name, {"seconds": 30.0})
    for _ in range(_often(random, plan, "restore", len(plan.exporters) / 10)):
        exporter = _one(random, plan)
        yield Event(_moment(random, plan, exporter), "restore", exporter.name, {"back": random.randrange(1, 6)})


def _tokens(random: Random, plan: Plan) -> Iterable[Event]:
    for count in range(1, 1 + _often(random, plan, "token", len(plan.exporters) / 5)):
        exporter = _one(random, plan)
        at = _moment(random, plan, exporter)
        token = f"r{count}"
        yield Event(at, "token", exporter.name, {"token": token})
        if random.random() < 0.5:  # Git has this token, a user annotates another one, and a tool restores it
            at += random.choice((5.0, 600.0, 3 * HOUR))
            yield Event(at, "token", exporter.name, {"token": f"{token}x"})
            at += random.choice((1.0, 180.0, HOUR))
            yield Event(at, "token", exporter.name, {"token": token})
            for test in range(random.choice((0, 0, 3, 21)) if "test" in plan.enabled else 0):
                at += random.choice((20.0, 90.0))
                yield Event(at, "test", exporter.name, {"token": f"dry-{token}-{test}", "mode": None})
            for _ in range(random.randrange(3)):
                at += random.random() * 6 * HOUR
                yield Event(at, "token", exporter.name, {"token": random.choice((token, f"{token}x"))})


def _tests(random: Random, plan: Plan) -> Iterable[Event]:
    for number in range(_often(random, plan, "test", len(plan.exporters) / 6)):
        exporter = _one(random, plan)
        at = _moment(random, plan, exporter)
        mode = random.choice((None, "Deliver", "Deliver"))
        token = f"t{number}" if random.random() < 0.7 else f"t{random.randrange(number + 1)}"
        yield Event(at, "test", exporter.name, {"token": token, "mode": mode})


def _settlements(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "settle", len(plan.exporters) / 6)):
        exporter = _one(random, plan)
        outcome = random.choice(("Sent", "NotSent", "EMD_1", "nonsense"))
        yield Event(_moment(random, plan) + random.random() * 600, "settle", exporter.name, {"outcome": outcome})


def _relabels(random: Random, plan: Plan) -> Iterable[Event]:
    shards = sorted({replica.shard for replica in plan.replicas})
    for _ in range(_often(random, plan, "relabel", len(plan.exporters) / 6)):
        exporter = _one(random, plan)
        at = _moment(random, plan, exporter)
        if random.random() < 0.5:  # while its run imports people
            due = next_slot(parsed(exporter.schedule), EPOCH + timedelta(seconds=at)).due
            at = min(plan.seconds, (due - EPOCH).total_seconds() + 5.0 + random.random() * 40.0)
        to = random.choice((*shards, "nobody"))
        yield Event(at, "relabel", exporter.name, {"shard": to})
        if random.random() < 0.8:
            back = random.choice((0.5, 2.0, 15.0, 120.0, 3 * HOUR))
            yield Event(at + back, "relabel", exporter.name, {"shard": random.choice((exporter.shard, *shards))})


OUTAGES = (300.0, HOUR, HOUR, HOUR, 3 * HOUR, 3 * HOUR, 3 * HOUR, DAY)
"""Seconds for which Nexthink or Qualtrics does not work."""


def _restarts(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "restart", 0.5)):
        at = _moment(random, plan)
        for replica in plan.replicas:
            yield Event(at, "restart", replica.name, {})
            at += random.choice((1.0, 30.0))


def _clocks(random: Random, plan: Plan) -> Iterable[Event]:
    # Two replicas that both work with different clocks undo each other's writes as fast as the work queue allows.
    # That takes long to simulate, so it is rare and short.
    elects = all(replica.elects for replica in plan.replicas)
    apart = elects or Random(f"apart {plan.seed}").random() < 0.2
    for _ in range(_often(random, plan, "clock", 1.0)):
        everyone = random.random() < 0.5 or not apart
        offset = random.choice((60.0, 600.0, HOUR, 12 * HOUR, 12 * HOUR, DAY, 3 * DAY)) * random.choice((1, 1, -1))
        names = [r.name for r in plan.replicas] if everyone else [random.choice(plan.replicas).name]
        at = _moment(random, plan)
        lasts = random.choice((5.0, 60.0, 60.0, 600.0, 6 * HOUR, None))
        if not (everyone or elects):
            lasts = min(lasts or 600.0, 600.0)
        for name in names:
            yield Event(at, "clock", name, {"offset": offset})
            if lasts is not None:
                yield Event(at + lasts, "clock", name, {"offset": 0.0})


def _cluster_trouble(random: Random, plan: Plan) -> Iterable[Event]:
    zones = sorted({replica.zone for replica in plan.replicas})
    for _ in range(_often(random, plan, "api-outage", 0.5)):
        yield Event(
            _moment(random, plan),
            "outage",
            random.choice((*zones, "*")),
            {"seconds": random.choice((20.0, 90.0, 400.0, HOUR))},
        )
    for _ in range(_often(random, plan, "api-forbidden", 0.3)):
        yield Event(
            _moment(random, plan),
            "forbid",
            f"team-{random.randrange(plan.instances)}",
            {"seconds": random.choice((60.0, 3 * HOUR))},
        )
    for _ in range(_often(random, plan, "api-conflict", 0.3)):
        yield Event(
            _moment(random, plan),
            "conflict",
            f"team-{random.randrange(plan.instances)}",
            {"seconds": random.choice((60.0, 1200.0, 5000.0))},
        )
    for _ in range(_often(random, plan, "watch-gap", 2.0)):
        yield Event(
            _moment(random, plan),
            "gap",
            random.choice(plan.replicas).name,
            {"seconds": random.choice((1.0, 30.0, 1500.0))},
        )
    for _ in range(_often(random, plan, "secret", 1.0)):
        exporter, seconds = _one(random, plan), random.choice((30.0, 1200.0, 4 * HOUR))
        yield Event(
            max(0.0, _moment(random, plan, exporter) - random.random() * seconds / 2),
            "trouble_with_secret",
            f"team-{exporter.tenant}",
            {
                "name": random.choice(("nexthink", f"qualtrics-{exporter.brand}")),
                "what": random.choice(("delete", "unreadable", "unreadable", "rotate")),
                "seconds": seconds,
            },
        )
    for _ in range(_often(random, plan, "remote-hang", 0.7)):
        host = random.choice(
            [f"t{n}.api.eu.nexthink.cloud" for n in range(plan.instances)] * 2
            + [f"b{n}.eu.qualtrics.com" for n in range(plan.brands)]
        )
        yield Event(_moment(random, plan) - 60, "hang", host, {"seconds": random.choice(OUTAGES)})


def _tenants(random: Random, plan: Plan) -> Iterable[Event]:
    """The server of a tenant floods or sends wrong replies. Its namespace is deleted, and created again."""
    for name, manner in (("remote-flood", "flood"), ("remote-lie", "lie")):
        for _ in range(_often(random, plan, name, 0.5)):
            hosts = [f"t{n}.api.eu.nexthink.cloud" for n in range(plan.instances)]
            host = random.choice(hosts + [f"b{n}.eu.qualtrics.com" for n in range(plan.brands)])
            arguments = {"seconds": random.choice(OUTAGES), "manner": manner}
            yield Event(_moment(random, plan) - 60, "hang", host, arguments)
    for _ in range(_often(random, plan, "namespace", 0.2)):
        tenant, at = random.randrange(plan.instances), _moment(random, plan)
        seconds = random.choice((10.0, 600.0, 5 * HOUR))
        for secret in ("nexthink", *(f"qualtrics-{n}" for n in range(plan.brands))):
            deleted = {"name": secret, "what": "delete", "seconds": seconds}
            yield Event(at, "trouble_with_secret", f"team-{tenant}", deleted)
        for exporter in plan.exporters:
            if exporter.tenant == tenant and exporter.created < at:
                yield Event(at, "recreate", exporter.name, {"after": seconds + random.random()})


EVENTS: tuple[Callable[[Random, Plan], Iterable[Event]], ...] = (
    _created,
    _people,
    _drift,
    _edits,
    _zones,
    _flips,
    _suspensions,
    _deletions,
    _tokens,
    _tests,
    _settlements,
    _relabels,
    _restarts,
    _clocks,
    _cluster_trouble,
    _tenants,
)
