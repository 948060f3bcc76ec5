"""A node for each module, and the chart and the sandbox on it."""

from collections.abc import Iterator

import pytest

from hack.image.archive import Image
from hack.node.node import Node, unsupported_reason
from tests.conftest import skip_outside_ci
from tests.support.installation import Installation
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def node(image: Image) -> Iterator[Node]:
    """A real node that has the image. No pods run on it yet."""
    if reason := unsupported_reason():
        skip_outside_ci(f"no node can be run: {reason}")
    with Node(image) as running:
        yield running


@pytest.fixture(scope="module")
def installed(node: Node, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The chart, installed by Helm with almost only defaults, and the sandbox as a Service."""
    with Installation(node, image.name, tmp_path_factory.mktemp("helm")) as installation:
        yield installation


@pytest.fixture
def dex(installed: Installation) -> Iterator[Installation]:
    """The installation with two ready pods, one of which leads. After the test, the sandbox holds no calls."""

    def is_ready() -> bool:
        return len(ready_pods(installed)) == 2 and installed.leader() in ready_pods(installed)

    eventually(is_ready, "two pods are ready and one of them leads")
    yield installed
    installed.sandbox.clear_faults()


def ready_pods(installation: Installation) -> list[str]:
    """The names of the pods that are ready."""
    return [
        pod["metadata"]["name"]
        for pod in installation.pods()
        if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    ]
