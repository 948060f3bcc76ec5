"""Helm without a cluster, and the combinations of values that are worth a look."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.chart.objects import Object
from tests.environment.helm import CHART, Helm, HelmError, Values

COMBINATIONS = sorted((CHART / "ci").glob("*-values.yaml"))

NAMESPACE = "system"
"""Where they are rendered for."""


PODS = {"replicaCount", "leaderElection", "strategy", "podDisruptionBudget"}
"""Values that are judged by each other, so that only one row of a table may have some of them at once."""


class Renderer(Helm):
    """Helm without a cluster, for which the same chart and values are always the same: each is rendered once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._known: dict[str, list[Object] | HelmError] = {}

    def template(
        self, release: str, *arguments: str, namespace: str = "default", values: Values | None = None
    ) -> list[Object]:
        asked = json.dumps([release, arguments, namespace, values or {}])
        if asked not in self._known:
            try:
                self._known[asked] = super().template(release, *arguments, namespace=namespace, values=values)
            except HelmError as error:
                self._known[asked] = error
        known = self._known[asked]
        if isinstance(known, HelmError):
            raise known
        return copy.deepcopy(known)


def together(table: Mapping[str, Values]) -> dict[str, dict[str, Any]]:
    """For each row of a table its values with those of others that have none in common: one start of Helm for many."""
    batches: list[tuple[set[str], dict[str, Any]]] = []
    rows: dict[str, dict[str, Any]] = {}
    for name, values in table.items():
        taken = {"pods" if key in PODS else key for key in values}
        keys, batch = next((batch for batch in batches if not batch[0] & taken), (set(), {}))
        if not batch:
            batches.append((keys, batch))
        keys |= taken
        batch |= values
        rows[name] = batch
    return rows


def called(path: Path) -> str:
    """What a file of `ci/` is about, as the name of its tests."""
    return path.name.removesuffix("-values.yaml")


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real Helm, which knows no cluster."""
    return Renderer(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session", params=COMBINATIONS, ids=called)
def combination(request: pytest.FixtureRequest) -> Path:
    """A file of `ci/`: each has a combination of values that is rendered, checked and tried."""
    path: Path = request.param
    return path


@pytest.fixture(scope="session")
def rendered(helm: Helm, combination: Path) -> list[Object]:
    """All objects of a combination, where the cluster knows Prometheus' kind."""
    known = ("--api-versions", "monitoring.coreos.com/v1/ServiceMonitor")
    return helm.template("surveys", "--values", str(combination), *known, namespace=NAMESPACE)
