"""A status that something else may have written: what can be understood of it counts, the rest is ignored.

An older or newer CRD, a restored backup or a tool may leave values in a status that this version would never write. To
take the whole status for lost because of one of them would lose the receipts and the slots that had their run. So an
invalid value is left out by itself: an optional field is absent, a list is without that item, and a part of which a
required field is invalid is absent as a whole.
"""

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from qualtrics_exporter.resource.status import Status

_ROUNDS = 12
"""How often values are removed. Each round removes everything that the one before found, and the status is not deep."""

Path = tuple[int | str, ...]


def read_status(raw: Any) -> tuple[Status, tuple[str, ...]]:
    """The status, and the names of the fields of which something was ignored; never raises."""
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
            rest = copy.deepcopy(dict(rest))
        for path, length in _removals(details):
            if length is None:  # of a list that is too long, the newest items are there
                ignored.add(".".join(["status", *(part for part in path if isinstance(part, str))]))
            _remove(rest, path, length)
    return Status(), ("status",)


def _removals(details: list[ErrorDetails]) -> list[tuple[Path, int | None]]:
    """What to remove, the last items of a list first; with a length, a list is only cut to it."""
    found: dict[Path, int | None] = {}
    for detail in details:
        path = detail["loc"]
        if detail["type"] == "too_long":
            found[path] = int(detail["ctx"]["max_length"])
        else:
            # A field that is missing cannot be removed, but what misses it can.
            found[path[:-1] if detail["type"] == "missing" else path] = None
    return sorted(found.items(), key=lambda item: [_order(part) for part in item[0]], reverse=True)


def _order(part: int | str) -> tuple[bool, int, str]:
    return (True, part, "") if isinstance(part, int) else (False, 0, part)


def _remove(root: Any, path: Path, length: int | None) -> None:
    place = root
    for part in path[:-1] if length is None else path:
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            return  # it went with something around it
    if length is not None:
        del place[length:]
    elif not path:
        root.clear()
    elif isinstance(place, list) and isinstance(last := path[-1], int) and last < len(place):
        del place[last]
    elif isinstance(place, dict):
        place.pop(path[-1], None)
