"""A stage for each story, and the tally that every attack writes into."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.environment.controlplane import ControlPlane
from tests.environment.stage import Stage
from tests.faults.tally import Tally

# A Tuesday at noon, far from the changes of clocks.
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture
def stage(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Stage]:
    """A stage of its own; what is started on it ends with the test."""
    with ExitStack() as stack:
        yield Stage(cluster, namespace, tmp_path, stack, start=NOON)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts what a test tries; whatever was found makes it fail in the end."""
    counted = Tally(request.node)
    yield counted
    counted.clean()
