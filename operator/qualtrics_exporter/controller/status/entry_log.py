"""The log of runs: structured lines that keep what the history of ten entries forgets.

One line for each entry that ends, one for each later change of its result, reason or distribution, and one for each
read of delivery figures. The process that wrote an entry logs it, once. If the reply to a write is lost, the line waits
until the status shows that the write took effect. docs/operating.md has the table of fields.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from qualtrics_exporter.controller.kube.errors import Conflict, Unreachable
from qualtrics_exporter.controller.status.delivery_figures import is_id
from qualtrics_exporter.controller.status.key import Key
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import (
    Delivery,
    FollowedDelivery,
    HistoryEntry,
    RecipientCounts,
    Status,
    timestamp,
)

log = logging.getLogger(__name__)

RUN, RUN_CHANGED, DELIVERY = "run", "run_changed", "delivery"
_MESSAGES = {RUN: "a run or slot ended", RUN_CHANGED: "the outcome of a run changed", DELIVERY: "delivery figures"}

KEPT = 4
"""How many writes without a reply are remembered for each exporter."""

_Mark = tuple[str, datetime, str, str, str | None]
Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Line:
    event: str
    fields: Fields
    mark: _Mark
    """Identifies the entry in a status."""


@dataclass(slots=True)
class Change:
    """The writes of one change of a status."""

    unconfirmed: list[list[_Line]]
    """The lines of each write whose outcome is unknown."""
    _lines: list[_Line] = field(default_factory=list)

    def read(self, exporter: Exporter) -> None:
        """This is the exporter now: log what a write without a reply brought into it."""
        if not self.unconfirmed:
            return
        marks = {_mark(entry) for entry in exporter.status.entries}
        effective = [lines for lines in self.unconfirmed if any(line.mark in marks for line in lines)]
        # Two attempts to write the same entry have the same line.
        _log(exporter, list({line.mark: line for lines in effective for line in lines}.values()))
        self.unconfirmed = []

    def writing(self, before: Exporter, after: Status) -> None:
        """This status is written now."""
        self._lines = list(_lines(before, after))
        if self._lines:
            self.unconfirmed.append(self._lines)

    def written(self, exporter: Exporter) -> None:
        """The write took effect."""
        _log(exporter, self._lines)
        self.unconfirmed = []


@dataclass(slots=True)
class EntryLog:
    """Logs the entries that the writes of this process bring into the status of exporters."""

    _unconfirmed: dict[Key, list[list[_Line]]] = field(default_factory=dict)
    """The lines of changes that gave up without knowing whether their last write took effect."""

    @contextmanager
    def change(self, key: Key) -> Iterator[Change]:
        """One change of the status of an exporter. If it gives up, the next one finds out what was written."""
        change = Change(self._unconfirmed.pop(key, []))
        try:
            yield change
        except (Conflict, Unreachable):
            if change.unconfirmed:
                self._unconfirmed[key] = change.unconfirmed[-KEPT:]
            raise

    def forget(self, key: Key) -> None:
        """Remove the lines of an exporter that is gone: nobody can find out any more what was written."""
        self._unconfirmed.pop(key, None)


def log_delivery(exporter: Exporter, read: FollowedDelivery, figures: Delivery) -> None:
    """Log the delivery figures of this distribution, or why they are not read again."""
    fields = {
        **_identity(read.run_id, read),
        "send_time": _time(read.send_time),
        "observed_time": _time(figures.observed_time),
        "stopped_reason": _id(figures.stopped_reason),
        "request_status": _id(figures.request_status),
        **{name: getattr(figures, name) for name in FIGURES},
    }
    _write(exporter, DELIVERY, fields)


FIGURES = ("sent", "failed", "bounced", "blocked", "skipped", "opened", "started", "finished", "complaints")


def _lines(before: Exporter, after: Status) -> Iterator[_Line]:
    """The lines for everything that differs, oldest first."""
    known = {(entry.id, entry.completion_time): entry for entry in before.status.entries}
    history = [*(after.history or []), *after.left_history]
    for entry in [*reversed(history), *([after.last_test] if after.last_test else [])]:
        old = known.get((entry.id, entry.completion_time))
        if old is None:
            yield _Line(RUN, _run(entry, _generation(before, entry)), _mark(entry))
        elif _mark(old) != _mark(entry):
            former = {"previous_result": old.result, "previous_reason": _id(old.reason)}
            yield _Line(RUN_CHANGED, _run(entry, None) | former, _mark(entry))


def _run(entry: HistoryEntry, generation: int | None) -> Fields:
    counts = entry.recipients or RecipientCounts()
    start, end = entry.start_time, entry.completion_time
    return {
        **_identity(entry.id, entry),
        "trigger": entry.trigger,
        "result": entry.result,
        "reason": _id(entry.reason),
        "generation": generation,
        "scheduled_time": _time(entry.scheduled_time),
        "start_time": _time(start),
        "send_time": _time(entry.send_time),
        "completion_time": _time(end),
        "duration_seconds": max(0, int((end - start).total_seconds())) if start else None,
        **{f"recipients_{stage}": getattr(counts, stage) for stage in RecipientCounts.model_fields},
    }


def _identity(run_id: str, sent: HistoryEntry | FollowedDelivery) -> Fields:
    return {
        "run_id": _id(run_id),
        "survey_id": _id(sent.survey_id),
        "distribution_id": _id(sent.distribution_id),
    }


def _generation(before: Exporter, entry: HistoryEntry) -> int | None:
    """The generation of the spec that the run used: that of its journal. A slot without a run has the current one."""
    run = before.status.active_run
    return run.generation if run and run.id == entry.id else before.generation


def _mark(entry: HistoryEntry) -> _Mark:
    return entry.id, entry.completion_time, entry.result, entry.reason, entry.distribution_id


def _id(text: str | None) -> str | None:
    """Only text that can be an id or a reason: a tool may have written anything into a status."""
    return text if is_id(text) else None


def _time(time: datetime | None) -> str | None:
    return timestamp(time) if time else None


def _log(exporter: Exporter, lines: list[_Line]) -> None:
    for line in lines:
        _write(exporter, line.event, line.fields)


def _write(exporter: Exporter, event: str, fields: Fields) -> None:
    # `name` is an attribute of every log record, so the names of the exporter come from `k8s_ref`, as in lines of Kopf.
    reference = {"namespace": exporter.namespace, "name": exporter.name}
    present = {name: value for name, value in fields.items() if value is not None}
    log.info(_MESSAGES[event], extra={"k8s_ref": reference, "event": event, "uid": exporter.uid, **present})
