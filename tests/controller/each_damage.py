"""Every invalid value at every place of a status in which each field of the CRD has a valid value.

Random damage seldom hits one field with one type of value. These lists are complete: a new field is in them.
"""

from collections.abc import Iterator
from typing import Any

from tests.controller.crd_strategies import STATUS

Path = tuple[str | int, ...]

TIME = "2026-11-20T00:20:00Z"
RUN = "abcdefghijklmnopqrst"
"""The id of the run, and any other text."""
_KNOWN: dict[str, Any] = {
    "schedule": "every day at 00:20, UTC",
    "timeZone": "UTC",
    "scheduleSince": "2026-11-01T12:00:00Z",
    "nextScheduleTime": "2026-11-24T00:20:00Z",
    "conditions.type": "Ready",
    "history.result": "Unknown",
    "history.reason": "DeliveryUnknown",
    "lastTest.result": "Unknown",
}
"""Fields whose values have a meaning beyond their types."""


def _nested(depth: int) -> Any:
    value: Any = {"damaged": True}
    for number in range(depth):
        value = [value] if number % 2 else {"damaged": value}
    return value


INVALID: tuple[Any, ...] = (
    None, True, 7, 1.5, 1 << 63, -(1 << 63), "", "9999-12-31T23:59:59Z", "x" * 40_000,
    [], [7, None, "damaged", [[]], {}], {}, {"time": TIME, "0": [{"damaged": None}]}, _nested(800),
)  # fmt: skip
"""At most places, these are invalid: each type of JSON, also nested, and numbers and texts of any size."""


def complete_status() -> dict[str, Any]:
    """Return a status with all fields. Each list has two items."""
    status: dict[str, Any] = _valid(STATUS, "")
    return status


def damaged_everywhere(status: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a description of each damage, and the status with it. Of each list, only the first item is damaged."""
    for path in _paths(status):
        for value in INVALID:
            name = ".".join(map(str, path))
            yield f"{name} = {str(value)[:60]}", _replaced(status, path, value)


def _valid(schema: dict[str, Any], name: str) -> Any:
    if name in _KNOWN:
        return _KNOWN[name]
    kind = schema["type"]
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        return {key: _valid(part, f"{name}.{key}".lstrip(".")) for key, part in schema["properties"].items()}
    if kind == "array":
        return [_valid(schema["items"], name), _valid(schema["items"], name)]
    if schema.get("format") == "date-time":
        return TIME
    return {"integer": 1, "boolean": True, "string": RUN}[kind]


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for name, part in inner:
        yield from _paths(part, (*path, name))


def _replaced(value: Any, path: Path, new: Any) -> Any:
    """Return a copy with another value at this place. It shares the other parts."""
    if not path:
        return new
    first, rest = path[0], path[1:]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[first] = _replaced(value[first], rest, new)
    return copy
