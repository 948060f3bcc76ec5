"""Each alert is complete: its rule, its page, the list of alerts, and the metrics that it uses."""

import re
from typing import Any

import pytest

from hack.files import ROOT
from qualtrics_exporter.telemetry import metric_definitions as definitions
from tests.alerts.rules import FILE, PREFIX, metrics_in, rules
from tests.support.prometheus import promtool

PAGES = ROOT / "docs" / "alerts"
RULES = rules()
LABELS = {
    definition.name: {*definition.labels, *more}
    for metrics, more in ((definitions.EXPORTER_METRICS, ("namespace", "name")), (definitions.OPERATOR_METRICS, ()))
    for definition in metrics
}
"""The labels of each metric, without those of its target."""


def section(page: str, heading: str) -> str:
    """Return the text below a heading of a page, or an empty string."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].strip()


@pytest.mark.usefixtures("real_prometheus")
def test_promtool_accepts_the_rules() -> None:
    result = promtool("check", "rules", FILE)
    assert (result.returncode, f"{len(RULES)} rules found" in result.stdout) == (0, True), result.stdout + result.stderr


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == set(RULES)
    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| `(\w+)` \|", (PAGES / "README.md").read_text(), re.MULTILINE)
    assert listed == [(name, name, rule["labels"]["severity"]) for name, rule in RULES.items()]


@pytest.mark.parametrize("name", RULES)
def test_the_page_of_an_alert_says_what_to_do(name: str) -> None:
    page, rule = (PAGES / f"{name}.md").read_text(), RULES[name]
    assert page.startswith(f"# {name}\n")
    assert f"Severity: `{rule['labels']['severity']}`." in page
    assert ("for" not in rule) or f"The alert waits for {rule['for']}." in page
    for heading in ("Impact", "Diagnosis", "Fix", "Silence"):
        assert section(page, heading), heading


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_everything_that_a_notification_needs(name: str) -> None:
    rule: dict[str, Any] = RULES[name]
    assert name.startswith(PREFIX)
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"https://qualtrics-exporter.dev/alerts/{name}"
    for text in ("summary", "description"):
        assert rule["annotations"][text].rstrip().endswith("."), text


@pytest.mark.parametrize("name", RULES)
def test_a_rule_uses_only_metrics_and_labels_that_exist(name: str) -> None:
    expression = RULES[name]["expr"]
    assert metrics_in(expression) <= set(LABELS)
    for metric, matchers in re.findall(r"(qualtrics_exporter_\w+)\{(.*?)\}", expression):
        used = set(re.findall(r"(\w+)[=!]", matchers))
        assert used <= LABELS[metric], metric
    # Another leader has another pod, so these labels would interrupt an alert.
    assert not re.search(r"\b(pod|instance|container|endpoint)\b", expression)
