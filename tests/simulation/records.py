"""What the invariants know about each object, and when they excuse slow progress."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qualtrics_exporter.schedule import Schedule

from .clock import true_time

NOBODY = "nobody"
"""In place of a shard: no replica selects the object."""


@dataclass(frozen=True)
class Violation:
    """A violation of an invariant. `kind` is the name of the invariant."""

    kind: str
    exporter: str
    what: str
    time: float

    def __str__(self) -> str:
        return f"{true_time(self.time):%a %d %H:%M:%S}  {self.kind}: {self.exporter} {self.what}"


@dataclass
class Promise:
    """A time span in which the status had this schedule, and the exporter was not suspended."""

    schedule: Schedule
    begin: float
    since: datetime
    """`scheduleSince` as the operator wrote it, by its own clock."""
    shard: str
    end: float = float("inf")
    noticed: float | None = None
    """When an operator wrote the first status after the end."""


@dataclass
class Seen:
    """An entry of a history, as it was first written."""

    entry: dict[str, Any]
    time: float
    decided: float
    """When its slot was last decided. That can be later, with an entry that does not differ."""


@dataclass
class Record:
    """Everything that is known about one object."""

    uid: str
    name: str
    namespace: str
    created: float
    moves: list[tuple[float, str]] = field(default_factory=list)
    """When it was moved to which shard."""
    specs: dict[int, dict[str, Any]] = field(default_factory=dict)
    schedules: list[Schedule] = field(default_factory=list)
    deleted: float | None = None
    promises: list[Promise] = field(default_factory=list)
    entries: dict[str, Seen] = field(default_factory=dict)
    run_tokens: dict[str, list[float]] = field(default_factory=dict)
    """Tokens of run requests, and the times at which each was set."""
    test_tokens: dict[str, list[float]] = field(default_factory=dict)
    exempt: set[str] = field(default_factory=set)
    """Tokens that were set when the operator first saw the object. They count as handled."""
    deliverable: set[str] = field(default_factory=set)
    """Test tokens that were set together with `Deliver` at some time."""
    active: tuple[str, float] | None = None
    """The id of the run in progress, and its start."""
    journal: dict[str, Any] | None = None
    """`activeRun` as the operator wrote it last. The object may have another one, if a tool damaged its status."""
    rested: float = 0.0
    """When the last run ended."""
    writes: dict[str, list[float]] = field(default_factory=dict)
    """The times at which each process tried to write the status."""
    batches: dict[str, list[str]] = field(default_factory=dict)
    """The batches that the journal named for each run, in order."""
    invalid: set[int] = field(default_factory=set)
    """Generations with an invalid spec. `specs` has the others."""
    noticed: bool = False
    """Whether the operator has written a status."""
    sent_slots: dict[str, datetime] = field(default_factory=dict)
    """Ids of the runs of slots that were sent, and when the slots were due."""
    damages: list[float] = field(default_factory=list)
    """When a tool damaged the status."""
    losses: list[float] = field(default_factory=list)
    """When a tool removed parts of the status without a trace."""
    lost_runs: dict[str, float | None] = field(default_factory=dict)
    """Runs in progress whose id was damaged, and when. None: removed without a trace."""
    forgotten: set[str] = field(default_factory=set)
    """Runs that a damaged status did not remember."""

    @property
    def shard(self) -> str:
        """The shard to which it belongs."""
        return self.moves[-1][1]

    def stays(self) -> Iterator[tuple[float, float, str]]:
        """The time spans in which it belonged to each shard."""
        ends = [*(time for time, _ in self.moves[1:]), float("inf")]
        for (begin, shard), end in zip(self.moves, ends, strict=True):
            yield begin, end, shard


@dataclass
class Disturbance:
    """A time span in which slow progress is excused. `scope` is an exporter, a namespace, a host, a shard, or `*`."""

    begin: float
    end: float
    scope: str


class Excuses:
    """Time spans in which slow progress is excused, and the clock steps of each shard."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._disturbances: list[Disturbance] = []
        self._steps: defaultdict[str, list[tuple[float, str, float]]] = defaultdict(list)
        """The clock steps of each shard: the time, the replica, and its new offset."""

    def disturb(self, seconds: float, scope: str) -> None:
        """Excuse slow progress in this scope for so many seconds from now."""
        now = self._time()
        self._disturbances.append(Disturbance(now, now + seconds, scope))

    def clock_stepped(self, replica: str, shard: str, offset: float) -> None:
        """From now on, the wall clock of a replica of this shard is wrong by so many seconds."""
        self._steps[shard].append((self._time(), replica, offset))

    def _scopes(self, record: Record) -> set[str]:
        tenant = record.namespace.partition("-")[2]
        hosts = {f"t{tenant}.api.eu.nexthink.cloud"}
        if record.specs:
            spec = record.specs[max(record.specs)]
            brand = spec["qualtrics"]["credentialsSecretRef"]["name"].partition("-")[2]
            hosts.add(f"b{brand}.eu.qualtrics.com")
        return {"*", record.name, record.uid, record.namespace, *hosts}

    def _spans(self, record: Record, scopes: set[str]) -> Iterator[tuple[float, float]]:
        for one in self._disturbances:
            if one.scope in scopes:
                yield one.begin, one.end
            for begin, end, shard in record.stays():
                if one.scope == shard:
                    yield max(one.begin, begin), min(one.end, end)

    def disturbed(self, record: Record, begin: float, end: float, *, relabelled: bool = False) -> float:
        """The seconds of the span in which slow progress is excused. `relabelled`: a change of labels is no excuse."""
        scopes = self._scopes(record) - ({record.name} if relabelled else set())
        spans = sorted((max(first, begin), min(last, end)) for first, last in self._spans(record, scopes))
        total, last = 0.0, begin
        for start, stop in spans:
            if stop > max(start, last):
                total += stop - max(start, last)
                last = stop
        for came, left, shard in record.stays():
            for time, _, offset in self._steps.get(shard, ()):
                if max(begin, came) <= time <= min(end, left):
                    total += abs(offset)  # a deadline by the wall clock moves with it
        return total

    def undisturbed(self, record: Record, begin: float, end: float, *, relabelled: bool = False) -> bool:
        """Whether nothing excuses slow progress in this span."""
        return self.disturbed(record, begin, end, relabelled=relabelled) <= 0.0 and self.clocks_right(
            record.shard, begin, end
        )

    def behind(self, shard: str, at: float) -> float:
        """How many seconds the slowest wall clock of this shard was behind at that time."""
        offsets = {replica: offset for time, replica, offset in self._steps.get(shard, ()) if time <= at}
        return -min(0.0, *offsets.values(), 0.0)

    def clocks_right(self, shard: str, begin: float, end: float) -> bool:
        """Whether the wall clocks of that shard were right during that span."""
        at_begin: dict[str, float] = {}
        for time, replica, offset in self._steps.get(shard, ()):
            if time <= begin:
                at_begin[replica] = offset
            elif time < end and offset:
                return False
        return not any(at_begin.values())


