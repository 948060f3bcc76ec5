"""Fixtures for all tests: a real control plane, started once, and a namespace for each test that wants one.

Everything else belongs to the conftest of the folder that needs it.
"""

import itertools
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.environment.build import BuildError
from tests.environment.controlplane import ControlPlane, prepare

RUN = secrets.token_hex(2)
"""Tells the namespaces of this run from those that an earlier one left in an existing cluster."""

NUMBERS = itertools.count(1)


def needs_control_plane(item: pytest.Item) -> bool:
    """Tell whether a test uses the control plane, directly or through another fixture."""
    return "control_plane" in getattr(item, "fixturenames", ())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the control plane as `cluster`: a forgotten mark would break `-m "not cluster"`."""
    for item in items:
        if needs_control_plane(item):
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the control plane before the first test: it takes longer than a test may, and shows its progress."""
    if session.config.option.collectonly or not any(map(needs_control_plane, session.items)):
        return
    with ExitStack() as stack:
        capture = session.config.pluginmanager.getplugin("capturemanager")
        if capture:
            stack.enter_context(capture.global_and_fixture_disabled())
        stack.enter_context(suppress(BuildError))  # tests that need no cluster still run; the fixture tells the reason
        prepare()


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real etcd and kube-apiserver, empty but for what tests made before."""
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with our CRDs."""
    control_plane.install_crds()
    return control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A namespace that no other test has, called after the test."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return control_plane.namespace(f"{words[:40].strip('-') or 'test'}-{next(NUMBERS)}-{RUN}")
