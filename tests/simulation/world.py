"""The parts of a plan: replicas, exporters and events."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from qualtrics_exporter.schedule import WEEKDAYS, Schedule, zone

from .clock import true_time

ZONES = (
    "UTC",
    "Europe/Zurich",
    "Europe/London",
    "America/New_York",
    "America/Los_Angeles",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Pacific/Apia",
    "Australia/Lord_Howe",
)
HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True)
class PlannedReplica:
    name: str
    shard: str
    selector: str | None
    zone: str
    elects: bool


@dataclass(frozen=True)
class PlannedExporter:
    """An exporter as its user first writes it. `tenant` is its namespace. It has two saved queries, a and b."""

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
    """The number of its survey and mailing list. Two exporters may share them."""


@dataclass(frozen=True)
class Event:
    """An action of a user, a tool or a fault at a planned time."""

    time: float
    kind: str
    target: str
    arguments: dict[str, Any]
    number: int = -1

    def __str__(self) -> str:
        arguments = " ".join(f"{key}={value}" for key, value in self.arguments.items())
        return f"{self.number:4}  {true_time(self.time):%a %d %H:%M:%S}  {self.kind} {self.target} {arguments}".rstrip()


@dataclass
class Plan:
    """One world."""

    seed: int
    enabled: frozenset[str]
    rate: float
    seconds: float
    density: float
    """The number of faults a day, relative to a world of a few days."""
    runs: int
    instances: int
    brands: int
    list_lag: list[float]
    batch_echo: list[str]
    import_seconds: list[float]
    busy_lists: list[str]
    """What happens to a second import into a mailing list: it waits ("queue"), or gets a 429 ("refuse")."""
    contacts: int
    """The most contacts of one request. If there are few, a run has several imports in progress."""
    replicas: list[PlannedReplica]
    exporters: list[PlannedExporter]
    events: list[Event] = field(default_factory=list)


def schedule(random: Random) -> dict[str, Any]:
    """The schedule of a spec, in most cases weekly or daily."""
    kind = random.random()
    chosen: dict[str, Any]
    if kind < 0.45:
        chosen = {"frequency": "Weekly", "dayOfWeek": random.choice(WEEKDAYS)}
    elif kind < 0.9:
        chosen = {"frequency": "Daily"}
    else:
        chosen = {"frequency": "Hourly", "everyHours": random.choice((12, 12, 6, 6, 4, 3, 2, 1))}
    if random.random() < 0.8:
        chosen["timeZone"] = random.choice(ZONES)
    return chosen


def default_zone(status: dict[str, Any]) -> str:
    """The time zone of a schedule that names none."""
    name = status.get("timeZone")
    return name if isinstance(name, str) and name in ZONES else "UTC"


def parsed(written: dict[str, Any], default: str = "UTC") -> Schedule:
    """The schedule that a spec describes."""
    return Schedule(
        written["frequency"],
        zone(written.get("timeZone") or default),
        written.get("everyHours"),
        written.get("dayOfWeek"),
    )
