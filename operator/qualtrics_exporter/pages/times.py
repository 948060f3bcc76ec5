"""Times as people read them, in the time zone of the reader."""

from datetime import UTC, datetime, timedelta, tzinfo


def local(time: datetime | None, zone: tzinfo | None) -> str:
    """A time for the reader, for example `Mon 7 Dec 2026 00:00 CET`. `None` is the time zone of the machine."""
    if time is None:
        return ""
    here = time.astimezone(zone)
    return f"{here:%a} {here.day} {here:%b %Y %H:%M} {here.tzname()}"


def ago(time: datetime | None, now: datetime) -> str:
    """How long ago a time is, in its largest unit, for example `3 h ago`; `in 3 h` if it is in the future."""
    if time is None:
        return ""
    length = format_length(abs(now - time))
    return f"{length} ago" if time <= now else f"in {length}"


def format_length(length: timedelta) -> str:
    """A length in its largest unit: `45 s`, `12 min`, `3 h`, `8 days`."""
    seconds = int(length.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 172_800:
        return f"{seconds // 3600} h"
    return f"{seconds // 86_400} days"


def now() -> datetime:
    return datetime.now(UTC)
