"""The rules of the alerts, and scenarios for `promtool test rules`."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hack.helm import CHART
from tests.support.prometheus import promtool

FILE = CHART / "files" / "alerts.yaml"
PREFIX = "QualtricsExporter"

OPERATOR = {"namespace": "qualtrics-exporter", "job": "qualtrics-exporter"}
"""The labels of the target."""

DURATION = re.compile(r"(\d+)([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


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

    def group(self) -> dict[str, Any]:
        """The scenario in the format of promtool."""
        return {
            "interval": self.interval,
            "input_series": [*self.series],
            "promql_expr_test": [*self._expected("firing", self.firing), *self._expected("pending", self.pending)],
        }

    def _expected(self, state: str, expected: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
        labels = ("alertname", "namespace", "name", "side", "result", "job")
        expression = f'count by ({", ".join(labels)}) (ALERTS{{alertstate="{state}"}})'
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
    files: dict[str, list[dict[str, Any]]] = {}
    for name, scenario in scenarios.items():
        files.setdefault(scenario.interval, []).append({"name": f"<{name}>", **scenario.group()})
    paths = [folder / f"{interval}.json" for interval in files]
    for path, (interval, groups) in zip(paths, files.items(), strict=True):
        tests = {"rule_files": [str(FILE)], "evaluation_interval": interval, "tests": groups}
        path.write_text(json.dumps(tests))
    result = promtool("test", "rules", *paths)
    output = result.stdout + result.stderr
    found = dict(re.findall(r"name: <(.*?)>,?\n(.*?)(?=\n *name: <|\Z)", output, re.DOTALL))
    assert bool(found) == (result.returncode != 0), output
    return found


def shortened(factor: float) -> str:
    """Return the text of the rules with every `for` and every range divided by a factor, at least one second.

    A test with a real Prometheus uses them, because nobody can move its clock. All other numbers stay as they are: the
    times in the metrics come from the operator, whose clock the test moves.
    """

    def shorter(match: re.Match[str]) -> str:
        seconds = int(match[2]) * SECONDS[match[3]] / factor
        return f"{match[1]}{max(1000, round(1000 * seconds))}ms"

    return re.sub(r"(\[|for: )(\d+)([smhdw])\b", shorter, FILE.read_text())
