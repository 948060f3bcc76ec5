"""A stage that all tests of a module share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import NUMBERS, RUN
from tests.support.controlplane import ControlPlane
from tests.support.stage import NOON, Stage


@pytest.fixture(scope="module")
def shared_stage(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage for all tests of a module, without an operator."""
    with ExitStack() as stack:
        namespace = cluster.namespace(f"gitops-{next(NUMBERS)}-{RUN}")
        yield Stage(cluster, namespace, tmp_path_factory.mktemp("gitops"), stack, start=NOON)
