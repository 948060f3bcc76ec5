"""Helm without a cluster, and the combinations of values that are worth a look."""

from pathlib import Path

import pytest

from tests.environment.helm import CHART, Helm

COMBINATIONS = sorted((CHART / "ci").glob("*-values.yaml"))


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
