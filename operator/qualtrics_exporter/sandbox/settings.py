"""Reading and changing the settings of an account as JSON, for control by another process."""

import json
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from qualtrics_exporter.sandbox.account import Account, Query
from qualtrics_exporter.sandbox.limits import Limits

OBJECTS = {"queries", "surveys", "messages", "directories", "mailing_lists"}
NOT_SETTINGS = {"nexthink_credentials", "qualtrics_credentials", "limits", *OBJECTS}
"""The fields of an account that clients cannot change by name. `limits` has its own settings."""


def apply_settings(account: Account, changes: dict[str, Any]) -> None:
    """Change these settings, all of them or (ValueError) none. `limits` is an object with settings too, or "off"."""
    changes = dict(changes)
    limits = changes.pop("limits", None)
    settings = validated(Account, changes)
    if limits == "off":
        account.limits = Limits.off()
    elif limits is not None:
        if not isinstance(limits, dict):
            raise ValueError('limits is an object of settings, or "off"')
        for name, value in validated(Limits, limits).items():
            setattr(account.limits, name, value)
    for name, value in settings.items():
        setattr(account, name, value)


def show_settings(account: Account) -> dict[str, Any]:
    """All settings and their values."""
    settings = {name: _plain(getattr(account, name)) for name in _types_of_settings(Account)}
    return {**settings, "limits": {name: getattr(account.limits, name) for name in _types_of_settings(Limits)}}


def query_from(wanted: dict[str, Any]) -> Query:
    """A query from JSON: `id`, and one of `people`, `generated`, or `columns` with `rows`. Raises ValueError."""
    optional = ("executed", "truncated", "permitted", "export_error", "heavy")
    allowed = {"id", "people", "generated", "columns", "rows", *optional}
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
        raise ValueError("give people, generated, or columns and rows")
    for name in optional:
        if name in wanted:
            setattr(query, name, wanted[name])
    return query


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def _types_of_settings(kind: type) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if name not in NOT_SETTINGS}


def validated(kind: type, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes with their values as a setting of `kind` has them. Raises ValueError."""
    types = _types_of_settings(kind)
    values = {}
    for name, value in changes.items():
        if name not in types:
            raise ValueError(f"there is no setting {name!r}")
        try:
            # From JSON, so that a strict set accepts a list.
            new = TypeAdapter(types[name]).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            raise ValueError(f"{name}: {error.errors()[0]['msg']}") from None
        if isinstance(new, int | float) and new < 0:
            raise ValueError(f"{name} must not be negative")
        values[name] = {one.lower() for one in new} if isinstance(new, set) else new
    return values
