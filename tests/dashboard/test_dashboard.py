"""The panels of the dashboard, with the metrics of a real operator in a real Prometheus. No Grafana runs here."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hack.dashboard import PATH, dashboard
from hack.dashboard_panels import WIDTH
from hack.files import ROOT
from qualtrics_exporter.telemetry.metric_definitions import EXPORTER_METRICS, OPERATOR_METRICS
from tests.support.prometheus import Prometheus
from tests.support.stage import Stage

PANELS: list[dict[str, Any]] = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
EXPRESSIONS = {
    f"{panel['type']} {panel['title']} {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}
STATS = {
    f"{panel['title']} {panel['targets'][0]['refId']}": panel["targets"][0]["expr"]
    for panel in PANELS
    if panel["type"] == "stat"
}
"""The panels with one number. A table can have the same title."""
VARIABLES = {"$namespace": ".*", "$name": ".*", "$__rate_interval": "1m"}
"""What Grafana replaces, in this order, if the user has chosen everything."""


def replaced(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


@pytest.mark.cluster
@pytest.mark.usefixtures("real_prometheus")
def test_each_expression_of_each_panel_returns_data_after_a_few_runs(stage: Stage, tmp_path: Path) -> None:
    with Prometheus(tmp_path / "prometheus") as prometheus:
        secret = f"/api/v1/namespaces/{stage.namespace}/secrets/nexthink"
        expiry = {"qualtrics-exporter.dev/expires-at": "2027-01-01"}
        stage.cluster.merge(secret, {"metadata": {"annotations": expiry}})
        operator = stage.operator()
        prometheus.scrape({operator.address: {"pod": "operator-1"}})
        exporter = stage.exporter()
        exporter.checked()
        for number in (1, 2):
            exporter.annotate(run_requested_at=f"run-{number}")
            exporter.ended(number)
        exporter.delivered()
        stage.exporter("suspended", suspend=True).checked()

        for title, expression in EXPRESSIONS.items():
            prometheus.until(replaced(expression), title)
        for title, value in {"Exporters A": 2, "Suspended A": 1, "Not ready A": 0, "Unknown outcomes A": 0}.items():
            prometheus.until(f"({replaced(STATS[title])}) == {value}", title)


def test_the_panels_use_only_metrics_that_exist() -> None:
    names = {metric.name for metric in (*EXPORTER_METRICS, *OPERATOR_METRICS)}
    names |= {f"{metric.name}_bucket" for metric in OPERATOR_METRICS if metric.type == "histogram"}
    used = {name for text in EXPRESSIONS.values() for name in re.findall(r"qualtrics_exporter_\w+", text)}
    assert used - names == set()


def test_panels_have_different_ids_and_places_and_fit_into_the_width() -> None:
    places: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        position = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(position["x"], position["x"] + position["w"])
            for y in range(position["y"], position["y"] + position["h"])
        }
        assert not cells & places, panel["title"]
        assert max(x for x, _ in cells) < WIDTH
        places |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_the_dashboard_of_the_chart_is_the_generated_one() -> None:
    assert json.loads((ROOT / PATH).read_text("utf-8")) == dashboard()
