"""Fixtures for all tests: a real control plane that is started once, namespaces, stages, the image.

All other fixtures belong to the conftest of the folder that uses them.
"""

import gc
import itertools
import os
import re
import secrets
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

from hack import debian
from hack.build import BuildError
from hack.image.archive import Image
from hack.image.builder import image as built_image
from hack.image.python import ImagePython
from hack.image.python import image_python as fetched_image_python
from hack.image.python import unsupported_reason as image_python_unsupported_reason
from hack.node.node import prepare as prepare_node
from hack.programs import build as build_programs
from qualtrics_exporter.remote import authorities
from tests.faults import tally
from tests.support.controlplane import ControlPlane
from tests.support.stage import NOON, Stage

RUN = secrets.token_hex(2)
"""Distinguishes the namespaces of this run from those that earlier runs left in an existing cluster."""

NUMBERS = itertools.count(1)

LONGEST = (
    "simulation/test_simulation.py",
    "node/test_node.py",
    "chart/test_releases.py",
    "faults/test_floods.py",
    "node/test_readme.py",
    "release/test_release.py",
    "image/test_image.py",
    "alerts/test_end_to_end.py",
    "nql/test_properties.py",
    "schedule/test_every_zone.py",
    "controller/test_bad_input.py",
    "chart/test_permissions.py",
    "chart/test_upgrade_and_removal.py",
    "faults/test_crash.py",
    "faults/test_remote_faults.py",
)
"""The modules that take longest. They start first, so that no worker runs one at the end while the others are idle."""


# The time that an example takes depends on the machine.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure() -> None:
    """Choose the seed before worker processes start, so that all have the same seed.

    During the collection of tests, the garbage collector is off: it would find nothing.
    """
    tally.seed()
    gc.disable()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show the table of the fault tests, if they ran."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    lines = tally.table(pair for report in calls for pair in report.user_properties)
    if lines:
        terminalreporter.section("attacks")
        terminalreporter.write_line(f"Repeat with {tally.SEED_VARIABLE}={tally.seed()}")
        for line in lines:
            terminalreporter.write_line(line)


def uses(item: pytest.Item, *fixtures: str) -> bool:
    """Return whether a test uses one of these fixtures, directly or through another fixture."""
    return not set(fixtures).isdisjoint(getattr(item, "fixturenames", ()))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use the control plane or Helm as `cluster`, and start the longest modules first.

    The mark is automatic, because a forgotten mark would break `-m "not cluster"`.
    """
    for item in items:
        if uses(item, "control_plane", "helm"):
            item.add_marker(pytest.mark.cluster)
    folder = Path(__file__).parent
    order = {(folder / name).resolve(strict=True): position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build programs before the first test: this takes longer than the time limit of a test, and shows its progress."""
    gc.collect()
    gc.freeze()  # later collections skip the thousands of tests
    gc.enable()
    # Helm renders the permissions of all operators, so tests need the programs also with another control plane.
    builds = {build_programs: ("control_plane", "helm"), prepare_node: ("node",), built_image: ("image",)}
    wanted = [build for build, fixtures in builds.items() if any(uses(item, *fixtures) for item in session.items)]
    if session.config.option.collectonly or not wanted:
        return
    with ExitStack() as stack:
        capture = session.config.pluginmanager.getplugin("capturemanager")
        if capture:
            stack.enter_context(capture.global_and_fixture_disabled())
        for build in wanted:
            with suppress(BuildError):  # other tests still run, and the fixture reports the error
                build()


def skip_outside_ci(reason: str) -> None:
    """Skip the test with a reason. In CI, fail instead: nobody would notice that the test never runs."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"This test cannot be skipped in CI: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def public_authorities() -> Iterator[None]:
    """Read the certificates of the public authorities only once, and not in each test that opens a connection."""
    read, create = authorities.create_context, ssl.create_default_context

    def variables() -> list[str | None]:
        return [os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")]

    before = variables()
    read_once = cache(read)

    def context() -> ssl.SSLContext:
        changed = ssl.create_default_context is not create or variables() != before
        return read() if changed else read_once()

    with mock.patch.object(authorities, "create_context", context):
        yield


@pytest.fixture(scope="session")
def real_proxy() -> None:
    """Require a real proxy, `TinyProxy`."""
    if reason := debian.download_unsupported_reason():
        skip_outside_ci(f"this machine cannot run the proxy: {reason}")


@pytest.fixture(scope="session")
def real_prometheus() -> None:
    """Require a real Prometheus and Alertmanager: `Prometheus`, `promtool`, `Alertmanager`."""
    if reason := debian.download_unsupported_reason():
        skip_outside_ci(f"this machine cannot run Prometheus: {reason}")


@pytest.fixture(scope="session")
def image_python() -> ImagePython:
    """The Python of the published image."""
    if reason := image_python_unsupported_reason():
        skip_outside_ci(f"this machine cannot run the Python of the image: {reason}")
    return fetched_image_python()


@pytest.fixture(scope="session")
def image() -> Image:
    """The image of the operator, from the current source."""
    if reason := debian.unsupported_reason():
        skip_outside_ci(f"this machine cannot build the image: {reason}")
    return built_image()


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real etcd and kube-apiserver. They contain only the objects of earlier tests."""
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with the CRDs of the operator."""
    control_plane.install_crds()
    return control_plane


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A new namespace with a name that contains the name of the test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return control_plane.namespace(f"{name[:40].strip('-') or 'test'}-{next(NUMBERS)}-{RUN}")


@pytest.fixture
def stage(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Stage]:
    """A new stage, whose clock starts on a Tuesday at noon. Everything that is started on it ends with the test."""
    with ExitStack() as stack:
        yield Stage(cluster, namespace, tmp_path, stack, start=NOON)
