"""Fixtures of the fault tests: the tally of a test, and controllers in the process of the test."""

import tempfile
from collections.abc import AsyncIterator

import pytest

from qualtrics_exporter.controller.kube.auth import connect
from tests.conftest import NUMBERS, RUN
from tests.faults.controller_factory import ControllerFactory
from tests.faults.tally import Tally
from tests.support.controlplane import ControlPlane
from tests.support.sandbox import Certificates


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts the scenarios of a test. The test asserts that it has no violations."""
    return Tally(request.node)


@pytest.fixture(scope="module")
async def controllers(
    cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ControllerFactory]:
    """Creates controllers in a namespace of the real API server. Temporary files go to a folder of the module."""
    folder = tmp_path_factory.mktemp("temporary-files")
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    namespace = cluster.namespace(f"controllers-{next(NUMBERS)}-{RUN}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        async with await connect() as api:
            patch.setenv("TMPDIR", str(folder))
            patch.setenv("HOME", str(folder))
            patch.setattr(tempfile, "tempdir", str(folder))
            patch.setenv("SSL_CERT_FILE", str(certificates.authority))
            yield ControllerFactory(api, namespace, folder, certificates)
