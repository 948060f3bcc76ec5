"""A wall clock that differs from that of the machine by a constant, so that a slot is due when a benchmark wants it."""

from datetime import UTC, datetime, timedelta

from qualtrics_exporter.clock import SystemClock

SLOT = datetime(2026, 11, 24, tzinfo=UTC)
"""A Tuesday at midnight: a slot of every exporter with the schedule Weekly, Tuesday."""


class ShiftedClock(SystemClock):
    """The clock of the machine, plus `seconds` on the wall clock."""

    def __init__(self, seconds: float) -> None:
        self._by = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self._by


def shift_to_slot(seconds: float) -> float:
    """The shift, in seconds, with which `SLOT` is that many seconds from now."""
    return (SLOT - timedelta(seconds=seconds) - datetime.now(UTC)).total_seconds()
