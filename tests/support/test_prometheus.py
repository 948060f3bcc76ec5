"""The Prometheus and the Alertmanager of the tests: a rule about a scraped series becomes a notification."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.alertmanager import Alertmanager, Webhook, to_webhook
from tests.support.prometheus import Prometheus, promtool

pytestmark = pytest.mark.usefixtures("real_prometheus")

RULES = {
    "groups": [
        {
            "name": "test",
            "rules": [{"alert": "Broken", "expr": "broken == 1", "annotations": {"summary": "{{ $labels.part }}"}}],
        }
    ]
}


class Page(BaseHTTPRequestHandler):
    """A metrics page."""

    text = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(self.text.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


def test_an_alert_about_a_scraped_series_arrives_at_a_webhook_and_resolves(tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(RULES))
    assert promtool("check", "rules", rules).returncode == 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    Page.text = 'broken{part="pump"} 1\n'
    with (
        Webhook() as webhook,
        Alertmanager(tmp_path / "alertmanager", to_webhook(webhook.url)) as alertmanager,
        Prometheus(tmp_path / "prometheus", rules=[rules], alertmanager=alertmanager.address) as prometheus,
    ):
        prometheus.scrape({f"127.0.0.1:{server.server_address[1]}": {"pod": "one"}})
        (sample,) = prometheus.until("broken == 1")
        assert (sample.labels["pod"], sample.value) == ("one", 1.0)
        webhook.until(lambda: len(webhook.notifications) == 1, "the alert fires")
        Page.text = 'broken{part="pump"} 0\n'
        webhook.until(lambda: len(webhook.notifications) == 2, "the alert resolves")
        assert [(n.alert, n.status, n.annotations["summary"]) for n in webhook.notifications] == [
            ("Broken", "firing", "pump"),
            ("Broken", "resolved", "pump"),
        ]
        assert prometheus.alerts() == []
    server.shutdown()
    server.server_close()
