"""What a command shows of an exporter, as functions of the object, the time and the time zone of the reader."""

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Any

from qualtrics_exporter.cli.progress import describe
from qualtrics_exporter.cli.qex.health import health
from qualtrics_exporter.cli.qex.tables import table
from qualtrics_exporter.pages.times import ago, local
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Delivery, HistoryEntry, timestamp
from qualtrics_exporter.schedule import Schedule, next_slot

NEXT_SLOTS = 3
"""How many slots `status` shows."""

LIST_HEADER = ("NAME", "ACTIVE", "SCHEDULE", "NEXT SLOT", "LAST RUN", "PEOPLE", "HEALTH")
HISTORY_HEADER = (
    *("ENDED", "TRIGGER", "RESULT", "REASON", "RETURNED", "ACCEPTED", "IMPORTED"),
    *("SENT", "OPENED", "STARTED", "FINISHED", "BOUNCED", "BLOCKED", "RUN"),
)


def active(exporter: Exporter) -> str:
    """Whether slots send: `yes`, `suspended`, `dry run` or `invalid`."""
    if exporter.spec is None:
        return "invalid"
    if exporter.spec.suspend:
        return "suspended"
    return "dry run" if exporter.spec.dry_run else "yes"


def listed(exporters: Sequence[Exporter], now: datetime, zone: tzinfo | None, *, namespaces: bool) -> str:
    """The table of `list`."""
    header = ("NAMESPACE", *LIST_HEADER) if namespaces else LIST_HEADER
    ordered = sorted(exporters, key=lambda each: (each.namespace, each.name))
    return table(header, (_listed(each, now, zone, namespaces=namespaces) for each in ordered))


def _listed(exporter: Exporter, now: datetime, zone: tzinfo | None, *, namespaces: bool) -> tuple[str, ...]:
    status = exporter.status
    newest = next((entry for entry in status.history or []), None)
    counts = newest.recipients if newest else None
    row = (
        exporter.name,
        active(exporter),
        status.schedule or "",
        "" if exporter.suspended else local(status.next_schedule_time, zone),
        f"{newest.result}, {ago(newest.completion_time, now)}" if newest else "",
        str(counts.accepted) if counts and counts.accepted is not None else "",
        health(exporter).text,
    )
    return (exporter.namespace, *row) if namespaces else row


def next_slots(exporter: Exporter, now: datetime, count: int = NEXT_SLOTS) -> list[datetime]:
    """When the next slots are due; empty while suspended or if the schedule is not known."""
    schedule = Schedule.from_description(exporter.status.schedule or "")
    if schedule is None or exporter.suspended or exporter.spec is None:
        return []
    due = [max(exporter.status.next_schedule_time or now, now)]
    if exporter.status.next_schedule_time is None or exporter.status.next_schedule_time < now:
        due = [next_slot(schedule, now).due]
    while len(due) < count:
        due.append(next_slot(schedule, due[-1]).due)
    return due


def status_page(exporter: Exporter, now: datetime, zone: tzinfo | None) -> str:
    """The page of `status`."""
    return "\n".join(_status_lines(exporter, now, zone))


def _status_lines(exporter: Exporter, now: datetime, zone: tzinfo | None) -> Iterator[str]:
    spec, status = exporter.spec, exporter.status
    yield f"{exporter.namespace}/{exporter.name}: {health(exporter).text}"
    yield ""
    facts: list[tuple[str, str]] = [("Active", _active_sentence(exporter)), ("Schedule", status.schedule or "unknown")]
    facts += [("Next slots" if n == 0 else "", local(due, zone)) for n, due in enumerate(next_slots(exporter, now))]
    if spec:
        facts.append(("Query", spec.nexthink.query_id))
        facts.append(("Survey", f"{spec.qualtrics.survey_id}: {spec.qualtrics.subject}"))
    else:
        facts.append(("Spec", f"invalid: {exporter.spec_error}"))
    if run := status.active_run:
        facts.append(("In progress", f"{describe(run, now)} (run {run.id}, since {ago(run.start_time, now)})"))
    yield from (f"  {name:<12} {value}" for name, value in facts)
    yield ""
    yield "Conditions"
    for condition in status.conditions or []:
        yield f"  {condition.type}: {condition.status} ({condition.reason}). {condition.message}"
    if not status.conditions:
        yield "  none: the operator has not seen this exporter yet"
    yield ""
    yield "Latest runs"
    entries = exporter.status.entries
    yield history(entries[:5], zone) if entries else "  none"
    for entry in (entry for entry in entries if entry.result == "Unknown"):
        yield ""
        yield f"It is unknown whether run {entry.id} was sent. In Qualtrics, look for a distribution of survey"
        yield f"{entry.survey_id} at {_sent(entry)}. Then report it (Sent, NotSent, or the id of the distribution):"
        yield f"  kubectl qex resolve -n {exporter.namespace} {exporter.name} {entry.id}=Sent"


def _active_sentence(exporter: Exporter) -> str:
    return {
        "yes": "yes",
        "suspended": "suspended: no slot runs until you resume it",
        "dry run": "dry run: slots count the people and send nothing",
        "invalid": "no: the spec is invalid",
    }[active(exporter)]


def _sent(entry: HistoryEntry) -> str:
    return f"{timestamp(entry.send_time)} (UTC)" if entry.send_time else "that time"


def history(entries: Sequence[HistoryEntry], zone: tzinfo | None) -> str:
    """The table of `history`: runs, slots and tests, newest first, from rows of the query to finished surveys."""
    ordered = sorted(entries, key=lambda entry: entry.completion_time, reverse=True)
    return table(HISTORY_HEADER, (_row(entry, zone) for entry in ordered))


def _row(entry: HistoryEntry, zone: tzinfo | None) -> tuple[str, ...]:
    counts, figures = entry.recipients, entry.delivery or Delivery()
    numbers: list[Any] = [getattr(counts, name) if counts else None for name in ("returned", "accepted", "imported")]
    numbers += [getattr(figures, name) for name in ("sent", "opened", "started", "finished", "bounced", "blocked")]
    shown = ("" if number is None else str(number) for number in numbers)
    return (local(entry.completion_time, zone), entry.trigger, entry.result, entry.reason, *shown, entry.id)
