"""Which cluster and which credentials the operator and Kopf use."""

import base64
import json
from pathlib import Path

import pytest
from aiohttp import web

from qualtrics_exporter.controller.kube import auth
from qualtrics_exporter.controller.kube.auth import REFRESH, connect, login
from qualtrics_exporter.controller.kube.errors import NotConfigured
from tests.controller.kubeconfig_file import client_of
from tests.controller.scripted_api_server import ScriptedApiServer
from tests.support.controlplane import ControlPlane
from tests.support.loop_clock import LoopClock

SECRET = {"metadata": {"uid": "u", "resourceVersion": "1"}, "data": {"k": base64.b64encode(b"v").decode()}}


async def test_rotated_token_is_read_again_after_the_refresh_interval(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_clock = LoopClock(monkeypatch)
    api_server.responses = [web.json_response(SECRET), web.json_response(SECRET), web.json_response(SECRET)]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        await api.secret_version("dex", "nexthink")
        api_server.use_token("second\n")  # a token file ends with a newline
        await api.secret_version("dex", "nexthink")
        loop_clock.advance(REFRESH)
        await api.secret_version("dex", "nexthink")
    assert [request.headers["Authorization"] for request in api_server.requests] == [
        "Bearer first",
        "Bearer first",
        "Bearer second",
    ]


async def test_client_keeps_its_token_while_the_kubeconfig_is_unreadable(
    api_server: ScriptedApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_clock = LoopClock(monkeypatch)
    api_server.responses = [web.json_response(SECRET), web.json_response(SECRET)]
    async with client_of(api_server.kubeconfig, monkeypatch) as api:
        await api.secret_version("dex", "nexthink")
        api_server.kubeconfig.write_text("")  # half written
        loop_clock.advance(REFRESH)
        await api.secret_version("dex", "nexthink")
    assert api_server.requests[1].headers["Authorization"] == "Bearer first"


async def test_kopf_logs_in_with_the_same_credentials(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    content = json.loads(cluster.kubeconfig.read_text())
    connection = await login(logger=None, retry=0)
    assert connection.server == content["clusters"][0]["cluster"]["server"]
    assert await connection.token() == f"Bearer {content['users'][0]['user']['token']}"
    async with connection.session() as session, session.get(f"{connection.server}/version") as response:
        assert response.status == 200


async def test_kopf_logs_in_with_the_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate_pod(tmp_path, monkeypatch)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    connection = await login()
    assert connection.server == "https://10.0.0.1:443"
    assert await connection.token() == "bearer of-the-pod"


async def test_kubeconfig_takes_precedence_over_the_service_account_of_the_pod(
    api_server: ScriptedApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_pod(tmp_path, monkeypatch)
    monkeypatch.setenv("KUBECONFIG", str(api_server.kubeconfig))
    assert (await login()).server == api_server.url


async def test_connect_without_a_cluster_explains_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(NotConfigured, match="no usable kubeconfig"):
        await connect()
    (tmp_path / "nothing").write_text("not: [a kubeconfig")
    with pytest.raises(NotConfigured, match="no usable kubeconfig"):
        await connect()
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(auth.config.incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "none"))
    with pytest.raises(NotConfigured, match="service account"):
        await connect()


def simulate_pod(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide a service account and the address of the API server, as in a pod."""
    (folder / "token").write_text("of-the-pod")
    (folder / "ca.crt").write_text("a certificate")
    monkeypatch.setattr(auth.config.incluster_config, "SERVICE_TOKEN_FILENAME", str(folder / "token"))
    monkeypatch.setattr(auth.config.incluster_config, "SERVICE_CERT_FILENAME", str(folder / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
