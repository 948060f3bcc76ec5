"""When a call is made again, and after how long. Each call says which kind it is, at the place where it is made."""

import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TypeVar

from qualtrics_exporter.clock import Clock
from qualtrics_exporter.remote.errors import RateLimited, Transient
from qualtrics_exporter.resource.reasons import Reason

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_RETRY_AFTER = timedelta(minutes=5)
"""Who asks for more patience than this is not waited for: the next slot tries again."""

SHORT_RETRY_AFTER = timedelta(seconds=10)
"""The same for a caller that has another way."""

LONGEST_WAITING = timedelta(minutes=10)
"""All the pauses of one call together."""


class RetryPolicy(Enum):
    """What may be done after a try that failed."""

    READ = "read"
    """It changes nothing that matters: it may be repeated, whatever happened."""
    REFUSED = "refused"
    """Only after a refusal: a 429, a 401, a connection that never opened. Otherwise its outcome is unknown. The caller
    finds out what a 429 has left behind."""
    NEVER = "never"
    """Not even then: the caller decides."""


async def retry(
    repeat: RetryPolicy, clock: Clock, attempt: Callable[[], Awaitable[T]], *, heard_tries: int | None = None
) -> T:
    """Make an attempt, and again after a `Transient`, as often as its kind allows; the last error is raised.

    An attempt that is not a READ raises `Transient` for refusals only, and `OutcomeUnknown` for the rest.
    `heard_tries` limits the tries of a caller that has another way when the remote side fails to answer.
    """
    tries, waited, late = 0, 0.0, True
    while True:
        tries += 1
        try:
            return await attempt()
        except Transient as error:
            late = error.late = late and error.late
            wait = _pause(error, tries, heard_tries) if repeat is not RetryPolicy.NEVER else None
            if wait is None or (waited := waited + wait) > LONGEST_WAITING.total_seconds():
                raise
            log.info("%s (%s): again in %.0f s", error.what, error.status or error.reason, wait)
        await clock.sleep(wait)


def _pause(error: Transient, tries: int, heard_tries: int | None = None) -> float | None:
    """Seconds until the next try; None if there is none."""
    limited = isinstance(error, RateLimited)
    longest_told = LONGEST_RETRY_AFTER
    if heard_tries and error.heard:
        most, first, longest = heard_tries, 1.0, 5.0
        longest_told = SHORT_RETRY_AFTER
    elif error.reason is Reason.REMOTE_REPLY_INVALID:
        most, first, longest = 2, 1.0, 1.0
    elif error.reason is Reason.SECRET_NOT_READABLE:
        most, first, longest = 9, 5.0, 60.0  # 3 to 5 minutes in all: a key server or an API server is restarted
    elif limited:
        most, first, longest = 7, 5.0, 60.0  # the limits are a minute's: 2 to 4 minutes in all outlast them
    else:
        most, first, longest = 5, 1.0, 30.0
    if tries >= most:
        return None
    spread = random.uniform(0.5, 1.0)  # noqa: S311 - to come apart from others, not to hide
    if error.retry_after is None:
        return float(min(longest, first * 2 ** (tries - 1))) * spread
    if error.retry_after > longest_told:
        return None
    return error.retry_after.total_seconds() + spread  # never earlier than told


def retry_after(text: str | None, now: datetime) -> timedelta | None:
    """A `Retry-After` in either form, seconds or a date; None for none, and for nonsense."""
    text = (text or "")[:100].strip()
    if text.isascii() and text.isdecimal():
        return timedelta(seconds=min(int(text[:9]), 10**8))
    moment = _moment(text)
    return None if moment is None else max(timedelta(0), moment - now)


def _moment(text: str) -> datetime | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None
