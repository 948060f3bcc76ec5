"""When a call is repeated, and after which pause. Each operation states its policy.

The request that creates a distribution is never repeated here: `export/send.py` decides when a refused send is tried
again.
"""

import asyncio
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
"""The longest pause that a service can ask for. After a longer one, the call fails, and the next slot tries again."""

SHORT_RETRY_AFTER = timedelta(seconds=10)
"""The same for a caller that has an alternative."""

LONGEST_TOTAL_PAUSE = timedelta(minutes=10)
"""The sum of the pauses of one call."""


class RetryPolicy(Enum):
    """When a failed call may be repeated."""

    READ = "read"
    """After any failure: the call has no effect that matters."""
    REFUSED = "refused"
    """Only after a refusal: a 429, a 401, a connection that did not open. Otherwise the outcome is unknown. The caller
    checks whether a 429 had an effect."""
    NEVER = "never"
    """Never: the caller decides."""


async def retry(
    policy: RetryPolicy, clock: Clock, attempt: Callable[[], Awaitable[T]], *, received_tries: int | None = None
) -> T:
    """Call `attempt`, and repeat it after a `Transient` as often as the policy allows. Raises the last error.

    Unless the policy is READ, `attempt` raises `Transient` only for refusals, and `OutcomeUnknown` for other failures.
    `received_tries` limits the tries that reach the service and get no answer, for a caller that has an alternative.
    """
    tries, waited, timed_out = 0, 0.0, True
    wait: float | None = None
    failure: Transient | None = None
    while True:
        tries += 1
        try:
            if wait is not None:
                await clock.sleep(wait)
            return await attempt()
        except asyncio.CancelledError as cancelled:
            # A time limit that ends the repetitions can report their cause: `time_limit.pending_failure`.
            cancelled.__cause__ = failure
            raise
        except Transient as error:
            timed_out = error.timed_out = timed_out and error.timed_out
            wait = _pause(error, tries, received_tries) if policy is not RetryPolicy.NEVER else None
            if wait is None or (waited := waited + wait) > LONGEST_TOTAL_PAUSE.total_seconds():
                raise
            log.info("%s (%s). Retrying in %.0f s.", error.what, error.status or error.reason, wait)
            failure = error.with_traceback(None)


def _pause(error: Transient, tries: int, received_tries: int | None = None) -> float | None:
    """Seconds until the next try; None if there is no next try."""
    limited = isinstance(error, RateLimited)
    longest_requested = LONGEST_RETRY_AFTER
    if received_tries and error.received:
        most, first, longest = received_tries, 1.0, 5.0
        longest_requested = SHORT_RETRY_AFTER
    elif error.reason is Reason.REMOTE_REPLY_INVALID:
        most, first, longest = 2, 1.0, 1.0
    elif error.reason is Reason.SECRET_NOT_READABLE:
        most, first, longest = (
            9,
            5.0,
            60.0,
        )  # 3 to 5 minutes in total: the time for a restart of a key server or an API server
    elif limited:
        most, first, longest = 7, 5.0, 60.0  # 2 to 4 minutes in total: the limits are per minute
    else:
        most, first, longest = 5, 1.0, 30.0
    if tries >= most:
        return None
    spread = random.uniform(0.5, 1.0)  # noqa: S311 - to spread the tries, not for secrecy
    if error.retry_after is None:
        return float(min(longest, first * 2 ** (tries - 1))) * spread
    if error.retry_after > longest_requested:
        return None
    return error.retry_after.total_seconds() + spread  # never earlier than requested


def retry_after(text: str | None, now: datetime) -> timedelta | None:
    """A `Retry-After` in either form, seconds or a date; None if it is missing or invalid."""
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
