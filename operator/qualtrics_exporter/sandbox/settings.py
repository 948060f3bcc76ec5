"""Turning the account's settings by name, for whoever steers a sandbox from another process."""

from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from qualtrics_exporter.sandbox.account import Account, Query
from qualtrics_exporter.sandbox.limits import Limits

SIMPLE = (bool, int, float, str)


def apply_settings(account: Account, wanted: dict[str, Any]) -> None:
    """Set the settings that are named, all of them or (ValueError) none. `limits` holds settings of its own."""
    wanted = dict(wanted)
    limits = wanted.pop("limits", None)
    of_world = _checked(Account, wanted)
    if limits == "off":
        account.limits = Limits.off()
    elif limits is not None:
        if not isinstance(limits, dict):
            raise ValueError('limits is an object of settings, or "off"')
        for name, value in _checked(Limits, limits).items():
            setattr(account.limits, name, value)
    for name, value in of_world.items():
        setattr(account, name, value)


def show_settings(account: Account) -> dict[str, Any]:
    """All settings and their values."""
    settings = {name: _plain(getattr(account, name)) for name in _settings_of(Account)}
    return {**settings, "limits": {name: getattr(account.limits, name) for name in _settings_of(Limits)}}


def query_from(wanted: dict[str, Any]) -> Query:
    """A query from JSON: `id`, and one of `people`, `generated`, or `columns` with `rows`; ValueError otherwise."""
    settings = ("executed", "truncated", "permitted", "export_error", "heavy")
    allowed = {"id", "people", "generated", "columns", "rows", *settings}
    if extra := set(wanted) - allowed:
        raise ValueError(f"unknown: {', '.join(sorted(extra))}")
    if not isinstance(wanted.get("id"), str):
        raise ValueError("id is missing")  # noqa: TRY004
    if "people" in wanted:
        query = Query.people(wanted["id"], wanted["people"])
    elif "generated" in wanted:
        query = Query.generated(wanted["id"], int(wanted["generated"]))
    elif "columns" in wanted and "rows" in wanted:
        query = Query(wanted["id"], wanted["columns"], wanted["rows"])
    else:
        raise ValueError("one of people, generated, or columns and rows")
    for name in settings:
        if name in wanted:
            setattr(query, name, wanted[name])
    return query


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def _settings_of(kind: type) -> dict[str, Any]:
    """The fields that JSON can set, and their types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if _settable(hints[field.name])}


def _settable(hint: Any) -> bool:
    if get_origin(hint) in {Union, UnionType}:
        return all(part is type(None) or _settable(part) for part in get_args(hint))
    if get_origin(hint) is dict:
        return get_args(hint) == (str, int)
    return hint in SIMPLE or get_origin(hint) is Literal or (get_origin(hint) is set and get_args(hint) == (str,))


def _checked(kind: type, wanted: dict[str, Any]) -> dict[str, Any]:
    settings = _settings_of(kind)
    checked = {}
    for name, value in wanted.items():
        if name not in settings:
            raise ValueError(f"there is no setting {name!r}")
        checked[name] = _fitted(name, value, settings[name])
    return checked


def _fitted(name: str, value: Any, hint: Any) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        if value is None:
            return None
        origin, hint = None, next(part for part in parts if part is not type(None))
    if origin is Literal and value in parts:
        return value
    if origin is set and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return {one.lower() for one in value}
    if origin is dict and isinstance(value, dict) and all(type(one) is int for one in value.values()):
        return dict(value)
    if origin is None and (type(value) is hint or (hint is float and type(value) is int)):
        if isinstance(value, int | float) and value < 0:
            raise ValueError(f"{name} cannot be negative")
        return value
    raise ValueError(f"{name} cannot be that")
