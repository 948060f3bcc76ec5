"""Reads a status that may have invalid values: valid values count, others are ignored.

An older or newer CRD, a restored backup or a tool may leave values in a status that this version never writes. If one
such value invalidated the whole status, its receipts and claimed slots would be lost, and something could run twice. So
only the invalid value is left out: an optional field is absent, a list lacks the item, and an object with an invalid
required field is absent as a whole.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from qualtrics_exporter.resource.status import Status

_ROUNDS = 12
"""Maximum number of validations. Each one removes all invalid values that it finds, and the status is not deep."""

_LEVELS = 12
"""How deep a status is copied before values are removed from it. No field of `Status` is that deep, but a value in its
place can have any depth, and a complete copy of it would need too much stack.
"""

Path = tuple[int | str, ...]


def read_status(raw: Any) -> tuple[Status, tuple[str, ...]]:
    """The status, and the names of the fields with ignored values. Never raises."""
    ignored: set[str] = set()
    if raw is not None and not isinstance(raw, Mapping):
        return Status(), ("status",)
    rest: Any = {} if raw is None else raw
    for number in range(_ROUNDS):
        try:
            return Status.model_validate(rest), tuple(sorted(ignored))
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=True, include_input=False)
        if number == 0:
            rest = _copied(rest, _LEVELS)
        for path, length in _removals(details):
            if length is None:  # a list that is too long keeps its newest items
                ignored.add(".".join(["status", *(part for part in path if isinstance(part, str))]))
            _remove(rest, path, length)
    return Status(), ("status",)


def _removals(details: list[ErrorDetails]) -> list[tuple[Path, int | None]]:
    """The paths to remove, the last items of a list first. With a length, a list is truncated to it."""
    found: dict[Path, int | None] = {}
    for detail in details:
        path = detail["loc"]
        if detail["type"] == "too_long":
            found[path] = int(detail["ctx"]["max_length"])
        else:
            # If a required field is missing, its object is removed.
            found[path[:-1] if detail["type"] == "missing" else path] = None
    return sorted(found.items(), key=lambda item: [_order(part) for part in item[0]], reverse=True)


def _copied(value: Any, levels: int) -> Any:
    if levels and isinstance(value, Mapping):
        return {name: _copied(part, levels - 1) for name, part in value.items()}
    if levels and isinstance(value, list):
        return [_copied(part, levels - 1) for part in value]
    return value


def _order(part: int | str) -> tuple[bool, int, str]:
    return (True, part, "") if isinstance(part, int) else (False, 0, part)


def _remove(root: Any, path: Path, length: int | None) -> None:
    place = root
    for part in path[:-1] if length is None else path:
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            return  # an object around it was removed before
    if length is not None:
        del place[length:]
    elif not path:
        root.clear()
    elif isinstance(place, list) and isinstance(last := path[-1], int) and last < len(place):
        del place[last]
    elif isinstance(place, dict):
        place.pop(path[-1], None)
