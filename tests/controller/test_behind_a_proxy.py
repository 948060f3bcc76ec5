"""The operator uses a company proxy for Nexthink and Qualtrics, and never for the API server."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.remote.scripted_proxy import pump
from tests.support import chart_rules
from tests.support.applied_exporter import AppliedExporter
from tests.support.loop_thread import LoopThread
from tests.support.proxy import TinyProxy
from tests.support.stage import Stage
from tests.support.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("real_proxy")]

USER, PASSWORD = "surveys", "s3cretw0rd"


def test_run_uses_the_proxy_and_reveals_its_password_nowhere(stage: Stage, tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy", user=USER, password=PASSWORD) as proxy:
        operator = stage.operator(
            "--proxy",
            proxy.url,
            environment={
                "QUALTRICS_EXPORTER_PROXY_USERNAME": USER,
                "QUALTRICS_EXPORTER_PROXY_PASSWORD": PASSWORD,
                "HTTPS_PROXY": "http://127.0.0.1:9",
            },
        )
        exporter = stage.exporter()
        exporter.checked()
        exporter.annotate(run_requested_at="now")
        entry = exporter.ended()
        outputs = {**operator.all_output(), "the cluster": stage.everything_written()}
    assert entry["result"] == "Succeeded"
    apis = {secret["url"].split("/")[2] for secret in stage.sandbox.secrets().values()}
    assert apis <= set(proxy.connected())
    assert {host for host in proxy.connected() if not host.startswith("localhost:")} == set()
    assert f"through {proxy.url} with a user name" in operator.log
    assert [place for place, text in outputs.items() if PASSWORD in text] == []


def test_status_reports_that_the_proxy_rejects_its_password(stage: Stage, tmp_path: Path) -> None:
    with TinyProxy(tmp_path / "proxy", user=USER, password=PASSWORD) as proxy:
        operator = stage.operator(environment=proxy.variables(user=USER, password="wr0ngw0rd"))
        exporter = stage.exporter()
        message = stage.while_time_passes(
            lambda: eventually(lambda: unavailable_message(exporter), "the check has failed")
        )
        assert "the proxy asks for another user name or password" in message
        assert "Check the proxy of the operator" in message
        outputs = {**operator.all_output(), "the cluster": stage.everything_written()}
    assert [place for place, text in outputs.items() if "wr0ngw0rd" in text] == []
    assert stage.sandbox.recorder.calls == []


def unavailable_message(exporter: AppliedExporter) -> str | None:
    """Return the message about Nexthink, after a check could not reach it."""
    condition = exporter.condition("NexthinkReady")
    return condition["message"] if condition.get("reason") == "RemoteUnavailable" else None


def test_operator_verifies_an_api_server_at_another_address_by_its_tls_server_name(stage: Stage) -> None:
    """The API server is behind a tunnel. A proxy in the environment that does not exist is not used."""
    service_account = stage.cluster.service_account(stage.namespace, "operator", rules=chart_rules.namespaced())
    content = json.loads(service_account.read_text())
    cluster = content["clusters"][0]["cluster"]
    tunnel_loop = LoopThread("tunnel")
    tunnel_loop.start()
    tunnel = tunnel_loop.run(lambda: tunnel_to(cluster["server"]))
    try:
        port = tunnel.sockets[0].getsockname()[1]
        cluster |= {"server": f"https://127.0.0.2:{port}", "tls-server-name": "kubernetes.default.svc"}
        path = service_account.with_name("name.kubeconfig")
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))
        operator = stage.process(
            path,
            *("--namespace", stage.namespace, "--allowed-host", "localhost", "--no-leader-election"),
            environment={
                "HTTPS_PROXY": "http://127.0.0.1:9",
                "https_proxy": "http://127.0.0.1:9",
                "NO_PROXY": "localhost",
            },
        )
        operator.start()
        assert stage.exporter().checked()["status"] == "True"
        operator.stop()
    finally:
        tunnel_loop.call(tunnel.close)
        tunnel_loop.stop()


async def tunnel_to(server: str) -> asyncio.Server:
    """Listen on another address, and forward all connections to the server."""
    host, _, port = server.split("/")[2].rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    return await asyncio.start_server(serve, "127.0.0.2", 0)
