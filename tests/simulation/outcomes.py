"""Every entry that the operator writes has an outcome whose counter begins with 0."""

from typing import Any

from qualtrics_exporter.telemetry.run_outcomes import run_outcomes

_KNOWN = set(run_outcomes())


def unforeseen(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The outcomes of new entries that `run_outcomes` does not list. A test that moves into the history is not new."""
    old = [*_entries(before.get("history")), *_entries([before.get("lastTest")])]
    # A list, because a tool may have written a value that has no hash, such as an object, in place of a time.
    known = [(entry.get("id"), entry.get("completionTime")) for entry in old]
    new = [entry for entry in _entries(after.get("history")) if (entry["id"], entry["completionTime"]) not in known]
    outcomes = [(entry["trigger"], entry["result"], entry["reason"]) for entry in new]
    return [" ".join(outcome) for outcome in outcomes if outcome not in _KNOWN]


def _entries(value: Any) -> list[dict[str, Any]]:
    """The entries in a status that a tool may have damaged."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
