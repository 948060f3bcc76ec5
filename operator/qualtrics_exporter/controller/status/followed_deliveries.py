"""Distributions whose entries left the history: their delivery figures are read daily until a week after the send.

An hourly exporter keeps an entry for ten hours only, and answers arrive for days. What is read goes to the log. These
reads are not urgent: they begin when one of them is six hours late, and then take place together, so that an hourly
exporter reads and writes a few times a day for 168 distributions. The next time follows from the status alone.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from qualtrics_exporter.controller.status.delivery_figures import is_id, next_mark, next_read
from qualtrics_exporter.controller.status.resolution import is_reported
from qualtrics_exporter.resource.status import FOLLOWED_DELIVERIES, FollowedDelivery, HistoryEntry, Status

MARKS = tuple(timedelta(days=day) for day in range(1, 8))
DELAY = timedelta(hours=6)
"""How late a read may be, so that several are made together."""
FORGOTTEN = timedelta(days=9)
"""So long after the send, nothing is read. Figures that cannot be read are given up before."""
MOST_READS = 20
"""How many distributions are read in one turn. A slot of the same exporter waits for the turn."""


def item_of(entry: HistoryEntry) -> FollowedDelivery:
    """What is remembered of the distribution of this entry."""
    return FollowedDelivery(
        run_id=entry.id,
        survey_id=entry.survey_id or "",
        distribution_id=entry.distribution_id or "",
        send_time=entry.send_time or entry.completion_time,
        observed_time=entry.delivery.observed_time if entry.delivery else None,
    )


def with_followed(status: Status, now: datetime) -> Status:
    """The status that also follows the distributions of the entries that left its history, and no finished ones."""
    left = [item_of(entry) for entry in status.left_history if next_read(entry, now) and not _may_be_another(entry)]
    before = status.followed_deliveries or []
    known = {item.run_id for item in before}
    items = [item for item in (*(new for new in left if new.run_id not in known), *before) if _is_open(item, now)]
    items = items[:FOLLOWED_DELIVERIES]
    if items == before:
        return status
    return status.model_copy(update={"followed_deliveries": items or None})


def _may_be_another(entry: HistoryEntry) -> bool:
    """Whether a user reported the distribution, and no read has compared its batch with that of the run yet."""
    return is_reported(entry) and not (entry.delivery and entry.delivery.observed_time)


def next_time(status: Status, now: datetime) -> datetime | None:
    """When to read figures of such distributions next; None if there are none."""
    times = [mark for item in status.followed_deliveries or [] if (mark := _mark(item, now))]
    return min(times) + DELAY if times else None


def batch(status: Status, now: datetime) -> list[FollowedDelivery]:
    """What to read in one turn: the items that are due, beginning with the latest one."""
    marks = [(mark, item) for item in status.followed_deliveries or [] if (mark := _mark(item, now)) and mark <= now]
    return [item for _, item in sorted(marks, key=lambda pair: pair[0])][:MOST_READS]


def with_reads(status: Status, read: Collection[str], ended: Collection[str], now: datetime) -> Status:
    """The status after the figures of these runs were `read`, or are not read again (`ended`)."""
    items = [
        item.model_copy(update={"observed_time": now}) if item.run_id in read else item
        for item in status.followed_deliveries or []
        if item.run_id not in ended
    ]
    return status.model_copy(update={"followed_deliveries": items or None})


def _mark(item: FollowedDelivery, now: datetime) -> datetime | None:
    return next_mark(MARKS, item.send_time, item.observed_time, now) if _is_open(item, now) else None


def _is_open(item: FollowedDelivery, now: datetime) -> bool:
    """Whether figures are still to be read. A clock that was ahead, or a tool, may have written the times."""
    if not (is_id(item.survey_id) and is_id(item.distribution_id)):
        return False
    if not now - FORGOTTEN < item.send_time < now + FORGOTTEN:
        return False
    return next_mark(MARKS, item.send_time, item.observed_time, now) is not None
