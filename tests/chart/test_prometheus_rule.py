"""The PrometheusRule of the chart has the alerts of files/alerts.yaml, with the values of the release."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hack import plain_yaml
from hack.files import ROOT
from hack.helm import CHART, Helm, HelmError
from tests.alerts.rules import FILE, rules
from tests.chart.objects import Object, only
from tests.support.prometheus import promtool

SERVED = ("--api-versions", "monitoring.coreos.com/v1/PrometheusRule")
VALUES = plain_yaml.read((CHART / "values.yaml").read_text())["prometheusRule"]


def kinds(objects: list[Object]) -> set[str]:
    return {object_["kind"] for object_ in objects}


def alerts(helm: Helm, **values: Any) -> dict[str, dict[str, Any]]:
    """The alerts in the PrometheusRule, by name."""
    objects = helm.template("surveys", *SERVED, values={"prometheusRule": {"enabled": True, **values}})
    groups = only("PrometheusRule", objects)["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_prometheus_rule_is_created_only_if_enabled_and_served_by_the_cluster(helm: Helm) -> None:
    assert "PrometheusRule" not in kinds(helm.template("surveys", *SERVED))
    assert "PrometheusRule" not in kinds(helm.template("surveys", values={"prometheusRule": {"enabled": True}}))
    values = {"prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}}}
    metadata = only("PrometheusRule", helm.template("surveys", *SERVED, values=values))["metadata"]
    assert metadata["labels"]["release"] == "prometheus"


def test_by_default_it_has_the_alerts_of_the_file(helm: Helm) -> None:
    assert alerts(helm) == rules()


def test_thresholds_of_the_values_and_of_the_file_are_the_same() -> None:
    marked = re.findall(r"([0-9][0-9.a-z]*)  # thresholds\.(\w+)\n", FILE.read_text())
    assert {name: number for number, name in marked} == {n: str(v) for n, v in VALUES["thresholds"].items()}


@pytest.mark.usefixtures("real_prometheus")
def test_every_value_has_an_effect_and_the_rules_stay_valid(helm: Helm, tmp_path: Path) -> None:
    numbers = {name: 1000 + position for position, name in enumerate(VALUES["thresholds"])}
    thresholds = {**numbers, "suspendedFor": "3w", "overdueIntervals": 2.25}
    changed = alerts(
        helm,
        thresholds=thresholds,
        disabled=["QualtricsExporterQueueLate"],
        runbookUrl="https://wiki.example.com/",
        alertLabels={"team": "dex", "severity": "ignored"},
    )
    assert set(rules()) - set(changed) == {"QualtricsExporterQueueLate"}
    text = json.dumps(changed)
    for name, number in thresholds.items():
        if name not in ("queueLagSeconds", "suspendedFor"):  # a disabled alert; not in an expression
            assert f"{number}  # thresholds.{name}" in text, name
    assert changed["QualtricsExporterSuspensionForgotten"]["for"] == "3w"
    for name, rule in changed.items():
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example.com/{name}"
        assert rule["labels"]["team"] == "dex"
        assert rule["labels"]["severity"] == rules()[name]["labels"]["severity"]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "all", "rules": [*changed.values()]}]}))
    result = promtool("check", "rules", file)
    assert result.returncode == 0, result.stderr


def test_a_disabled_alert_that_does_not_exist_is_rejected(helm: Helm) -> None:
    with pytest.raises(HelmError, match='disabled has "QualtricsExporterGone", which is not the name of an alert'):
        alerts(helm, disabled=["QualtricsExporterGone"])


@pytest.mark.parametrize(("per_exporter", "number"), [(False, 1), (True, 0)])
def test_notes_warn_if_the_alerts_about_exporters_have_no_series(helm: Helm, per_exporter: bool, number: int) -> None:
    values = {"prometheusRule": {"enabled": True}, "metrics": {"perExporter": per_exporter}}
    shown = helm.install("surveys", "--dry-run=client", namespace="default", values=values)
    assert shown.count("WARNING: metrics.perExporter is false, so the alerts about exporters never fire.") == number


def test_the_component_for_kustomize_has_the_alerts_of_the_file() -> None:
    (object_,) = plain_yaml.read_all((ROOT / "config" / "monitoring" / "prometheusrule.yaml").read_text())
    found = {rule["alert"]: rule for group in object_["spec"]["groups"] for rule in group["rules"]}
    assert found == rules()
