"""The office whose desks attacks happen at, and the tally that every attack writes into."""

import tempfile
from collections.abc import AsyncIterator, Iterator

import pytest

from qualtrics_exporter.controller.kube.auth import connect
from tests.conftest import NUMBERS, RUN
from tests.environment.controlplane import ControlPlane
from tests.environment.sandbox import Certificates
from tests.faults.desk import Office
from tests.faults.tally import Tally


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts what a test tries; whatever was found makes it fail in the end."""
    counted = Tally(request.node)
    yield counted
    counted.clean()


@pytest.fixture(scope="module")
async def office(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    """A namespace of the real API server with a client, and a folder where temporary files would lie."""
    folder = tmp_path_factory.mktemp("left-behind")
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    namespace = cluster.namespace(f"desks-{next(NUMBERS)}-{RUN}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        async with await connect() as api:
            patch.setenv("TMPDIR", str(folder))
            patch.setenv("HOME", str(folder))
            patch.setattr(tempfile, "tempdir", str(folder))
            patch.setenv("SSL_CERT_FILE", str(certificates.authority))
            yield Office(api, namespace, folder, certificates)
