"""Delivery figures: when to read them from Qualtrics, and what they mean.

At first a distribution is `Pending` with zero figures, `Done` does not mean delivered (docs/facts/qualtrics.md section
3, documented), and answers arrive for days. So the figures are read 2, 10 and 60 minutes after the send and then daily
for a week. The next time follows from the entry alone, so a restart neither repeats nor skips it.
"""

import re
from datetime import datetime, timedelta

from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, HistoryEntry

MARKS = (
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=60),
    *(timedelta(days=day) for day in range(1, 8)),
)
GIVEN_UP = timedelta(days=8)
"""How long after the send the operator gives up figures that it cannot read."""
_AHEAD = timedelta(hours=6)
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
SUPPRESSED_SHARE = 0.9
"""If Qualtrics blocked this share of the people as duplicates, the reason is `DuplicateSuppressed`. The share is less
than 1, because some people may be new since the last mail.
"""

# A reason about the delivery may replace these: they only say that the survey was sent.
_PLAIN = (
    Reason.SUCCEEDED,
    Reason.FOUND_LATER,
    Reason.SETTLED_AS_SENT,
    Reason.PARTLY_DELIVERED,
    Reason.DUPLICATE_SUPPRESSED,
)


def next_read(entry: HistoryEntry, now: datetime) -> datetime | None:
    """When to read the figures of this entry; None if never."""
    if entry.trigger == "Test":
        return None
    sent = entry.send_time or entry.completion_time
    seen = entry.delivery.observed_time if entry.delivery else None
    # Earlier versions gave up by writing the last mark as the time of reading.
    if (entry.delivery and entry.delivery.stopped_reason) or seen == sent + MARKS[-1]:
        return None
    at = next_mark(MARKS, sent, seen, now)
    return at if at and is_id(entry.distribution_id) and is_id(entry.survey_id) else None


def is_id(text: str | None) -> bool:
    """Whether this can be an id of Qualtrics. A tool may have written anything into a status."""
    return bool(text and _ID.fullmatch(text))


def next_mark(marks: tuple[timedelta, ...], sent: datetime, seen: datetime | None, now: datetime) -> datetime | None:
    """When something is due next that was last done at `seen`: at one of the marks after the send.

    A clock that was ahead may have written either time. A future `seen` is ignored. If `sent` is in the future, the
    marks are too far away: then it is due every few hours until that time.
    """
    if sent > now:
        return now if seen is None or seen > now else seen + _AHEAD
    if seen is None or seen > now:
        return sent + marks[0]
    if seen >= sent + marks[-1]:
        return None
    return next(sent + mark for mark in marks if sent + mark > seen)


def with_figures(entry: HistoryEntry, figures: Delivery) -> HistoryEntry:
    """The entry with new figures. It keeps its result. If people did not get the mail, its reason says so."""
    updated = entry.model_copy(update={"delivery": figures})
    reason = _finding(entry, figures)
    # That nobody got the mail outranks every other reason. That some people did not get it outranks none.
    plain = entry.reason in _PLAIN
    if reason is None or not (plain or reason is Reason.DUPLICATE_SUPPRESSED):
        return updated
    numbers = ", ".join(
        f"{name} {count}"
        for name in ("sent", "failed", "bounced", "blocked", "skipped")
        if (count := getattr(figures, name)) is not None
    )
    message = f"{reason.meaning} Delivery: {numbers}. {reason.next_step}"
    return updated.model_copy(update={"reason": str(reason), "message": message})


def given_up(entry: HistoryEntry, why: Reason) -> HistoryEntry:
    """The entry of a run whose figures are given up for this reason. Figures that were read stay."""
    figures = (entry.delivery or Delivery()).model_copy(update={"stopped_reason": str(why)})
    return entry.model_copy(update={"delivery": figures})


def _finding(entry: HistoryEntry, figures: Delivery) -> Reason | None:
    people = (entry.recipients.imported if entry.recipients else None) or 0
    blocked = figures.blocked or 0
    if people and blocked >= SUPPRESSED_SHARE * people:
        return Reason.DUPLICATE_SUPPRESSED
    if any((figures.failed, figures.bounced, figures.blocked, figures.skipped)):
        return Reason.PARTLY_DELIVERED
    return None
