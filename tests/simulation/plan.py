"""What happens in a world: its inhabitants and a list of events, all made from the seed before anything runs.

Because the events are a list, a failing world can be shrunk by leaving events out (`shrink.py`), and a person can read
what happened in what order.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any

from qualtrics_exporter.schedule import WEEKDAYS, Schedule, next_slot, zone

from .clock import EPOCH, true_time
from .faults import CLASSES

ZONES = (
    "UTC", "Europe/Zurich", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Tokyo", "Asia/Kolkata",
    "Pacific/Apia", "Australia/Lord_Howe",
)  # fmt: skip
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True)
class PlannedReplica:
    name: str
    shard: str
    selector: str | None
    zone: str
    elects: bool


@dataclass(frozen=True)
class PlannedExporter:
    """An exporter as its user writes it first. `tenant` is its namespace; it owns two saved queries, `#…a` and `#…b`."""

    number: int
    name: str
    tenant: int
    brand: int
    shard: str
    created: float
    schedule: dict[str, Any]
    options: dict[str, Any]
    size: int
    target: int
    """The number of its survey and mailing list: two exporters may share one."""


@dataclass(frozen=True)
class Event:
    """Something that somebody does at a planned time."""

    time: float
    kind: str
    target: str
    arguments: dict[str, Any]
    number: int = -1

    def __str__(self) -> str:
        told = " ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.number:4}  {true_time(self.time):%a %d %H:%M:%S}  {self.kind} {self.target} {told}".rstrip()


@dataclass
class Plan:
    """One world."""

    seed: int
    enabled: frozenset[str]
    rate: float
    seconds: float
    runs: int
    instances: int
    brands: int
    list_lag: list[float]
    batch_echo: list[str]
    import_seconds: list[float]
    replicas: list[PlannedReplica]
    exporters: list[PlannedExporter]
    events: list[Event] = field(default_factory=list)


def make(
    seed: int,
    *,
    without: Iterable[str] = (),
    only: Iterable[str] | None = None,
    keep: Iterable[int] | None = None,
    exporters: int | None = None,
    days: float | None = None,
) -> Plan:
    """The plan of a seed. `without` disables classes of faults; `keep` are the numbers of the only events that happen.

    The events keep their numbers whatever is left out.
    """
    random = Random(f"plan {seed}")
    chosen = {name for name in CLASSES if random.random() < 0.4}
    quiet = random.random() < 0.05
    enabled = frozenset(set() if quiet else chosen) if only is None else frozenset(only)
    number = random.choice((6, 8, 10, 12, 16, 24, 40)) if exporters is None else exporters
    length = random.choice((2, 3, 4, 5, 8)) if days is None else days
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
        runs=random.choice((3, 10, 10)),
        instances=tenants,
        brands=brands,
        list_lag=[random.choice((0.0, 30.0, 150.0, 290.0)) if "list-lag" in enabled else 0.0] * brands,
        batch_echo=[random.choice(("mailingListId", "byId", "never")) if "batch-echo" in enabled else "byId"] * brands,
        import_seconds=[random.choice((5.0, 40.0, 200.0)) if "slow-import" in enabled else 5.0] * brands,
        replicas=[
            PlannedReplica(f"{shard}{n}", shard, f"shard={shard}" if len(shards) > 1 else None, f"zone-{n}", elects)
            for shard in shards
            for n in range(per_shard)
        ],
        exporters=[_exporter(random, n, tenants, brands, shards, number, length) for n in range(number)],
    )
    if "rush" in enabled:  # everybody wants the same hour
        same = random.choice(({"frequency": "Daily", "timeZone": "UTC"}, schedule(random)))
        plan.exporters = [replace(one, schedule=same) if random.random() < 0.9 else one for one in plan.exporters]
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
    events = [event for kind in EVENTS for event in kind(Random(f"{kind.__name__} {plan.seed}"), plan)]
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


def schedule(random: Random) -> dict[str, Any]:
    """A schedule as a spec has it: mostly weekly and daily ones."""
    kind = random.random()
    chosen: dict[str, Any]
    if kind < 0.45:
        chosen = {"frequency": "Weekly", "dayOfWeek": random.choice(WEEKDAYS)}
    elif kind < 0.85:
        chosen = {"frequency": "Daily"}
    else:
        chosen = {"frequency": "Hourly", "everyHours": random.choice((12, 12, 6, 6, 4, 3, 2, 1))}
    if random.random() < 0.8:
        chosen["timeZone"] = random.choice(ZONES)
    return chosen


def parsed(written: dict[str, Any], default: str = "UTC") -> Schedule:
    """The schedule that a spec describes."""
    return Schedule(
        written["frequency"],
        zone(written.get("timeZone") or default),
        written.get("everyHours"),
        written.get("dayOfWeek"),
    )


# The events of each class.


def _often(random: Random, plan: Plan, name: str, per_day: float) -> int:
    """How many events of a class there are: none if it is disabled, otherwise at least one."""
    if name not in plan.enabled:
        return 0
    return max(1, round(random.expovariate(1 / max(0.01, per_day * plan.seconds / DAY))))


def _one(random: Random, plan: Plan) -> PlannedExporter:
    return random.choice(plan.exporters)


def _moment(random: Random, plan: Plan, exporter: PlannedExporter | None = None) -> float:
    """A time; most often one at which a run of this exporter may be in progress."""
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
                _moment(random, plan, exporter), "people", exporter.name,
                {"query": random.choice("ab"), "moved": random.choice((1, 2, 30)), "size": random.choice((0, 1, 5, 11, 12, 13, 20))},
            )  # fmt: skip


def _drift(random: Random, plan: Plan) -> Iterable[Event]:
    holding = [exporter for exporter in plan.exporters if exporter.options.get("driftPolicy") == "Hold"]
    for _ in range(_often(random, plan, "drift", len(plan.exporters) / 6)):
        exporter = random.choice(holding) if holding and random.random() < 0.7 else _one(random, plan)
        at = _moment(random, plan, exporter)
        yield Event(at, "drift", exporter.name, {"query": "a", "seconds": random.choice((20.0, 600.0, DAY))})


def _edits(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "edit", len(plan.exporters) / 5)):
        exporter = _one(random, plan)
        change: dict[str, Any] = random.choice((
            {"schedule": schedule(random)}, {"subject": f"Subject {random.randrange(100)}"}, {"query": random.choice("ab")},
            {"options": {"dryRun": random.random() < 0.5}}, {"options": {"driftPolicy": random.choice(("Hold", "Warn"))}},
            {"options": {"maxRecipients": random.choice((1, 10, 1000))}}, {"invalid": True},
        ))  # fmt: skip
        at = _moment(random, plan, exporter)
        yield Event(at, "edit", exporter.name, change)
        if change.get("invalid"):
            yield Event(at + random.random() * 6 * HOUR, "edit", exporter.name, {"invalid": False})


def _zones(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "zone", len(plan.exporters) / 8)):
        exporter = _one(random, plan)
        at = _moment(random, plan, exporter)
        for _ in range(random.choice((1, 1, 2, 3))):
            yield Event(at, "edit", exporter.name, {"zone": random.choice(ZONES)})
            at += random.random() * 12 * HOUR


def _flips(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "flip", 0.3)):
        exporter = _one(random, plan)
        at = _moment(random, plan, exporter)
        yield Event(
            at, "flip", exporter.name, {"minutes": random.choice((10, 60, 720)), "every": random.choice((20.0, 60.0))}
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
    for _ in range(_often(random, plan, "recreate", len(plan.exporters) / 12)):
        exporter = _one(random, plan)
        after = random.choice((0.0, 0.0, 0.0, 0.5, 30.0, 3600.0))
        yield Event(_moment(random, plan, exporter), "recreate", exporter.name, {"after": after})
    for _ in range(_often(random, plan, "restore", len(plan.exporters) / 10)):
        exporter = _one(random, plan)
        yield Event(_moment(random, plan, exporter), "restore", exporter.name, {"back": random.randrange(1, 6)})


def _tokens(random: Random, plan: Plan) -> Iterable[Event]:
    count = 0
    for _ in range(_often(random, plan, "token", len(plan.exporters) / 5)):
        exporter = _one(random, plan)
        at = _moment(random, plan, exporter)
        count += 1
        token = f"r{count}"
        yield Event(at, "token", exporter.name, {"token": token})
        if random.random() < 0.5:  # a tool has that token in Git; somebody annotates another one, the tool restores it
            at += random.choice((5.0, 600.0, 3 * HOUR))
            yield Event(at, "token", exporter.name, {"token": f"{token}x"})
            at += random.choice((1.0, 180.0, HOUR))
            yield Event(at, "token", exporter.name, {"token": token})
            for test in range(random.choice((0, 3, 19, 25)) if "test" in plan.enabled else 0):
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
        to = random.choice((*shards, "nobody"))
        yield Event(at, "relabel", exporter.name, {"shard": to})
        if random.random() < 0.8:
            back = random.choice((0.5, 2.0, 15.0, 120.0, 3 * HOUR))
            yield Event(at + back, "relabel", exporter.name, {"shard": random.choice((exporter.shard, *shards))})


CALLS = (
    "status", "status", "status", "get", "event", "secret", "execute", "export", "download", "create_batch",
    "import_contacts", "import_status", "create_distribution", "create_distribution", "create_distribution",
    "list_distributions", "lease",
)  # fmt: skip


def _strikes(random: Random, plan: Plan) -> Iterable[Event]:
    """Crashes and pauses, at any step that follows a call; and those that come out of the blue."""
    for kind, name, per_day in (("crash", "crash", 2.0), ("pause", "pause", 1.5)):
        for _ in range(_often(random, plan, name, per_day)):
            down = random.choice((1.0, 12.0, 60.0, 700.0, 2 * HOUR, 5 * HOUR))
            arguments: dict[str, Any] = {"seconds": down, "steps": random.choice((1, 1, 2, 3, 5, 8, 13, 30, 100))}
            if random.random() < 0.85:
                arguments["call"], arguments["nth"] = random.choice(CALLS), random.randrange(1, 7)
            yield Event(_moment(random, plan), kind, random.choice(plan.replicas).name, arguments)


def _restarts(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "restart", 0.5)):
        at = _moment(random, plan)
        for replica in plan.replicas:
            yield Event(at, "restart", replica.name, {})
            at += random.choice((1.0, 30.0))


def _clocks(random: Random, plan: Plan) -> Iterable[Event]:
    for _ in range(_often(random, plan, "clock", 0.5)):
        everyone = random.random() < 0.5
        offset = random.choice((60.0, 600.0, HOUR, 12 * HOUR, DAY, 3 * DAY)) * random.choice((1, 1, -1))
        names = [r.name for r in plan.replicas] if everyone else [random.choice(plan.replicas).name]
        at = _moment(random, plan)
        lasts = random.choice((5.0, 60.0, 60.0, 600.0, 6 * HOUR, None))
        for name in names:
            yield Event(at, "clock", name, {"offset": offset})
            if lasts is not None:
                yield Event(at + lasts, "clock", name, {"offset": 0.0})


def _cluster_trouble(random: Random, plan: Plan) -> Iterable[Event]:
    zones = sorted({replica.zone for replica in plan.replicas})
    for _ in range(_often(random, plan, "api-outage", 0.5)):
        yield Event(
            _moment(random, plan), "outage", random.choice((*zones, "*")),
            {"seconds": random.choice((20.0, 90.0, 400.0, HOUR))},
        )  # fmt: skip
    for _ in range(_often(random, plan, "api-forbidden", 0.3)):
        yield Event(
            _moment(random, plan), "forbid", f"team-{random.randrange(plan.instances)}",
            {"seconds": random.choice((60.0, 3 * HOUR))},
        )  # fmt: skip
    for _ in range(_often(random, plan, "api-conflict", 0.3)):
        yield Event(
            _moment(random, plan), "conflict", f"team-{random.randrange(plan.instances)}",
            {"seconds": random.choice((60.0, HOUR, 5 * HOUR))},
        )  # fmt: skip
    for _ in range(_often(random, plan, "watch-gap", 2.0)):
        yield Event(
            _moment(random, plan), "gap", random.choice(plan.replicas).name,
            {"seconds": random.choice((1.0, 30.0, 1500.0))},
        )  # fmt: skip
    for _ in range(_often(random, plan, "secret", 1.0)):
        exporter = _one(random, plan)
        yield Event(
            _moment(random, plan, exporter), "trouble_with_secret", f"team-{exporter.tenant}",
            {
                "name": random.choice(("nexthink", f"qualtrics-{exporter.brand}")),
                "what": random.choice(("delete", "unreadable", "unreadable", "rotate")),
                "seconds": random.choice((30.0, 1200.0, 4 * HOUR)),
            },
        )  # fmt: skip
    for _ in range(_often(random, plan, "remote-hang", 0.7)):
        host = random.choice(
            [f"t{n}.api.eu.nexthink.cloud" for n in range(plan.instances)] * 2
            + [f"b{n}.eu.qualtrics.com" for n in range(plan.brands)]
        )
        yield Event(_moment(random, plan) - 60, "hang", host, {"seconds": random.choice((300.0, HOUR, DAY))})


EVENTS: tuple[Callable[[Random, Plan], Iterable[Event]], ...] = (
    _created, _people, _drift, _edits, _zones, _flips, _suspensions, _deletions, _tokens, _tests, _settlements, _relabels,
    _strikes, _restarts, _clocks, _cluster_trouble,
)  # fmt: skip
