"""What the spec of an exporter asks for: its schedule and its deadlines."""

from datetime import timedelta

from qualtrics_exporter import schedule as slots
from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec

STARTING_DEADLINE = timedelta(hours=1)
SHORTEST_RUN_DEADLINE = timedelta(hours=2)
LONGEST_RUN_DEADLINE = timedelta(hours=24)


def schedule_of(exporter: Exporter, spec: Spec, default_zone: str) -> slots.Schedule:
    """The schedule of an exporter with that spec. Raises `Permanent` (SpecInvalid) for one that an older CRD let in.

    A schedule without a time zone keeps that of the operator that first saw it. Otherwise two operators with different
    defaults would each take the other's schedule for a changed one, for ever, and no slot would ever be due.
    """
    try:
        return spec.schedule.in_zone(_kept_zone(exporter.status.time_zone) or default_zone)
    except ValueError as error:
        raise Permanent(Reason.SPEC_INVALID, f"spec.schedule: {error}") from error


def _kept_zone(name: str | None) -> str | None:
    """The time zone in the status, if there is one of that name: an invalid one must not stop the exporter for good."""
    try:
        return slots.zone(name).key if name else None
    except slots.UnknownTimeZone:
        return None


def spec_problem(exporter: Exporter, default_zone: str) -> Permanent | None:
    """Why this spec cannot be used at all; None if it can."""
    if exporter.spec is None:
        return Permanent(exporter.spec_reason, exporter.spec_error)
    try:
        schedule_of(exporter, exporter.spec, default_zone)
    except Permanent as error:
        return error
    return None


def starting_deadline(spec: Spec | None) -> timedelta:
    """How late a slot may start."""
    seconds = spec.schedule.starting_deadline_seconds if spec else None
    return STARTING_DEADLINE if seconds is None else timedelta(seconds=seconds)


def run_deadline(spec: Spec) -> timedelta:
    """How long a run may take: until the next slot, but at least 2 and at most 24 hours."""
    return max(SHORTEST_RUN_DEADLINE, min(spec.schedule.interval(), LONGEST_RUN_DEADLINE))
