"""The tally that every attack writes into."""

from collections.abc import Iterator

import pytest

from tests.faults.tally import Tally


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts what a test tries; whatever was found makes it fail in the end."""
    counted = Tally(request.node)
    yield counted
    counted.clean()
