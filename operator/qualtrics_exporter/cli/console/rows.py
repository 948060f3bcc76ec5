"""The list of exporters: one row for each, and search, filter and order as functions of all rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from qualtrics_exporter.cli.progress import describe
from qualtrics_exporter.cli.qex.health import Health, health
from qualtrics_exporter.cli.qex.views import active
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.status import Delivery, HistoryEntry, RecipientCounts

PAGE_LENGTH = 50
FUNNEL = ("sent", "opened", "started", "finished")


@dataclass(frozen=True, slots=True)
class LatestRun:
    """The newest entry of an exporter: what the list shows of it."""

    ended: datetime
    result: str
    reason: str
    people: int | None
    """How many people the run accepted; None if it did not get that far."""
    funnel: tuple[tuple[str, int], ...]
    """From sent to finished, as far as the figures are known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One exporter in the list."""

    namespace: str
    name: str
    uid: str
    version: str
    active: str
    schedule: str
    next_slot: datetime | None
    in_progress: str
    latest: LatestRun | None
    health: Health
    found_by: str
    """Lower case text that a search finds."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the reader wants to see. Every text is a value that the page offers, or anything else from the address."""

    search: str = ""
    namespace: str = ""
    state: str = ""
    order: str = ""
    page: int = 1

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Choice":
        """The choice in the query of an address."""
        page = query.get("page", "1")
        return cls(
            query.get("q", "").strip(),
            query.get("namespace", ""),
            query.get("state", ""),
            query.get("order", ""),
            max(1, int(page)) if page.isdecimal() and len(page) < 7 else 1,
        )

    def query(self, **changes: Any) -> dict[str, str]:
        """The query of an address with this choice and these changes."""
        values = {"q": self.search, "namespace": self.namespace, "state": self.state, "order": self.order}
        page = {"page": self.page} if self.page > 1 else {}
        return {name: str(value) for name, value in ({**values, **page, **changes}).items() if value}


STATES = {
    "attention": "needs attention",
    "active": "active",
    "suspended": "suspended",
    "dry run": "dry run",
    "invalid": "invalid",
    "running": "running now",
}
ORDERS = {"": "name", "next": "next slot", "latest": "latest run"}


@dataclass(frozen=True, slots=True)
class Selection:
    """One page of the list."""

    rows: Sequence[Row]
    found: int
    page: int
    pages: int


def row_of(exporter: Exporter) -> Row:
    """The row of an exporter."""
    spec, status = exporter.spec, exporter.status
    words = [exporter.namespace, exporter.name, status.schedule or ""]
    if spec:
        words += [spec.description or "", spec.qualtrics.survey_id, spec.qualtrics.subject, spec.nexthink.query_id]
    return Row(
        namespace=exporter.namespace,
        name=exporter.name,
        uid=exporter.uid,
        version=exporter.resource_version,
        active=active(exporter),
        schedule=status.schedule or "",
        next_slot=None if exporter.suspended else status.next_schedule_time,
        in_progress=describe(status.active_run) if status.active_run else "",
        latest=next((_latest(entry) for entry in status.history or []), None),
        health=health(exporter),
        found_by="\n".join(words).lower(),
    )


def _latest(entry: HistoryEntry) -> LatestRun:
    counts, figures = entry.recipients or RecipientCounts(), entry.delivery or Delivery()
    funnel = ((name, getattr(figures, name)) for name in FUNNEL)
    return LatestRun(
        entry.completion_time,
        entry.result,
        entry.reason,
        counts.accepted,
        tuple((name, value) for name, value in funnel if value is not None),
    )


def select(rows: Iterable[Row], choice: Choice) -> Selection:
    """The rows of the chosen page."""
    words = choice.search.lower().split()
    found = [
        row
        for row in rows
        if (not choice.namespace or row.namespace == choice.namespace)
        and _is(row, choice.state)
        and all(word in row.found_by for word in words)
    ]
    found.sort(key=lambda row: (row.namespace, row.name))
    if choice.order == "next":
        found.sort(key=lambda row: (row.next_slot is None, row.next_slot.timestamp() if row.next_slot else 0))
    elif choice.order == "latest":
        found.sort(key=lambda row: row.latest.ended.timestamp() if row.latest else 0, reverse=True)
    pages = max(1, -(-len(found) // PAGE_LENGTH))
    page = min(choice.page, pages)
    return Selection(found[(page - 1) * PAGE_LENGTH : page * PAGE_LENGTH], len(found), page, pages)


def _is(row: Row, state: str) -> bool:
    match state:
        case "attention":
            return row.health.level in ("error", "warning")
        case "active":
            return row.active == "yes"
        case "running":
            return bool(row.in_progress)
        case "suspended" | "dry run" | "invalid":
            return row.active == state
        case _:
            return True
