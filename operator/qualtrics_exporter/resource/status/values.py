"""The types of values in `status`: times, counts and texts."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, WithJsonSchema

MAX_COUNT = 1 << 53
"""Larger numbers are invalid."""

OLDEST_YEAR, NEWEST_YEAR = 2000, 8999
"""Times outside of these years are invalid: calculations with the last days of the calendar fail."""


# A status is parsed and written often, with the same few times in it, so these functions have a cache.
def _aware(time: datetime) -> datetime:
    if time.tzinfo is UTC and not time.microsecond:
        return time
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        raise ValueError("not a time of UTC") from error


@lru_cache(maxsize=4096)
def _plausible(time: datetime) -> datetime:
    aware = _aware(time)
    if not OLDEST_YEAR <= aware.year <= NEWEST_YEAR:
        raise ValueError("not a time that an operator writes")
    return aware


@lru_cache(maxsize=4096)
def timestamp(time: datetime) -> str:
    """The time as Kubernetes and Qualtrics write it: UTC, whole seconds, Z."""
    return f"{_aware(time).isoformat()[:19]}Z"


Trigger = Literal["Schedule", "Request", "Test"]

Time = Annotated[
    datetime,
    AfterValidator(_plausible),
    PlainSerializer(timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
ReasonName = Annotated[str, Field(max_length=1024)]
Message = Annotated[str, Field(max_length=32768)]
RunId = Annotated[str, Field(max_length=64)]
_COUNTABLE = Field(gt=-MAX_COUNT, lt=MAX_COUNT)
# The CRD has no bounds: the API server would reject every write to a status with a number out of bounds.
Count = Annotated[int, _COUNTABLE, WithJsonSchema({"type": "integer", "format": "int64"})]
Number = Annotated[int, _COUNTABLE, WithJsonSchema({"type": "integer"})]
