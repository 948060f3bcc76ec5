"""Generates the dashboard for Grafana that the chart installs, from the panels in `dashboard_panels.py`."""

import json
from collections.abc import Iterator
from typing import Any

from hack.dashboard_panels import ROWS, WIDTH, Panel

PATH = "charts/qualtrics-exporter/dashboards/qualtrics-exporter.json"
UID = "qualtrics-exporter"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]


def generated() -> dict[str, str]:
    """The text of the dashboard, by its path in the repository."""
    return {PATH: json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"}


def dashboard() -> Json:
    """The dashboard, as Grafana imports it."""
    return {
        "uid": UID,
        "title": "Qualtrics Exporter",
        "description": "Surveys that the operator sends. Generated from hack/dashboard_panels.py.",
        "tags": ["qualtrics-exporter"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "templating": {"list": variables()},
        "panels": list(_placed()),
    }


def variables() -> list[Json]:
    """What the user chooses at the top: the data source, and exporters by namespace and name."""

    def label(name: str, query: str) -> Json:
        query = f"label_values({query}, {name})"
        return {
            "name": name,
            "label": name.title(),
            "type": "query",
            "datasource": SOURCE,
            "definition": query,
            "query": {"query": query, "refId": name},
            "refresh": 2,  # when the time range changes
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }

    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        label("namespace", "qualtrics_exporter_ready"),
        label("name", 'qualtrics_exporter_ready{namespace=~"$namespace"}'),
    ]


def _placed() -> Iterator[Json]:
    """The rows and panels with their ids and positions, from left to right."""
    top, number = 0, 1
    for row in ROWS:
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": []} | {
            "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}
        }
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            number += 1
            if left + panel.width > WIDTH:
                top, left, height = top + height, 0, 0
            position = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield _panel(panel) | {"id": number, "gridPos": position}
            left, height = left + panel.width, max(height, panel.height)
        top, number = top + height, number + 1


def _panel(panel: Panel) -> Json:
    table = panel.type == "table"
    targets = [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query.expression}
        | ({"legendFormat": query.legend} if query.legend else {})
        | ({"format": "table"} if table else {})
        | ({"instant": True, "range": False} if panel.type != "timeseries" else {"instant": False, "range": True})
        for index, query in enumerate(panel.queries)
    ]
    steps = [{"value": value, "color": color} for value, color in panel.steps]
    defaults: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    overrides = [
        {"matcher": {"id": "byName", "options": column}, "properties": [{"id": "unit", "value": unit}]}
        for column, unit in panel.units.items()
    ]
    result: Json = {
        "type": panel.type,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        "options": {},
    }
    if table:
        result["transformations"] = list(_columns(panel))
    if panel.type == "bargauge":
        result["options"] = {"orientation": "horizontal", "displayMode": "basic"}
    return result


def _columns(panel: Panel) -> Iterator[Json]:
    """Join the results of all queries of a table by their labels, and name the columns."""
    several = len(panel.queries) > 1
    if several:
        yield {"id": "merge", "options": {}}
    values = [f"Value #{chr(ord('A') + index)}" if several else "Value" for index in range(len(panel.queries))]
    names = {"namespace": "Namespace", "name": "Name", "result": "Result", "reason": "Reason", "side": "Side"}
    names |= {value: query.column for value, query in zip(values, panel.queries, strict=True)}
    yield {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}}
