"""Events of an exporter, as the API server returns them (events.k8s.io/v1)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from qualtrics_exporter.resource.names import KIND


def selector_of(exporter: Mapping[str, Any]) -> str:
    """The field selector of the Events of this exporter. An earlier exporter of this name may have Events, too."""
    metadata = exporter["metadata"]
    return f"regarding.kind={KIND},regarding.name={metadata['name']},regarding.uid={metadata['uid']}"


def time_of(event: Mapping[str, Any]) -> datetime | None:
    """When the Event was last seen; None if it has no valid time."""
    series = event.get("series") or {}
    text = series.get("lastObservedTime") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def order_of(event: Mapping[str, Any]) -> float:
    """The key that sorts Events by time, oldest first."""
    time = time_of(event)
    return time.timestamp() if time else 0
