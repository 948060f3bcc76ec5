"""What the page of one exporter shows, as a function of the object and the time."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from qualtrics_exporter.cli.console.charts import chart, response_rate
from qualtrics_exporter.cli.manifest_findings import about_the_query
from qualtrics_exporter.cli.progress import describe
from qualtrics_exporter.cli.qex import requests
from qualtrics_exporter.cli.qex.health import UNKNOWN_OUTCOME, Level, health
from qualtrics_exporter.cli.qex.views import active, next_slots
from qualtrics_exporter.controller.plan.requests import RUN, TEST, requested
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.controller.status.resolution import is_reported, unknown_entries
from qualtrics_exporter.nql.findings import Finding
from qualtrics_exporter.nql.source import Source
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Condition

DONE = {
    "suspended": "The exporter is suspended now. No slot runs until you resume it.",
    "resumed": "The exporter is active now, from its next slot.",
    "reported": "The outcome was reported. The operator records it.",
}
GONE = (
    "The request is not in the exporter any more, and its run is not among the latest. A tool such as Flux or Argo CD "
    "may have removed the request before the operator saw it."
)
RUN_ID = re.compile("[a-z2-7]{20}")
SETTLED = frozenset({"NotYetRun", "NotYetChecked"})


@dataclass(frozen=True, slots=True)
class Notice:
    """One message at the top of the page."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class QueryPart:
    """A part of the query, and the finding about it, if there is one."""

    text: str
    number: int = 0
    """The number of the finding, from 1; 0 for a part without a finding."""
    severity: str = ""


@dataclass(frozen=True, slots=True)
class QueryFinding:
    """A finding about the query, with its place as people count: lines and columns from 1."""

    number: int
    severity: Literal["error", "warning"]
    line: int
    column: int
    message: str
    rule: str


def exporter_page(found: Mapping[str, Any], exporter: Exporter, now: datetime, done: str) -> dict[str, Any]:
    """The values of the template. `done` is what the reader has just done: the id of a run, or a key of `DONE`."""
    status = exporter.status
    entries = sorted(status.entries, key=lambda entry: entry.completion_time, reverse=True)
    parts, findings = query(found.get("spec"))
    shown = notice(exporter, done, now)
    return {
        "exporter": exporter,
        "health": health(exporter),
        "active": active(exporter),
        "slots": next_slots(exporter, now),
        "in_progress": _in_progress(exporter, now),
        "gitops_tool": requests.gitops_tool(found) if found else None,
        "notice": shown,
        "banner": banner(exporter, shown),
        "entries": [(entry, response_rate(entry), is_reported(entry)) for entry in entries],
        "chart": chart(entries),
        "conditions": [(each, _level(each), _message(each, exporter)) for each in status.conditions or []],
        "unknown": unknown_entries(status),
        "query": parts,
        "findings": findings,
        "audience": requests.audience(exporter),
    }


def notice(exporter: Exporter, done: str, now: datetime) -> Notice | None:
    """How the reader's request is doing."""
    if not done:
        return None
    if done in DONE:
        return Notice("good", DONE[done])
    status = exporter.status
    if status.active_run and status.active_run.id == done:
        return Notice("pending", f"{describe(status.active_run, now)} …")
    if entry := next((entry for entry in status.entries if entry.id == done), None):
        if entry.result == "Unknown":
            return None  # the page asks for its outcome
        if conditions.went_well(entry):
            return Notice("good", f"{entry.result}. {entry.message}")
        result = "Sent, but not delivered" if entry.result == "Succeeded" else entry.result
        return Notice("error", f"{result}. {entry.message}")
    if requested(RUN, exporter) or requested(TEST, exporter):
        return Notice("pending", "Requested. Waiting for the operator. If nothing happens, it may not be running.")
    return Notice("warning", GONE) if RUN_ID.fullmatch(done) else None


def _in_progress(exporter: Exporter, now: datetime) -> str:
    """What the operator does, or what it is asked to do; empty if there is nothing."""
    if run := exporter.status.active_run:
        return f"In progress: {describe(run, now)} …"
    asked = "A run" if requested(RUN, exporter) else "A test" if requested(TEST, exporter) else ""
    return f"{asked} is requested. The operator has not begun it." if asked else ""


def banner(exporter: Exporter, shown: Notice | None) -> Notice | None:
    """What needs attention, unless the page says it already: in this notice, or by asking for an unknown outcome."""
    found = health(exporter)
    if found.level not in ("error", "warning") or not found.message or found.message == _warnings(exporter):
        return None
    asked = found.message == UNKNOWN_OUTCOME and unknown_entries(exporter.status)
    if asked or (shown and shown.level != "good" and found.message in shown.text):
        return None
    return Notice(found.level, found.message)


def _warnings(exporter: Exporter) -> str:
    """All warnings of the last check. The page lists them one by one."""
    return " ".join(each.message for each in exporter.status.warnings or [])


def _message(condition: Condition, exporter: Exporter) -> str:
    """The message of a condition, without what the page says elsewhere: the message of a run, and warnings."""
    entries = exporter.status.entries
    if condition.type == conditions.LAST_RUN_SUCCEEDED and any(e.message == condition.message for e in entries):
        return "The latest runs below say more."
    if condition.type == conditions.READY:
        return condition.message.removesuffix(_warnings(exporter)).rstrip()
    return condition.message


def _level(condition: Condition) -> Level:
    """How good a condition is: most are good if True, and Stalled and Reconciling if not."""
    if condition.type in (conditions.STALLED, conditions.RECONCILING):
        return "error" if condition.type == conditions.STALLED else "pending"
    if condition.status == "Unknown":
        return "pending" if condition.reason in SETTLED else "warning"
    return "good" if condition.status == "True" else "error"


def query(spec: Any) -> tuple[Sequence[QueryPart], Sequence[QueryFinding]]:
    """The query in parts, and the findings about it."""
    nexthink = spec.get("nexthink") if isinstance(spec, Mapping) else None
    text = nexthink.get("query") if isinstance(nexthink, Mapping) else None
    if not isinstance(text, str):
        return (), ()
    source = Source(text)
    found = sorted(about_the_query(spec), key=lambda each: each[1].span)
    listed = []
    for number, (severity, finding) in enumerate(found, 1):
        line, column = source.position(finding.span.start)
        listed.append(QueryFinding(number, severity, line, column, finding.message, finding.rule))
    return tuple(_parts(text, found)), listed


def _parts(text: str, found: Sequence[tuple[str, Finding]]) -> Iterator[QueryPart]:
    """The text with each finding marked. Where two findings overlap, the first one is marked."""
    at = 0
    for number, (severity, finding) in enumerate(found, 1):
        start, end = finding.span.start, max(finding.span.end, finding.span.start + 1)
        if start < at or start >= len(text):
            continue
        yield QueryPart(text[at:start])
        yield QueryPart(text[start:end], number, severity)
        at = end
    yield QueryPart(text[at:])
