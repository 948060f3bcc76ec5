"""TLS inspection with the Python of the published image, which can be stricter than the Python that runs the tests."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hack.image.python import ImagePython, published_python
from qualtrics_exporter.clock import SystemClock
from qualtrics_exporter.sandbox import Account
from tests.cli.conftest import PEOPLE, SAMPLE
from tests.support.inspection import Inspection
from tests.support.proxy import TinyProxy
from tests.support.sandbox import SandboxThread

USER, PASSWORD = "surveys", "s3cretw0rd"

pytestmark = pytest.mark.usefixtures("real_proxy")

READ_FROM_API_SERVER = """
import asyncio
from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect, login
from qualtrics_exporter.controller.kube.errors import ClusterError

async def read():
    async with await connect() as api:
        try:
            await ClusterApi(api).get("dex", "teams-rollout")
        except ClusterError as error:
            print(error)
    made = await login()
    async with made.session() as session, session.get(made.server) as reply:
        print(reply.status)

asyncio.run(read())
"""


@pytest.fixture
def inspection(tmp_path: Path) -> Inspection:
    return Inspection(tmp_path / "certificates", "localhost")


@pytest.fixture
def sandbox(inspection: Inspection) -> Iterator[SandboxThread]:
    """Nexthink and Qualtrics behind TLS inspection."""
    account = Account.default()
    account.import_seconds = account.import_polls = 0
    with SandboxThread(SystemClock(), inspection.context, account) as running:
        yield running


@pytest.fixture
def command(sandbox: SandboxThread, tmp_path: Path) -> list[str | Path]:
    """The command `run` with the sample."""
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text(
        yaml.safe_dump_all(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}
            for name, keys in sandbox.secrets().items()
        )
    )
    where = ["--journal", tmp_path / "journal.json", "--allowed-host", "localhost"]
    program = "from qualtrics_exporter.cli import main; main()"
    return ["-c", program, "run", SAMPLE, "--secrets", secrets, "--send", *where]


def test_python_of_the_image_verifies_certificates_strictly_by_default(image_python: ImagePython) -> None:
    done = image_python.run(
        "-c", "import ssl, sys; print(sys.version_info[:2], ssl.create_default_context().verify_flags)"
    )
    version, _, flags = done.stdout.rpartition(" ")
    assert version == str(tuple(map(int, published_python()[0].split("."))))
    assert int(flags) & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "through a proxy"])
def test_export_succeeds_through_tls_inspection(
    image_python: ImagePython,
    inspection: Inspection,
    command: list[str | Path],
    sandbox: SandboxThread,
    tmp_path: Path,
    proxied: bool,
) -> None:
    environment = {"SSL_CERT_FILE": str(inspection.authority), "HOME": str(tmp_path)}
    with TinyProxy(tmp_path / "proxy", user=USER, password=PASSWORD) as proxy:
        proxy_variables = proxy.variables(user=USER, password=PASSWORD) if proxied else {}
        ended = image_python.run(*command, environment={**environment, **proxy_variables})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert set(sandbox.recorder.mails()) == PEOPLE
    assert bool(proxy.connected()) is proxied


def test_run_with_an_untrusted_certificate_fails_with_the_reason_of_openssl(
    image_python: ImagePython, command: list[str | Path], sandbox: SandboxThread, tmp_path: Path
) -> None:
    ended = image_python.run(*command, environment={"HOME": str(tmp_path)})
    assert ended.returncode == 1
    assert "its certificate is not trusted: unable to get local issuer certificate" in ended.stdout
    assert "SSL_CERT_FILE" in ended.stdout
    assert sandbox.recorder.calls == []


def test_operator_connects_to_an_api_server_whose_authority_has_no_key_identifiers(
    image_python: ImagePython, inspection: Inspection, sandbox: SandboxThread, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    cluster = {"server": sandbox.url, "certificate-authority": str(inspection.authority)}
    content = {
        "clusters": [{"name": "a", "cluster": cluster}],
        "users": [{"name": "a", "user": {"token": "x"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }
    kubeconfig.write_text(json.dumps(content))
    ended = image_python.run(
        "-c", READ_FROM_API_SERVER, environment={"KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path)}
    )
    first, second = ended.stdout.splitlines()
    assert "not found (HTTP 404)" in first
    assert second == "404"