def status_of(body: dict[str, Any] | None) -> dict[str, Any]:
    """The status of an object. Empty if it has none, or if the status is not an object."""
    status = (body or {}).get("status")
    return status if isinstance(status, dict) else {}


def parse_time(text: Any) -> datetime | None:
    """A time in a status. None if an operator cannot have written it."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if 2000 <= time.year < 9000 and time.tzinfo else None


def summary(entry: dict[str, Any]) -> str:
    """A short description of an entry."""
    when = entry.get("scheduledTime", "a request")
    return f"{entry['result']} {entry['reason']} for {when} ended {entry['completionTime']}"


def differences(before: dict[str, Any], after: dict[str, Any]) -> str:
    """A short description of what a write changes."""
    parts = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name == "conditions":
            parts.append("conditions")
        elif name == "activeRun":
            parts.append(
                f"activeRun={new['id'][:6]} {new['step']} attempt {new.get('attempt', 1)}" if new else "activeRun=-"
            )
        elif name == "history":
            added = new and (not old or not isinstance(old, list) or new[0] != old[0])
            parts.append(f"history[0]={summary(new[0])}" if added else "history")
        elif name == "lastTest":
            parts.append(f"lastTest={summary(new)}" if new else "lastTest=-")
        else:
            parts.append(f"{name}={new}")
    return ", ".join(parts)
