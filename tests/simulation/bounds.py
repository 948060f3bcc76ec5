"""Limits of time and number: the promises of the controller with some slack. Adapt them when those change."""

from datetime import timedelta

RUN_DEADLINE = timedelta(hours=2)
MAX_RUN_DEADLINE = timedelta(hours=24)
RUN_SLACK = 45 * 60.0
MAX_ATTEMPTS = 12
MAX_WRITES_PER_HOUR = 850
"""Attempts of one process to write one status, successful or not. A process tries to write the end of a run every 10
seconds, and its heartbeat half as often."""
MAX_NOTICE_SECONDS = 600.0
"""Seconds after which a new exporter must have its first status. The first election can lose a reply or two."""
MAX_STATUS_BYTES = 48 * 1024
MAX_START_DELAY = 20 * 60.0
"""Seconds after which a slot of a healthy tenant must have started."""
RECOVERY = 15 * 60.0
"""Seconds after which a clock step must have no effect any more."""
CHECK_INTERVAL = 300.0
"""Seconds between two checks of the exporters that leaders know."""

RUNAWAY = ("status is written again and again", "too many attempts", "livelock")
"""After one of these violations a world ends at once: the rest would take hours and show nothing new."""
