"""Helm without a cluster, and the chart rendered with each values file in `ci/`."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hack.helm import CHART, Helm, HelmError, Values
from tests.chart.objects import Object

COMBINATIONS = sorted((CHART / "ci").glob("*-values.yaml"))

NAMESPACE = "system"
"""The namespace of the release."""

PODS = {"replicaCount", "leaderElection", "strategy", "podDisruptionBudget"}
"""Values that the chart checks against each other. Only one row of a batch can have some of them."""


class CachingHelm(Helm):
    """Helm without a cluster. It renders the chart once for the same arguments and values."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._results: dict[str, list[Object] | HelmError] = {}

    def template(
        self, release: str, *arguments: str, namespace: str = "default", values: Values | None = None
    ) -> list[Object]:
        key = json.dumps([release, arguments, namespace, values or {}])
        if key not in self._results:
            try:
                self._results[key] = super().template(release, *arguments, namespace=namespace, values=values)
            except HelmError as error:
                self._results[key] = error
        result = self._results[key]
        if isinstance(result, HelmError):
            raise result
        return copy.deepcopy(result)


def batched(table: Mapping[str, Values]) -> dict[str, dict[str, Any]]:
    """Combine rows that set different values, so that Helm starts once for many; returns the combined values by row."""
    batches: list[tuple[set[str], dict[str, Any]]] = []
    rows: dict[str, dict[str, Any]] = {}
    for name, values in table.items():
        row_keys = {"pods" if key in PODS else key for key in values}
        keys, batch = next((batch for batch in batches if not batch[0] & row_keys), (set(), {}))
        if not batch:
            batches.append((keys, batch))
        keys |= row_keys
        batch |= values
        rows[name] = batch
    return rows


def combination_name(path: Path) -> str:
    """The name of a values file in `ci/`, without its suffix."""
    return path.name.removesuffix("-values.yaml")


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real Helm, without a cluster."""
    return CachingHelm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session", params=COMBINATIONS, ids=combination_name)
def combination(request: pytest.FixtureRequest) -> Path:
    """A values file in `ci/`: each has a combination of values."""
    path: Path = request.param
    return path


@pytest.fixture(scope="session")
def rendered(helm: Helm, combination: Path) -> list[Object]:
    """All objects of a combination, for a cluster that has the Prometheus operator."""
    served = [f"--api-versions=monitoring.coreos.com/v1/{kind}" for kind in ("ServiceMonitor", "PrometheusRule")]
    return helm.template("surveys", "--values", str(combination), *served, namespace=NAMESPACE)
