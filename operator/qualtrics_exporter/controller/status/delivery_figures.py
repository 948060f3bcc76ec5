"""Delivery figures: when to read them back from Qualtrics, and what they say.

A distribution is `Pending` with zero figures at first, and `Done` does not mean delivered (docs/facts/qualtrics.md
section 3, documented); answers come in for days. So the figures are read 2, 10 and 60 minutes after the send and then
daily for a week. When to read next follows from the entry alone: a restart reads neither twice nor never.
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
"""So long after the send, figures that cannot be read are not asked for any more."""
_AHEAD = timedelta(hours=6)
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# "Nearly everyone" was kept back as a duplicate: some people may be new since the last mail.
SUPPRESSED_SHARE = 0.9


# What a reason about the delivery may take the place of: it says no more than that the survey was sent.
_PLAIN = (
    Reason.SUCCEEDED,
    Reason.FOUND_LATER,
    Reason.SETTLED_AS_SENT,
    Reason.PARTLY_DELIVERED,
    Reason.DUPLICATE_SUPPRESSED,
)


def next_read(entry: HistoryEntry, now: datetime) -> datetime | None:
    """When the figures of this entry are due to be read; None when there is nothing (more) to read."""
    if entry.trigger == "Test" or not (is_id(entry.distribution_id) and is_id(entry.survey_id)):
        return None
    sent = entry.send_time or entry.completion_time
    seen = entry.delivery.observed_time if entry.delivery else None
    # Earlier versions gave up by writing the last mark as the time of reading.
    if (entry.delivery and entry.delivery.stopped_reason) or seen == sent + MARKS[-1]:
        return None
    return next_mark(MARKS, sent, seen, now)


def is_id(text: str | None) -> bool:
    """Whether Qualtrics can be asked about something of that id. A tool may have written anything into a status."""
    return bool(text and _ID.fullmatch(text))


def next_mark(marks: tuple[timedelta, ...], sent: datetime, seen: datetime | None, now: datetime) -> datetime | None:
    """The first time at which something is due that was not seen yet: one of the marks after the send.

    A clock that was ahead may have written either time. A future `seen` counts for nothing. After a future `sent` the
    marks would be too far away: then it is due every few hours, at the distance of the last marks, until that time.
    """
    if sent > now:
        return now if seen is None or seen > now else seen + _AHEAD
    if seen and seen > now:
        seen = None
    return next((sent + mark for mark in marks if seen is None or sent + mark > seen), None)


def with_figures(entry: HistoryEntry, figures: Delivery) -> HistoryEntry:
    """The entry with new figures. It keeps its result; its reason tells when people did not get the mail."""
    updated = entry.model_copy(update={"delivery": figures})
    reason = _finding(entry, figures)
    # That nobody got the mail outranks every other remark; that some did not, none.
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
    """The entry of a run whose figures are not asked for again, with the reason. Figures that were read stay."""
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
