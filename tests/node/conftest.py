"""A node for each module, and on it, for those that want it, the chart and the sandbox."""

from collections.abc import Iterator

import pytest

from tests.conftest import cannot
from tests.environment.image import Image
from tests.environment.node import Node, obstacle
from tests.environment.node.installation import Installation
from tests.environment.waiting import eventually


@pytest.fixture(scope="module")
def node(image: Image) -> Iterator[Node]:
    """A real node that has the image, and on which nothing runs yet."""
    if reason := obstacle():
        cannot(f"no node can be run: {reason}")
    with Node(image) as running:
        yield running


@pytest.fixture(scope="module")
def installed(node: Node, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The chart, installed by Helm with little more than its defaults, and the sandbox as a Service."""
    with Installation(node, image.name, tmp_path_factory.mktemp("helm")) as installation:
        yield installation


@pytest.fixture
def dex(installed: Installation) -> Iterator[Installation]:
    """The same, at rest: both pods are ready, one of them leads, nothing is held."""

    def at_rest() -> bool:
        return len(ready(installed)) == 2 and installed.leader() in ready(installed)

    eventually(at_rest, "two pods are ready and one of them leads")
    yield installed
    installed.sandbox.calm()


def ready(installation: Installation) -> list[str]:
    """The names of the pods that are ready."""
    return [
        pod["metadata"]["name"]
        for pod in installation.pods()
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    ]
