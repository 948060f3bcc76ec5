"""The script of the pod of `helm test`, run as a process: against a real operator, and against another server."""

import subprocess
import sys
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from hack.helm import Helm
from tests.chart.objects import only
from tests.support.controlplane import ControlPlane
from tests.support.stage import Stage
from tests.support.waiting import HANG_SECONDS


def run(helm: Helm, host: str | None, port: int | None) -> subprocess.CompletedProcess[str]:
    """Run the command of the pod, with this host and port instead of those of the Service."""
    (container,) = only("Pod", helm.template("surveys", namespace="system"), "test")["spec"]["containers"]
    python, *arguments, service, service_port = container["command"]
    assert (python, service, service_port) == ("python3", "surveys-qualtrics-exporter.system.svc", "8080")
    command = [sys.executable, *arguments, str(host), str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS)


def test_helm_test_passes_against_a_ready_operator(
    helm: Helm, cluster: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        operator = Stage(cluster, namespace, tmp_path, stack).operator()
        address = urlsplit(operator.address)
        done = run(helm, address.hostname, address.port)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["/readyz: ok", "/metrics: those of the operator"]


def test_helm_test_fails_against_a_server_without_the_metrics_of_the_operator(helm: Helm) -> None:
    class AlwaysOk(BaseHTTPRequestHandler):
        """Answers each request with 200."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), AlwaysOk) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            done = run(helm, "127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()
    assert done.returncode == 1
    assert "what answers there is not the operator: its metrics are missing" in done.stderr
