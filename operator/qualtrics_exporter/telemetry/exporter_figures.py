"""What the metrics show about one exporter, in little memory: there are ten thousand exporters.

An exporter has one tuple. Its times and counts are packed into one object of bytes, and labels that many exporters have
in common are the same object. `exporter_series.py` formats the tuples.

The status may have any values, because tools write it too. A value that cannot be shown is left out, and an unknown
reason is `Other`: a label never has text that somebody else wrote.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from struct import Struct
from typing import NamedTuple, get_args

from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Condition, HistoryEntry, RecipientCounts, Result, Status

OTHER = "Other"
"""The label for a reason that this version does not know."""
RESULTS: tuple[Result, ...] = get_args(Result)
CONDITION_TYPES = (
    *("Ready", "NexthinkReady", "QualtricsReady", "QueryInSync", "LastRunSucceeded"),
    *("Reconciling", "Stalled"),
)
"""The conditions that the operator writes. Others come from other tools."""
STAGES = ("returned", "empty", "invalid", "duplicate", "sampled_out", "accepted", "imported")
PREVIOUS_STAGES = ("accepted", "sampled_out")
OUTCOMES = (
    *("sent", "failed", "bounced", "blocked", "skipped"),
    *("opened", "started", "finished", "complaints"),
)
SIDES = ("nexthink", "qualtrics")

NO_RUNS = (0,) * len(RESULTS)
NOTHING = 0xFFFFFFFF
"""Stands for a missing value. Times are in whole seconds. A time after 2106 is shown as a time in 2106."""
_COMPLETED = ("Succeeded", "DryRun", "Unknown")
_REASONS = frozenset(map(str, Reason))


@dataclass(frozen=True, slots=True)
class Columns:
    """Some of the packed values, one after the other."""

    first: int
    number: int

    @property
    def structure(self) -> Struct:
        return Struct(f"={self.number}I")

    @property
    def offset(self) -> int:
        return 4 * self.first


def _columns(*numbers: int) -> list[Columns]:
    return [Columns(sum(numbers[:place]), number) for place, number in enumerate(numbers)]


(
    READY, SUSPENDED, UNRESOLVED, INTERVAL,
    LAST_SUCCESS, NEXT_SLOT, COUNTED_SINCE, LAST_SENT, LAST_RUN,
    RECIPIENTS, PREVIOUS, DELIVERY, EXPIRY,
) = _columns(*(1,) * 9, len(STAGES), len(PREVIOUS_STAGES), len(OUTCOMES), len(SIDES))  # fmt: skip
_PACKED = Struct(f"={EXPIRY.first + EXPIRY.number}I")


class Figures(NamedTuple):
    """What is known about one exporter."""

    uid: str
    values: bytes
    last_run: tuple[str, ...]
    """The labels of `last_run_info` as text, without those of all metrics. Empty without a run."""
    conditions: tuple[str, ...]
    """The labels of `condition` in the same form, for each condition."""
    runs: tuple[int, ...] = NO_RUNS
    """How many entries this process wrote, for each of `RESULTS`."""

    def plus_run(self, result: Result) -> "Figures":
        """The figures with one more entry."""
        return self._replace(runs=tuple(n + (r == result) for n, r in zip(self.runs, RESULTS, strict=True)))


def figures_of(exporter: Exporter, *, ready: bool) -> Figures:
    """The figures of an exporter as it was seen."""
    status, spec, suspended = exporter.status, exporter.spec, exporter.suspended
    runs = [entry for entry in status.history or [] if entry.trigger != "Test"]
    newest = runs[0] if runs else None
    # A run that failed and a request that was skipped meanwhile are written together, and the skipped one is newer.
    ended = next((entry for entry in runs if entry.result != "Skipped"), newest)
    counts, previous = _audiences(runs)
    delivery = next((e.delivery for e in runs if e.delivery and _has_figures(e)), None)
    expiry = status.credentials_expiry
    values = (
        int(ready),
        int(suspended),
        sum(entry.result == "Unknown" for entry in status.entries),
        _number(spec.schedule.interval().total_seconds()) if spec and not suspended else NOTHING,
        _time(status.last_successful_time),
        NOTHING if suspended else _time(status.next_schedule_time),
        _time(_counted_since(status, runs)) if spec and not suspended and not spec.dry_run else NOTHING,
        _time(_last_sent(status, runs)),
        _time(newest.completion_time if newest else None),
        *_numbers(counts, STAGES),
        *_numbers(previous, PREVIOUS_STAGES),
        *_numbers(delivery, OUTCOMES),
        *(_time(getattr(expiry, side, None)) for side in SIDES),
    )
    return Figures(
        uid=exporter.uid,
        values=_PACKED.pack(*values),
        last_run=_last_run(ended.result, known_reason(ended.reason)) if ended else (),
        conditions=_conditions(tuple(_distinct(status.conditions or []))),
    )


def known_reason(reason: str) -> str:
    """The reason as a label."""
    return reason if reason in _REASONS else OTHER


def _counted_since(status: Status, runs: Iterable[HistoryEntry]) -> datetime | None:
    """Since when slots count. The slots of an exporter that was tried with spec.dryRun had a dry run."""
    dry = max((entry.completion_time for entry in runs if entry.result == "DryRun"), default=None)
    since = status.schedule_since
    return max(since, dry) if since and dry else since


def _audiences(runs: Iterable[HistoryEntry]) -> tuple[RecipientCounts | None, RecipientCounts | None]:
    """The counts of the newest run that has some, and of the newest completed run before it."""
    counted = [(entry.recipients, entry.result) for entry in runs if entry.recipients]
    newest = counted[0][0] if counted else None
    completed = (counts for counts, result in counted[1:] if result in _COMPLETED and counts.accepted is not None)
    return newest, next(completed, None)


def _has_figures(entry: HistoryEntry) -> bool:
    return any(getattr(entry.delivery, outcome) is not None for outcome in OUTCOMES)


def _last_sent(status: Status, runs: Iterable[HistoryEntry]) -> datetime | None:
    """When a distribution was last requested. The other lists reach further back than the history."""
    times = [one.send_time for one in (*runs, *(status.sampled_groups or ()), *(status.followed_deliveries or ()))]
    return max((time for time in times if time), default=None)


def _distinct(conditions: Iterable[Condition]) -> Iterable[tuple[str, str, str]]:
    """Each condition of the operator once, in the order of `CONDITION_TYPES`."""
    known = {one.type: (one.type, one.status, known_reason(one.reason)) for one in conditions}
    return (known[type_] for type_ in CONDITION_TYPES if type_ in known)


def _numbers(counts: object, names: tuple[str, ...]) -> Iterable[int]:
    return (_number(getattr(counts, name, None)) for name in names)


def _number(value: float | None) -> int:
    return int(value) if value is not None and 0 <= value < NOTHING else NOTHING


def _time(time: object) -> int:
    return min(int(time.timestamp()), NOTHING - 1) if isinstance(time, datetime) else NOTHING


# Thousands of exporters have the same few of these: each is one object. The labels are in alphabetical order.


@lru_cache(maxsize=1024)
def _last_run(result: str, reason: str) -> tuple[str, ...]:
    return (f'reason="{reason}",result="{result}"',)


@lru_cache(maxsize=4096)
def _conditions(conditions: tuple[tuple[str, str, str], ...]) -> tuple[str, ...]:
    return tuple(_condition(*condition) for condition in conditions)


@lru_cache(maxsize=1024)
def _condition(type_: str, status: str, reason: str) -> str:
    return f'reason="{reason}",status="{status}",type="{type_}"'
