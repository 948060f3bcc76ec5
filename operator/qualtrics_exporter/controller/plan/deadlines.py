"""How late a slot may start, and how long a run may take."""

from datetime import timedelta

from qualtrics_exporter.resource.spec import Spec

STARTING_DEADLINE = timedelta(hours=1)
SHORTEST_RUN_DEADLINE = timedelta(hours=2)
LONGEST_RUN_DEADLINE = timedelta(hours=24)


def starting_deadline(spec: Spec | None) -> timedelta:
    seconds = spec.schedule.starting_deadline_seconds if spec else None
    return STARTING_DEADLINE if seconds is None else timedelta(seconds=seconds)


def run_deadline(spec: Spec) -> timedelta:
    """How long a run may take: until the next slot, but at least 2 and at most 24 hours."""
    return max(SHORTEST_RUN_DEADLINE, min(spec.schedule.interval(), LONGEST_RUN_DEADLINE))
