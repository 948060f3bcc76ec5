"""A real Alertmanager, from the same packages as `prometheus.py`, and a webhook that receives its notifications."""

import json
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.prometheus import Server, program
from tests.support.recording_server import RecordingServer


class Alertmanager(Server):
    """An Alertmanager with a configuration, or with a file of one."""

    def __init__(self, folder: Path, configuration: Mapping[str, Any] | Path) -> None:
        super().__init__(folder)
        if isinstance(configuration, Path):
            self._configuration = configuration
        else:
            self._configuration = self.folder / "alertmanager.json"
            self._configuration.write_text(json.dumps(configuration))

    def command(self) -> Sequence[str | Path]:
        return (
            program("prometheus-alertmanager"),
            f"--config.file={self._configuration}",
            f"--storage.path={self.folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        )

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")

    def send(self, *alerts: Mapping[str, Any]) -> None:
        """Send alerts, as Prometheus does."""
        self.post("/api/v2/alerts", alerts)


def to_webhook(url: str) -> dict[str, Any]:
    """Return a configuration that sends each change of each alert at once to a webhook."""
    return {
        "route": {
            "receiver": "webhook",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "200ms",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "webhook", "webhook_configs": [{"url": url, "send_resolved": True}]}],
    }


class Request(NamedTuple):
    """One request that a webhook received."""

    path: str
    body: Any
    """The JSON, or the text if it is not JSON."""


class Notification(NamedTuple):
    """One alert in a request of Alertmanager's webhook receiver."""

    status: str
    """firing or resolved"""
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def alert(self) -> str:
        return self.labels["alertname"]


class Webhook(RecordingServer[Request]):
    """It accepts every request and keeps it."""

    def __init__(self) -> None:
        super().__init__(self._handler(), ThreadingHTTPServer)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def requests(self) -> list[Request]:
        return self.kept

    @property
    def notifications(self) -> list[Notification]:
        """The alerts in the requests so far, oldest first."""
        return [
            Notification(alert["status"], alert["labels"], alert["annotations"])
            for request in self.requests
            if isinstance(request.body, dict)
            for alert in request.body.get("alerts", [])
        ]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                try:
                    body = json.loads(text)
                except ValueError:
                    body = text
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")
                keep(Request(self.path, body))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Log nothing."""

        return Handler
