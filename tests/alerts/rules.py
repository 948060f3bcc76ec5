"""The rules of the alerts, and scenarios for `promtool test rules`."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from hack.helm import CHART
from tests.support.prometheus import promtool

FILE = CHART / "files" / "alerts.yaml"
PREFIX = "QualtricsExporter"

OPERATOR = {"namespace": "qualtrics-exporter", "job": "qualtrics-exporter"}
"""The labels of the target."""


def rules() -> dict[str, dict[str, Any]]:
    """Return all alerts, by name."""
    groups = yaml.safe_load(FILE.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def metrics_in(expression: str) -> set[str]:
    """Return the names of the metrics in an expression."""
    return set(re.findall(r"\bqualtrics_exporter_\w+", expression))


def one(metric: str, values: str, /, *, pod: str = "a", honor_labels: bool = True, **labels: str) -> dict[str, str]:
    """Return a series of a scenario as Prometheus stores it. `values` are in the notation of promtool.

    By default, it belongs to an exporter. `labels` can replace its labels, and an empty one removes it.
    """
    own = {"namespace": "dex", "name": "teams-rollout", **labels}
    own = {name: value for name, value in own.items() if value}
    target = {**OPERATOR, "pod": pod}
    if not honor_labels:
        own = {f"exported_{name}" if name in target else name: value for name, value in own.items()}
    text = ",".join(f'{name}="{value}"' for name, value in {**target, **own}.items())
    return {"series": f"qualtrics_exporter_{metric}{{{text}}}", "values": values}


def of_operator(metric: str, values: str, /, **labels: str) -> dict[str, str]:
    """Return a series without an exporter."""
    return one(metric, values, **{"namespace": OPERATOR["namespace"], "name": "", **labels})


LEADING = of_operator("leader", "1x1500")
"""A replica that leads all the time."""


@dataclass
class Scenario:
    """Series over time, and the alerts that fire then."""

    series: Sequence[Mapping[str, str]]
    firing: Mapping[str, Sequence[str]]
    """By time, such as 16m: the alerts without their prefix, each with the values of some labels after it."""
    interval: str = "1m"
    pending: Mapping[str, Sequence[str]] = field(default_factory=dict)
    durations: Mapping[str, str] = field(default_factory=dict)
    """Durations to replace in the rules, so that fewer points in time are evaluated."""

    def group(self, name: str) -> dict[str, Any]:
        """The scenario in the format of promtool."""
        return {
            "interval": self.interval,
            "input_series": [*self.series],
            "promql_expr_test": [
                *self._expected(name, "firing", self.firing),
                *self._expected(name, "pending", self.pending),
            ],
        }

    def _expected(self, scenario: str, state: str, expected: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
        labels = ("alertname", "namespace", "name", "side", "result", "job")
        # The messages of promtool contain the expression, with its comment.
        expression = f'count by ({", ".join(labels)}) (ALERTS{{alertstate="{state}"}})  # <{scenario}>'
        for time, alerts in expected.items():
            samples = []
            for alert in alerts:
                name, *pairs = alert.split()
                known = {"alertname": PREFIX + name, **dict(pair.split("=", 1) for pair in pairs)}
                text = ", ".join(f'{label}="{value}"' for label, value in known.items())
                samples.append({"labels": f"{{{text}}}", "value": 1})
            yield {"expr": expression, "eval_time": time, "exp_samples": samples}


def failures(folder: Path, scenarios: Mapping[str, Scenario]) -> dict[str, str]:
    """Run promtool once for all scenarios, and return the messages about those that failed, by name."""
    paths = []
    by_file = groupby(sorted(scenarios.items(), key=_settings), key=_settings)
    for number, ((interval, durations), members) in enumerate(by_file):
        rule_file = folder / f"rules-{number}.yaml"
        rule_file.write_text(shortened(dict(durations)))
        groups = [scenario.group(name) for name, scenario in members]
        paths.append(folder / f"{number}.json")
        tests = {"rule_files": [str(rule_file)], "evaluation_interval": interval, "tests": groups}
        paths[-1].write_text(json.dumps(tests))
    result = promtool("test", "rules", *paths)
    output = result.stdout + result.stderr
    found: dict[str, str] = {}
    for message in re.split(r"\n(?= +expr: )", output)[1:]:
        name = message.partition("# <")[2].partition(">")[0]
        found[name] = f"{found.get(name, '')}{message}\n"
    assert bool(found) == (result.returncode != 0), output
    return found


def _settings(item: tuple[str, Scenario]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What all scenarios in a file of promtool have in common."""
    return item[1].interval, tuple(item[1].durations.items())


def shortened(durations: Mapping[str, str]) -> str:
    """Return the text of the rules with other durations: `for: 15m` or `[5m]`, for example.

    A test with a real Prometheus uses them, because nobody can move its clock.
    """
    text = FILE.read_text()
    for duration, replacement in durations.items():
        assert duration in text, duration
        text = text.replace(duration, replacement)
    return text


SHORT = {
    **{f"for: {duration}": "for: 1s" for duration in ("5m", "15m", "30m", "14d")},
    "[5m]": "[1m]",
    "[1h]": "[1m]",
    "[15m]": "[1m]",
    "1.5  # thresholds.overdueIntervals": "0.0001  # a minute for a weekly exporter",
    "1800  # thresholds.queueLagSeconds": "5",
    "> 300": "> 5",  # seconds without a watch
}
"""So short that a test waits little, and so long that Prometheus scrapes in time on a slow machine."""
