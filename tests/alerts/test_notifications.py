"""The examples of docs/notifications.md and docs/monitoring.md work as they are, apart from addresses and secrets."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.files import ROOT
from tests.alerts.mail_server import MailServer
from tests.alerts.rules import FILE, rules
from tests.support.alertmanager import Alertmanager, Webhook
from tests.support.prometheus import amtool, promtool

pytestmark = pytest.mark.usefixtures("real_prometheus")

SECRETS = "/etc/alertmanager/secrets"


def example(page: str, name: str) -> str:
    """Return the example of a page that begins with this comment."""
    blocks = re.findall(r"^```yaml\n# (.*?)\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    (text,) = (text for comment, text in blocks if comment == name)
    return str(text)


ALERTMANAGER = example("notifications.md", "alertmanager.yml")


def alert(namespace: str | None, name: str = "QualtricsExporterNotSent", status: str = "firing") -> dict[str, Any]:
    """An alert as Prometheus sends it."""
    labels = {"alertname": name, "severity": "warning"}
    if namespace:
        labels |= {"namespace": namespace, "name": "teams-rollout"}
    ended = {"endsAt": "2026-01-01T00:00:00Z"} if status == "resolved" else {}
    annotations = rules()[name]["annotations"] | {"summary": f"A problem in {namespace}."}
    return {"labels": labels, "annotations": annotations, "startsAt": "2025-12-31T00:00:00Z", **ended}


def test_amtool_accepts_the_configuration_of_alertmanager(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(ALERTMANAGER)
    result = amtool("check-config", file)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=QualtricsExporterNotSent namespace=dex name=teams-rollout", "dex"),
        ("alertname=QualtricsExporterNotReady namespace=workplace name=crashes", "workplace"),
        ("alertname=QualtricsExporterNotSent namespace=other name=teams-rollout", "administrators"),
        ("alertname=QualtricsExporterDown namespace=dex job=qualtrics-exporter", "administrators"),
        ("alertname=QualtricsExporterDown", "administrators"),
        ("alertname=KubePodCrashLooping namespace=dex name=x", "administrators"),
    ],
)
def test_each_team_gets_the_alerts_about_its_exporters(tmp_path: Path, labels: str, receiver: str) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(ALERTMANAGER)
    result = amtool("config", "routes", "test", f"--config.file={file}", *labels.split())
    assert result.stdout.split() == [receiver], result.stderr


def test_alertmanager_sends_messages_to_slack_and_mails(tmp_path: Path) -> None:
    with Webhook() as slack, MailServer() as mail_server:
        (tmp_path / "slack-webhook-dex").write_text(f"{slack.url}/services/T/B/x")
        (tmp_path / "smtp-password").write_text("secret")
        text = ALERTMANAGER.replace(SECRETS, str(tmp_path)).replace("smtp.example.com:587", mail_server.address)
        text = text.replace("group_wait: 30s", "group_wait: 0s").replace("group_interval: 5m", "group_interval: 1s")
        file = tmp_path / "alertmanager.yml"
        file.write_text(text.replace("global:\n", "global:\n  smtp_require_tls: false\n"))
        with Alertmanager(tmp_path / "alertmanager", file) as alertmanager:
            alertmanager.send(alert("dex"), alert("workplace"), alert(None, "QualtricsExporterDown"))
            slack.until(lambda: slack.requests, "a message arrives at Slack")
            mail_server.until(lambda: len(mail_server.mails) == 2, "the mails arrive")
            alertmanager.send(alert("dex", status="resolved"))
            slack.until(lambda: len(slack.requests) == 2, "Slack gets the end of the alert")
    first, second = (request.body for request in slack.requests)
    assert first["channel"] == "#surveys"
    (message,) = first["attachments"]
    assert message["title"] == "QualtricsExporterNotSent in dex"
    assert "A problem in dex." in message["text"]
    assert "<https://qualtrics-exporter.dev/alerts/QualtricsExporterNotSent|What to do>" in message["text"]
    assert second["attachments"][0]["title"] == "Resolved: QualtricsExporterNotSent in dex"
    mails = {mail["To"]: mail for mail in mail_server.mails}
    assert set(mails) == {"workplace@example.com", "administrators@example.com"}
    body = mails["workplace@example.com"].get_body(("html",))
    assert body
    assert "A problem in workplace." in body.get_content()
    assert "QualtricsExporterDown" in str(mails["administrators@example.com"]["Subject"])


def test_the_route_and_receiver_of_a_team_are_valid_for_alertmanager(tmp_path: Path) -> None:
    spec = yaml.safe_load(example("notifications.md", "alertmanagerconfig.yaml"))["spec"]
    (receiver,) = spec["receivers"]
    (slack,) = receiver["slackConfigs"]
    assert set(slack.pop("apiURL")) == {"name", "key"}
    route = {snake(key): value for key, value in spec["route"].items()}
    route["matchers"] = [f'{m["name"]} {m["matchType"]} "{m["value"]}"' for m in route["matchers"]]
    converted = {
        "route": {"receiver": "dex", "routes": [route]},
        "receivers": [
            {
                "name": receiver["name"],
                "slack_configs": [{**{snake(k): v for k, v in slack.items()}, "api_url": "https://slack.example.com"}],
            }
        ],
    }
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(converted))
    result = amtool("check-config", file)
    assert result.returncode == 0, result.stdout + result.stderr


def snake(name: str) -> str:
    """The name of a field of AlertmanagerConfig in alertmanager.yml."""
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)


def test_the_receiver_for_teams_replaces_that_for_slack() -> None:
    teams = yaml.safe_load(example("notifications.md", "a receiver in alertmanager.yml"))
    slack = next(r for r in yaml.safe_load(ALERTMANAGER)["receivers"] if r["name"] == teams["name"])
    (teams_config,), (slack_config,) = teams["msteamsv2_configs"], slack["slack_configs"]
    assert teams_config["title"] == slack_config["title"]
    assert set(teams_config) == {"webhook_url_file", "send_resolved", "title", "text"}


def test_the_flux_alert_is_about_a_kustomization_of_the_samples() -> None:
    provider, alert_ = yaml.safe_load_all(example("notifications.md", "flux-alert.yaml"))
    assert (provider["kind"], alert_["kind"]) == ("Provider", "Alert")
    assert alert_["spec"]["providerRef"]["name"] == provider["metadata"]["name"]
    (source,) = alert_["spec"]["eventSources"]
    kustomization = yaml.safe_load((ROOT / "samples/gitops/clusters/flux/dex.yaml").read_text())
    assert (source["kind"], source["name"]) == (kustomization["kind"], kustomization["metadata"]["name"])
    assert kustomization["spec"]["wait"] is True
    namespaces = {o["metadata"]["namespace"] for o in (provider, alert_, kustomization)}
    assert namespaces == {"flux-system"}


def test_the_notification_of_argo_cd_has_its_trigger_template_and_subscription() -> None:
    data = yaml.safe_load(example("notifications.md", "argocd-notifications-cm.yaml"))["data"]
    (trigger,) = yaml.safe_load(data["trigger.on-survey-degraded"])
    assert [f"template.{name}" for name in trigger["send"]] == [key for key in data if key.startswith("template.")]
    assert yaml.safe_load(data["template.survey-degraded"])["message"]
    page = (ROOT / "docs" / "notifications.md").read_text()
    (subscribed,) = re.findall(r"notifications\.argoproj\.io/subscribe\.([\w-]+)\.(\w+)=", page)
    assert (f"trigger.{subscribed[0]}" in data, f"service.{subscribed[1]}" in data) == (True, True)
    (application,) = re.findall(r"kubectl annotate application (\S+) -n argocd", page)
    template = yaml.safe_load((ROOT / "samples/gitops/clusters/argocd/exporters.yaml").read_text())["spec"]["template"]
    assert template["metadata"]["name"].replace("{{.path.basename}}", "dex") == application


def test_promtool_accepts_the_configuration_of_prometheus(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    configuration = yaml.safe_load(example("monitoring.md", "prometheus.yml"))
    (scrape,) = configuration["scrape_configs"]
    assert scrape["honor_labels"] is True
    # The alert about an installation without a leader is by namespace and job.
    targets = {rule["target_label"] for rule in scrape["relabel_configs"] if "target_label" in rule}
    assert {"namespace", "pod", "job"} <= targets
    # Debian's Prometheus cannot discover targets in Kubernetes.
    scrape["file_sd_configs"] = [{"files": ["targets.json"]}]
    assert scrape.pop("kubernetes_sd_configs")
    (tmp_path / "targets.json").write_text("[]")
    file.write_text(yaml.safe_dump(configuration))
    (tmp_path / "qualtrics-exporter-alerts.yaml").write_text(FILE.read_text())
    result = promtool("check", "config", file)
    assert (result.returncode, f"{len(rules())} rules found" in result.stdout) == (0, True), result.stderr
