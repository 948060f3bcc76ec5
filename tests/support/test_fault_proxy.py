"""The fault proxy leaves no connection open when it stops. Otherwise, a ResourceWarning fails the next test."""

import gc
import json
import socket
from pathlib import Path

from qualtrics_exporter.clock import SystemClock
from tests.support.fault_proxy import FaultProxy
from tests.support.sandbox import Certificates
from tests.support.waiting import HANG_SECONDS

WATCH = b"GET /apis/qualtrics-exporter.dev/v1alpha1/qualtricsexporters?watch=1 HTTP/1.1\r\nHost: fault-proxy\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"3\r\n{}\n\r\n"


def kubeconfig(path: Path, server: str, authority: Path) -> Path:
    """Write a kubeconfig for the server."""
    cluster = {"server": server, "certificate-authority": str(authority)}
    path.write_text(json.dumps({"clusters": [{"cluster": cluster}]}))
    return path


def test_the_gate_closes_a_watch_that_has_just_ended_when_it_stops(tmp_path: Path) -> None:
    """Before TLS closes a connection, it waits for the other side, and the API server may be slow."""
    certificates = Certificates(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(HANG_SECONDS)
        server = f"https://localhost:{listener.getsockname()[1]}"
        credentials = kubeconfig(tmp_path / "kubeconfig", server, certificates.authority)
        with FaultProxy(credentials, SystemClock()) as fault_proxy:
            proxy_url = json.loads(fault_proxy.kubeconfig(credentials).read_text())["clusters"][0]["cluster"]["server"]
            address = ("127.0.0.1", int(proxy_url.rpartition(":")[2]))
            with socket.create_connection(address, timeout=HANG_SECONDS) as operator:
                operator.sendall(WATCH)
                api_server = certificates.server.wrap_socket(listener.accept()[0], server_side=True)
                api_server.settimeout(HANG_SECONDS)
                assert api_server.recv(65536).startswith(b"GET ")
                api_server.sendall(HEAD + EVENT)
                assert operator.recv(65536)
                fault_proxy.partition()
            api_server.sendall(EVENT)  # the client has gone, so the proxy closes its side, too
            assert api_server.recv(1) == b""
        with api_server:
            gc.collect()
