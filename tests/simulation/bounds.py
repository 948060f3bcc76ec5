"""How long and how often things may take. Promises of the controller with some slack: adapt them when those change."""

from datetime import timedelta

RUN_DEADLINE = timedelta(hours=2)
RUN_DEADLINE_MOST = timedelta(hours=24)
RUN_SLACK = 45 * 60.0
MOST_ATTEMPTS = 12
MOST_WRITES_PER_HOUR = 850
"""Attempts of one process to write one status, successful or not: the end of a run is tried every 10 seconds, and so is
its heartbeat for half of the time."""
NOTICED = 600.0
"""Seconds after which a new exporter must have its first status. A first election can lose a reply or two."""
MOST_STATUS_BYTES = 48 * 1024
LATEST_START = 20 * 60.0
"""Seconds after which a slot of a healthy tenant must have started."""
RECOVERY = 15 * 60.0
"""Seconds after which the consequences of a clock step must be gone."""
LOOK = 300.0
"""Seconds between two looks at what leaders know."""

RUNAWAY = ("status is written again and again", "too many attempts", "livelock")
"""After one of these a world ends at once: the rest would cost hours and show nothing else."""
