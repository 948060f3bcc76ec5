"""A stage with a running operator for the tests of a module, and one of its own for a test that moves the clock."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import NUMBERS, RUN
from tests.environment.controlplane import ControlPlane
from tests.environment.stage import Stage

# A Tuesday at noon, far from the changes of clocks.
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def stage(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Stage]:
    """A stage of its own; what is started on it ends with the test."""
    with ExitStack() as stack:
        yield Stage(cluster, namespace, tmp_path, stack, start=NOON)


@pytest.fixture(scope="module")
def shared_stage(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage for all tests of a module; no operator is running on it yet."""
    with ExitStack() as stack:
        namespace = cluster.namespace(f"gitops-{next(NUMBERS)}-{RUN}")
        yield Stage(cluster, namespace, tmp_path_factory.mktemp("gitops"), stack, start=NOON)
