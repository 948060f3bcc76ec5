"""The rate limits of both services, and of the size of results: Nexthink §1, Qualtrics §2 to §4."""

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field, fields
from datetime import timedelta
from email.utils import format_datetime
from typing import Literal

from qualtrics_exporter.clock import Clock

RetryAfter = Literal["seconds", "date", "never"]

JITTER = 0.1
"""The window of a second is shorter by this many seconds, so that the network cannot make a correct client fail."""


@dataclass
class Limits:
    """The limits. None means no limit."""

    nexthink_queries_per_second: int | None = 1
    """Executions and exports together (Nexthink §1, S)."""
    nexthink_calls_per_day: int | None = 50_000
    """Nexthink §1, S. Executions and exports count; the status of an export answers 429 (D)."""
    nexthink_execute_rows: int | None = 1000
    """More rows are cut without a sign of it (Nexthink §1, S/I)."""
    nexthink_export_rows: int | None = 1_000_000
    """Nexthink §1, D."""
    nexthink_retry_after: RetryAfter = "date"
    """Documented as a date for the daily limit, and as seconds or a date in general (Nexthink §1, D)."""
    qualtrics_brand_per_minute: int | None = 3000
    """For all endpoints of a brand together (Qualtrics §4, D)."""
    qualtrics_endpoints_per_minute: dict[str, int] = field(
        default_factory=lambda: {
            "create_batch": 500,
            "import_contacts": 100,
            "import_status": 500,
            "create_distribution": 3000,
            "distribution_history": 300,
        }
    )
    """Qualtrics §2 and §3, D."""
    qualtrics_jobs: int | None = 125
    """Imports in progress: 25 at once and 100 queued (Qualtrics §2, D/S)."""
    qualtrics_retry_after: RetryAfter = "never"
    """Whether Qualtrics sends it is unknown (Qualtrics §4, ?), so clients must work without it."""

    @classmethod
    def off(cls) -> "Limits":
        """No limits, except for the rows of an execution and of an export."""
        limits = cls(qualtrics_endpoints_per_minute={})
        for limit in fields(cls):
            if limit.name.endswith(("_second", "_day", "_brand_per_minute", "_jobs")):
                setattr(limits, limit.name, None)
        return limits


@dataclass(frozen=True)
class Use:
    """How much of a limit is used now."""

    setting: str
    """The name of the limit in `Limits`, for a limit of one endpoint followed by a dot and the endpoint."""
    limit: int | None
    used: int


class SlidingWindows:
    """Counts requests in sliding windows. Requests that `enter` refuses do not count."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)

    def enter(self, *windows: tuple[str, int | None, float]) -> float | None:
        """Count a request in all windows (name, limit, seconds), or in none of them and return the seconds to wait."""
        now = self._clock.monotonic()
        entered = []
        for name, limit, seconds in windows:
            if limit is None:
                continue
            times = self._times[name]
            while times and times[0] <= now - seconds:
                times.popleft()
            if len(times) >= limit:
                return (times[0] + seconds - now) if times else seconds
            entered.append(times)
        for times in entered:
            times.append(now)
        return None

    def exceeded(self, name: str, limit: int | None, seconds: float) -> float | None:
        """The seconds until at most `limit` of the counted requests are in the window. None if that is so now."""
        times = self._times[name]
        now = self._clock.monotonic()
        while times and times[0] <= now - seconds:
            times.popleft()
        if limit is None or len(times) <= limit:
            return None
        return times[len(times) - limit - 1] + seconds - now

    def used(self, name: str, seconds: float) -> int:
        """How many requests are in the window now. Without a limit, `enter` does not count them."""
        times = self._times[name]
        since = self._clock.monotonic() - seconds
        while times and times[0] <= since:
            times.popleft()
        return len(times)

    def count(self, name: str) -> None:
        """Count a request, also beyond the limit."""
        self._times[name].append(self._clock.monotonic())


def retry_after(form: RetryAfter, seconds: float, clock: Clock) -> dict[str, str]:
    """The Retry-After header in this form."""
    if form == "seconds":
        return {"Retry-After": str(math.ceil(seconds))}
    if form == "date":
        # The date has no fraction of a second. One more second, so that no client retries too early.
        return {"Retry-After": format_datetime(clock.now() + timedelta(seconds=seconds + 1), usegmt=True)}
    return {}
