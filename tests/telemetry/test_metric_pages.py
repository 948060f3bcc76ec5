"""The pages of the metrics: each metric has one, and its example returns data for a page of a real process."""

import json
import re
from pathlib import Path

import pytest

from hack.files import ROOT
from hack.metric_examples import EXAMPLES
from hack.metrics_page import METRICS_FOLDER, METRICS_PATH, metric_page
from qualtrics_exporter.resource.status import HistoryEntry
from qualtrics_exporter.telemetry.metric_definitions import EXPORTER_METRICS, OPERATOR_METRICS, Definition
from qualtrics_exporter.telemetry.metrics import Metrics
from tests.alerts.rules import metrics_in, rules
from tests.support.prometheus import promtool
from tests.telemetry.test_exporter_series import STATUS, entry, exporter
from tests.telemetry.test_metrics import Call

METRICS = (*EXPORTER_METRICS, *OPERATOR_METRICS)
BY_NAME = {definition.name: definition for definition in METRICS}
RULES = rules()
ALERTS = sorted((ROOT / "docs" / "alerts").glob("QualtricsExporter*.md"))


def names(definition: Definition) -> str:
    return definition.short_name


def test_every_metric_has_a_page_and_an_example_and_every_page_a_metric() -> None:
    assert {path.name for path in (ROOT / METRICS_FOLDER).iterdir()} == {f"{name}.md" for name in BY_NAME}
    assert set(EXAMPLES) == {definition.short_name for definition in METRICS}


def test_the_index_links_the_page_of_every_metric() -> None:
    index = (ROOT / METRICS_PATH).read_text("utf-8")
    assert re.findall(r"^\| \[`(\w+)`\]\(metrics/\1\.md\) \|", index, re.MULTILINE) == list(BY_NAME)


@pytest.mark.parametrize("definition", METRICS, ids=names)
def test_the_page_of_a_metric_says_what_it_means_and_what_uses_it(definition: Definition) -> None:
    page = metric_page(definition)
    assert page.startswith(f"# {definition.name}\n")
    assert f"\n{definition.text}\n" in page
    for label in definition.labels:
        assert f"- **Label** `{label}`: " in page
    linked = set(re.findall(r"\[(\w+)\]\(\.\./alerts/\1\.md\)", page))
    suffixes = ("", "_bucket", "_sum", "_count")
    assert linked == {
        name for name, rule in RULES.items() if metrics_in(rule["expr"]) & {f"{definition.name}{s}" for s in suffixes}
    }


def test_metrics_that_an_alert_uses_are_linked_from_its_page() -> None:
    """So that somebody who is on call finds out what an expression means."""
    for path in ALERTS:
        linked = set(re.findall(r"\]\(\.\./metrics/(\w+)\.md\)", path.read_text("utf-8")))
        assert linked == metrics_in(RULES[path.stem]["expr"]), path.name


def page_of_a_process() -> str:
    """The metrics page of an operator that has run one exporter."""
    metrics = Metrics()
    metrics.leading(True)
    metrics.follow(
        exporters=lambda: 1,
        due=lambda: 1,
        lag=lambda: 1.5,
        tick_age=lambda: 0.1,
        watch_age=lambda: 60.0,
        blind=lambda: {"": 0.0},
        failing=lambda: 0,
        rate_limit_waits=dict,
    )
    expiry = {"nexthink": "2027-01-01T00:00:00Z"}
    seen = exporter(status={**STATUS, "credentialsExpiry": expiry})
    metrics.exporter(seen, ready=True)
    metrics.run_ended(seen, HistoryEntry.model_validate(entry("Succeeded", 50, recipients={"accepted": 5})))
    metrics.run_claimed(3)
    metrics.observe(Call())
    return b"".join(metrics.text()).decode()


def targets_series(page: str) -> list[dict[str, str]]:
    """The series of the page in the notation of promtool, with the labels that Prometheus adds."""
    found = []
    for line in page.splitlines():
        if line.startswith("qualtrics_exporter_"):
            series, value = line.rsplit(" ", 1)
            name, _, labels = series.removesuffix("}").partition("{")
            added = 'job="qualtrics-exporter",pod="a"'
            found.append({"series": f"{name}{{{labels}{',' if labels else ''}{added}}}", "values": f"{value}x60"})
    return found


@pytest.mark.usefixtures("real_prometheus")
def test_every_example_returns_data(tmp_path: Path) -> None:
    tests = [
        # A comment with the name shows in a failure which example has no data.
        {"expr": f"count({example.expression}) > bool 0  # {name}", "eval_time": "1h",
         "exp_samples": [{"labels": "{}", "value": 1}]}
        for name, example in EXAMPLES.items()
    ]  # fmt: skip
    group = {"interval": "1m", "input_series": targets_series(page_of_a_process()), "promql_expr_test": tests}
    file = tmp_path / "examples.json"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [group]}))
    result = promtool("test", "rules", file)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_example_of_a_metric_uses_it() -> None:
    for definition in METRICS:
        assert re.search(rf"\b{definition.name}(?:_bucket)?\b", EXAMPLES[definition.short_name].expression)
