"""kube-score reports nothing about the objects of the chart, except what a list of exceptions explains."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.helm import Helm
from hack.linters import Finding, build, kube_score
from tests.chart.conftest import COMBINATIONS, NAMESPACE, combination_name
from tests.chart.objects import Object, only

EXCEPTIONS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("kube_score_exceptions.yaml").read_text())


@pytest.fixture(scope="session", autouse=True)
def program() -> Path:
    """kube-score, which is built here, so that no test waits for that."""
    return build()


def excepts(exception: dict[str, Any], combination: str, finding: Finding) -> bool:
    return (
        (exception["check"], exception["summary"]) == (finding.check, finding.summary)
        and combination in exception.get("only", [combination])
    )  # fmt: skip


@pytest.fixture(scope="session")
def findings(helm: Helm) -> dict[str, list[Finding]]:
    """What kube-score reports, for each values file."""
    return {
        combination_name(path): kube_score(helm.template("surveys", "--values", str(path), namespace=NAMESPACE))
        for path in COMBINATIONS
    }


def test_kube_score_reports_only_exceptions(findings: dict[str, list[Finding]]) -> None:
    assert {
        name: unexpected
        for name, found in findings.items()
        if (unexpected := [f for f in found if not any(excepts(exception, name, f) for exception in EXCEPTIONS)])
    } == {}


def test_each_exception_is_needed_and_has_a_reason(findings: dict[str, list[Finding]]) -> None:
    for exception in EXCEPTIONS:
        assert len(exception["reason"]) > 40
        for name in exception.get("only", ["default"]):
            assert any(excepts(exception, name, finding) for finding in findings[name]), (name, exception)


def test_kube_score_reports_a_chart_with_a_mistake(helm: Helm) -> None:
    objects: list[Object] = helm.template("surveys", namespace=NAMESPACE)
    pod = only("Deployment", objects)["spec"]["template"]["spec"]
    del pod["affinity"]
    pod["containers"][0]["securityContext"]["privileged"] = True
    reported = {finding.check for finding in kube_score(objects)}
    assert {"deployment-has-host-podantiaffinity", "container-security-context-privileged"} <= reported
