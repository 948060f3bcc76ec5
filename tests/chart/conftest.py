"""Helm without a cluster, and the combinations of values that are worth a look."""

from pathlib import Path

import pytest

from tests.chart.objects import Object
from tests.environment.helm import CHART, Helm

COMBINATIONS = sorted((CHART / "ci").glob("*-values.yaml"))

NAMESPACE = "system"
"""Where they are rendered for."""


def called(path: Path) -> str:
    """What a file of `ci/` is about, as the name of its tests."""
    return path.name.removesuffix("-values.yaml")


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real Helm, which knows no cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


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
