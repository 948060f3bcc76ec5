"""Leases that run out when a test says so, and not because a machine is slow.

The elector measures a Lease by the time of its event loop. A process from here has a loop whose time is the machine's
plus what the test added, by a clock of its own: a story's time passes by hours, which no Lease would survive.
"""

import time
from pathlib import Path

from qualtrics_exporter.remote.name_lookup import Loop
from tests.environment.clock import POLL_SECONDS, SteeredClock

LEASE_SECONDS = 60.0
"""Four times a real one: a leader that gets a tenth of its usual processor time still renews it."""
RETRY_SECONDS = 2.0
FRESH_SECONDS = 0.01
"""For so long nobody looks whether time was added. A process that was stopped for longer looks at once."""


class LeaseLoop(Loop):
    """The operator's event loop, on the time of Leases."""

    def __init__(self, clock: SteeredClock) -> None:
        self._clock = clock
        self._added, self._looked_at = clock.advanced(), time.monotonic()
        super().__init__()
        self.call_soon(self._look_again)

    def time(self) -> float:
        now = time.monotonic()
        if now - self._looked_at > FRESH_SECONDS:
            self._added, self._looked_at = self._clock.advanced(), now
        return now + self._added

    def _look_again(self) -> None:
        # A loop that waits for its next timer would not notice that this one is due.
        self.call_later(POLL_SECONDS, self._look_again)


class LeasedClock(SteeredClock):
    """The clock of such a process: the pauses that it finds by `uptime` include what was added to its Lease."""

    def __init__(self, path: Path, leases: SteeredClock) -> None:
        super().__init__(path)
        self._leases = leases

    def uptime(self) -> float:
        return super().uptime() + self._leases.advanced()
