"""Fixtures for all tests: a real control plane, started once, and a namespace for each test that wants one.

Everything else belongs to the conftest of the folder that needs it.
"""

import itertools
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.environment.build import BuildError
from tests.environment.controlplane import ControlPlane, prepare
from tests.faults import tally

RUN = secrets.token_hex(2)
"""Tells the namespaces of this run from those that an earlier one left in an existing cluster."""

NUMBERS = itertools.count(1)


def pytest_configure() -> None:
    """Choose the seed before other processes are started, so that all have the same."""
    tally.seed()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what the attacks of tests/faults tried and found, if they ran."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    lines = tally.table(pair for report in calls for pair in report.user_properties)
    if lines:
        terminalreporter.section("attacks")
        terminalreporter.write_line(f"Repeat with {tally.SEED_VARIABLE}={tally.seed()}")
        for line in lines:
            terminalreporter.write_line(line)


def needs_control_plane(item: pytest.Item) -> bool:
    """Tell whether a test uses the control plane or Helm, directly or through another fixture: they are one program."""
    return not {"control_plane", "helm"}.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs it as `cluster`: a forgotten mark would break `-m "not cluster"`."""
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
