"""Whether the spec of an exporter can be used at all, and the schedule that it asks for."""

from qualtrics_exporter import schedule as slots
from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.spec import Spec


def spec_problem(exporter: Exporter, default_zone: str) -> Permanent | None:
    """Why this spec cannot be used; None if it can."""
    if exporter.spec is None:
        return Permanent(exporter.spec_reason, exporter.spec_error)
    try:
        schedule_of(exporter, exporter.spec, default_zone)
    except Permanent as error:
        return error
    return None


def schedule_of(exporter: Exporter, spec: Spec, default_zone: str) -> slots.Schedule:
    """The schedule of an exporter with that spec. Raises `Permanent` (SpecInvalid) if an older CRD let a bad one in.

    A schedule without a time zone keeps the zone of the operator that saw it first. Otherwise two operators with
    different defaults would each see a changed schedule in turn, and no slot would ever be due.
    """
    try:
        return spec.schedule.in_zone(_kept_zone(exporter.status.time_zone) or default_zone)
    except ValueError as error:
        raise Permanent(Reason.SPEC_INVALID, f"spec.schedule: {error}") from error


def _kept_zone(name: str | None) -> str | None:
    """The time zone in the status. An unknown name is ignored: it must not stop the exporter for good."""
    try:
        return slots.zone(name).key if name else None
    except slots.UnknownTimeZone:
        return None
