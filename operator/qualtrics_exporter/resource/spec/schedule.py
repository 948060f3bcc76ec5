"""`spec.schedule`: when to send."""

from datetime import timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from qualtrics_exporter import schedule
from qualtrics_exporter.resource.model import WHOLE_NUMBER, RuledModel
from qualtrics_exporter.resource.rules import Rule

_ZONE = Rule.pattern("^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", "")


def _is_zone(name: str) -> bool:
    if not _ZONE.holds(name):
        return False
    try:
        schedule.zone(name)
    except schedule.UnknownTimeZone:
        return False
    return True


TimeZone = Annotated[
    str,
    Field(max_length=64),
    Rule(
        # getHours fails for an unknown zone. The other names are those of files next to the zones.
        f"{_ZONE.expression} && !self.matches('^(posix|right)/') && !(self in ['Local', 'localtime', 'posixrules'])"
        " && timestamp('2024-01-01T00:00:00Z').getHours(self) >= 0",
        "must be the name of an IANA time zone, with correct capitals: for example Europe/Zurich, America/New_York or "
        "UTC",
        _is_zone,
        json_schema=_ZONE.json_schema,
    ),
]


def _only_with(field: str, frequency: str) -> dict[str, Any]:
    """A field that is required with one frequency and forbidden with the others."""
    this = {"properties": {"frequency": {"const": frequency}}, "required": ["frequency"]}
    return {"if": this, "then": {"required": [field]}, "else": {"properties": {field: False}}}


class ScheduleSpec(RuledModel):
    """When to send the survey: every few hours, every day, or once a week."""

    rules = (
        Rule(
            "self.frequency != 'Hourly' || has(self.everyHours)",
            "must be set with frequency Hourly: one of 1, 2, 3, 4, 6, 12",
            lambda spec: spec.frequency != "Hourly" or spec.every_hours is not None,
            field="everyHours",
            missing=True,
            json_schema=_only_with("everyHours", "Hourly"),
        ),
        Rule(
            "self.frequency == 'Hourly' || !has(self.everyHours)",
            "must be set only with frequency Hourly: remove it",
            lambda spec: spec.frequency == "Hourly" or spec.every_hours is None,
            field="everyHours",
            unwanted=True,
        ),
        Rule(
            "self.frequency != 'Weekly' || has(self.dayOfWeek)",
            "must be set with frequency Weekly: for example Monday",
            lambda spec: spec.frequency != "Weekly" or spec.day_of_week is not None,
            field="dayOfWeek",
            missing=True,
            json_schema=_only_with("dayOfWeek", "Weekly"),
        ),
        Rule(
            "self.frequency == 'Weekly' || !has(self.dayOfWeek)",
            "must be set with frequency Weekly only: remove it",
            lambda spec: spec.frequency == "Weekly" or spec.day_of_week is None,
            field="dayOfWeek",
            unwanted=True,
        ),
    )

    frequency: Literal["Hourly", "Daily", "Weekly"] = Field(
        description="How often: Hourly (every everyHours hours, at 20 minutes past the hour), Daily (at 00:20) or "
        "Weekly (at 00:00 on dayOfWeek), in timeZone. The 20 minutes let Nexthink complete its last time bucket. When "
        "the clocks change, a time that is skipped moves to the first instant after the gap, and a time that occurs "
        "twice counts once."
    )
    every_hours: Annotated[Literal[1, 2, 3, 4, 6, 12], WHOLE_NUMBER] | None = Field(
        None,
        description="Hours between two slots, counted from midnight: 1, 2, 3, 4, 6 or 12. Required with Hourly, not "
        "allowed otherwise.",
    )
    day_of_week: Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] | None = Field(
        None, description="The day of a Weekly schedule. Required with Weekly, not allowed otherwise."
    )
    time_zone: TimeZone | None = Field(
        None,
        description="IANA time zone of the schedule, for example Europe/Zurich. Without it, the operator's --time-zone "
        "applies, which is UTC by default.",
    )
    starting_deadline_seconds: Annotated[int, Field(ge=60, le=86400), WHOLE_NUMBER] | None = Field(
        None,
        description="How late a slot may start, in seconds; 3600 by default. Only time in which no operator was "
        "running counts, not time in which the slot waits for its turn. After an outage, the operator runs the newest "
        "slot that is not too late. It reports the others as Missed, and nobody is e-mailed for them.",
    )

    def in_zone(self, default: str) -> schedule.Schedule:
        """The schedule, in the default zone unless it names one. Raises ValueError for an invalid zone or schedule."""
        zone = schedule.zone(self.time_zone or default)
        return schedule.Schedule(self.frequency, zone, self.every_hours, self.day_of_week)

    def interval(self) -> timedelta:
        """The time from one slot to the next, in any zone."""
        return schedule.Schedule(self.frequency, ZoneInfo("UTC"), self.every_hours, self.day_of_week).interval()
