"""Leases that expire only when a test advances their time, and not because the machine is slow.

The leader election measures a Lease with the time of its event loop. Processes that use this module have an event loop
whose time is the time of the machine plus the time that the test has added. A separate clock controls this time: the
clock of a scenario moves by hours, and every Lease would expire.
"""

import time
from pathlib import Path

from qualtrics_exporter.remote.name_lookup import Loop
from tests.support.clock import POLL_SECONDS, SteeredClock

LEASE_SECONDS = 60.0
"""Four times the default: a leader that gets a tenth of its usual processor time still renews the Lease in time."""
RETRY_SECONDS = 2.0
CACHE_SECONDS = 0.01
"""How long the added time is cached. A process that was stopped for longer reads it at once."""


class LeaseLoop(Loop):
    """The event loop of the operator, on the time of Leases."""

    def __init__(self, clock: SteeredClock) -> None:
        self._clock = clock
        self._added, self._read_at = clock.advanced(), time.monotonic()
        super().__init__()
        self.call_soon(self._wake_up)

    def time(self) -> float:
        now = time.monotonic()
        if now - self._read_at > CACHE_SECONDS:
            self._added, self._read_at = self._clock.advanced(), now
        return now + self._added

    def _wake_up(self) -> None:
        # A loop that waits for its next timer does not notice that time was added.
        self.call_later(POLL_SECONDS, self._wake_up)


class LeasedClock(SteeredClock):
    """The clock of such a process. Its `uptime` includes the time that was added to Leases."""

    def __init__(self, path: Path, leases: SteeredClock) -> None:
        super().__init__(path)
        self._leases = leases

    def uptime(self) -> float:
        return super().uptime() + self._leases.advanced()
