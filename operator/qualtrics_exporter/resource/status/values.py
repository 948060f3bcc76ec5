"""The types of values in `status`: times, counts and texts."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainSerializer, WithJsonSchema

MAX_COUNT = 1 << 53
"""Larger numbers are not understood."""

OLDEST_YEAR, NEWEST_YEAR = 2000, 8999
"""Times outside of these years are not understood: nothing can be calculated with the last days of the calendar."""


# A status is parsed and written again and again with the same few times in it: these functions remember them.
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
        raise ValueError("not a time that an operator wrote")
    return aware


@lru_cache(maxsize=4096)
def timestamp(time: datetime) -> str:
    """As Kubernetes and Qualtrics write a time: UTC, whole seconds, Z."""
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
# With a bound in the CRD, the API server would refuse every write to a status that has a number out of bounds.
Count = Annotated[int, _COUNTABLE, WithJsonSchema({"type": "integer", "format": "int64"})]
Number = Annotated[int, _COUNTABLE, WithJsonSchema({"type": "integer"})]
