"""Each problem in a cluster becomes a notification of a real Alertmanager, and its end resolves it.

Two real replicas run on a real API server, with the sandbox. A real Prometheus scrapes both.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.alerts.monitored_stage import MonitoredStage, monitored_stage
from tests.alerts.rules import OPERATOR, SHORT
from tests.controller.test_fault_isolation import grant_permissions
from tests.support import chart_rules
from tests.support.controlplane import ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.usefixtures("real_prometheus"), pytest.mark.long]


@pytest.fixture
def monitored(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[MonitoredStage]:
    with monitored_stage(cluster, namespace, tmp_path, SHORT) as running:
        yield running


def test_an_exporter_that_never_succeeds_fires_until_its_query_exists(monitored: MonitoredStage) -> None:
    stage = monitored.stage
    here = {"namespace": stage.namespace, "name": "broken"}
    exporter = stage.exporter("broken", **{"nexthink.queryId": "#later"})
    assert exporter.checked()["reason"] == "QueryNotFound"
    exporter.annotate(run_requested_at="first")
    assert exporter.ended()["result"] == "Failed"
    for alert in ("NotReady", "RunFailed", "NotSent"):
        notification = monitored.fires(alert, **here)
        assert notification.annotations["runbook_url"].endswith(f"/alerts/QualtricsExporter{alert}")
        assert f"{stage.namespace}/broken" in notification.annotations["summary"]
        assert "<no value>" not in str(notification)
    assert monitored.notifications("RunFailed", **here)[0].labels["reason"] == "QueryNotFound"

    stage.people("#later", 3)
    exporter.annotate(test_requested_at="now")
    exporter.tested("now")
    exporter.annotate(run_requested_at="second")
    exporter.until(lambda status: "lastSuccessfulTime" in status, "the exporter succeeded")
    for alert in ("NotReady", "RunFailed", "NotSent"):
        monitored.resolves(alert, **here)


def test_an_unknown_outcome_fires_until_a_user_resolves_it(monitored: MonitoredStage) -> None:
    stage = monitored.stage
    here = {"namespace": stage.namespace, "name": "teams-rollout"}
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", drop="before")
    exporter.annotate(run_requested_at="first")
    entry = stage.while_time_passes(exporter.ended)
    assert entry["result"] == "Unknown"
    assert "settle-run" in monitored.fires("OutcomeUnknown", **here).annotations["description"]
    exporter.annotate(settle_run=f"{entry['id']}=NotSent")
    monitored.resolves("OutcomeUnknown", **here)


def test_audiences_and_undelivered_mails_fire_until_the_next_run(monitored: MonitoredStage) -> None:
    stage = monitored.stage
    here = {"namespace": stage.namespace, "name": "teams-rollout"}
    everybody, one_person = [f"person-{number}@example.com" for number in range(80)], ["person-0@example.com"]
    stage.people("#changing", everybody)
    exporter = stage.exporter(**{"nexthink.queryId": "#changing"})
    exporter.checked()

    def run(people: list[str], number: int) -> None:
        stage.people("#changing", people)
        exporter.annotate(run_requested_at=str(number))
        exporter.ended(number)

    run(everybody, 1)
    run(one_person, 2)
    monitored.fires("AudienceDropped", **here)
    # The sandbox blocks the same mail to the same person within twelve hours, like Qualtrics.
    run(everybody, 3)
    monitored.fires("AudienceGrew", **here)
    monitored.resolves("AudienceDropped", **here)
    delivery = exporter.delivered()
    assert delivery["blocked"] == 80, delivery
    # It may fire for the only mail of the second run already. Alertmanager sends no new number while it fires.
    assert re.search(r"that did not arrive: (1|80)\.$", monitored.fires("MailBlocked", **here).annotations["summary"])
    exporter.change(**{"qualtrics.subject": "Another mail"})
    run(everybody, 4)
    monitored.resolves("AudienceGrew", **here)
    assert exporter.delivered()["blocked"] == 0
    monitored.resolves("MailBlocked", **here)


def test_a_suspension_fires_until_the_exporter_is_resumed(monitored: MonitoredStage) -> None:
    stage = monitored.stage
    here = {"namespace": stage.namespace, "name": "teams-rollout"}
    exporter = stage.exporter(suspend=True)
    monitored.fires("SuspensionForgotten", **here)
    exporter.change(suspend=False)
    monitored.resolves("SuspensionForgotten", **here)


def test_credentials_fire_from_two_weeks_before_they_expire(monitored: MonitoredStage) -> None:
    stage = monitored.stage
    here = {"namespace": stage.namespace, "name": "teams-rollout", "side": "qualtrics"}
    exporter = stage.exporter()
    exporter.checked()

    def expire(days: int) -> None:
        date = (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
        stage.cluster.kubectl(
            *("annotate", "secret", "qualtrics", "--namespace", stage.namespace, "--overwrite"),
            f"qualtrics-exporter.dev/expires-at={date}",
        )
        exporter.annotate(test_requested_at=str(days))
        exporter.tested(str(days))

    expire(7)
    assert "expire in 6d" in monitored.fires("CredentialsExpire", **here).annotations["summary"]
    expire(100)
    monitored.resolves("CredentialsExpire", **here)


def test_exporters_that_wait_for_their_turn_fire_until_they_get_it(
    cluster: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    with monitored_stage(cluster, namespace, tmp_path, SHORT, "--max-concurrent-runs", "1") as monitored:
        sandbox = monitored.stage.sandbox
        exporters = [monitored.stage.exporter(f"waiting-{number}") for number in range(2)]
        for exporter in exporters:
            exporter.checked()
        sandbox.fault("nexthink.execute", hold=True)
        for exporter in exporters:
            exporter.annotate(run_requested_at="now")
        sandbox.reached("nexthink.execute")
        assert monitored.fires("QueueLate").labels["namespace"] == OPERATOR["namespace"]
        sandbox.release()
        for exporter in exporters:
            assert exporter.ended()["result"] == "Succeeded"
        monitored.resolves("QueueLate")


def test_requests_that_the_service_rejects_fire_until_it_accepts_them(monitored: MonitoredStage) -> None:
    stage = monitored.stage
    exporter = stage.exporter()
    exporter.checked()
    monitored.prometheus.until('sum(qualtrics_exporter_remote_requests_total{side="nexthink", outcome="limited"}) == 0')
    stage.sandbox.fault("nexthink.*", times=None, status=429, headers={"Retry-After": "1"})
    exporter.annotate(run_requested_at="now")
    stage.while_time_passes(lambda: monitored.fires("RemoteLimited", side="nexthink"), seconds=5)
    stage.sandbox.clear_faults()
    stage.while_time_passes(lambda: monitored.resolves("RemoteLimited", side="nexthink"), seconds=5)


def test_a_status_that_the_operator_cannot_write_fires_until_it_can(monitored: MonitoredStage) -> None:
    stage, rules = monitored.stage, chart_rules.namespaced()
    exporter = stage.exporter()
    exporter.checked()
    account = f"system:serviceaccount:{stage.namespace}:operator"

    def can_write() -> bool:
        question = ("auth", "can-i", "update", "qualtricsexporters/status", "-n", stage.namespace, f"--as={account}")
        return stage.cluster.kubectl(*question, check=False).returncode == 0

    without = [rule for rule in rules if "qualtricsexporters/status" not in rule["resources"]]
    stage.cluster.service_account(stage.namespace, "operator", rules=without)
    eventually(lambda: not can_write(), "the permission is withdrawn")
    exporter.annotate(run_requested_at="now")
    notification = monitored.fires("ReconcileFailing")
    assert notification.labels["namespace"] == OPERATOR["namespace"]
    assert "1 exporter(s)" in notification.annotations["summary"]

    stage.cluster.service_account(stage.namespace, "operator", rules=rules)
    stage.while_time_passes(lambda: monitored.resolves("ReconcileFailing"), seconds=5)
    assert stage.while_time_passes(exporter.ended)["result"] == "Succeeded"


def test_a_namespace_that_cannot_be_watched_fires_until_it_can(
    cluster: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    other = cluster.namespace(f"{namespace[:50]}-b")
    with monitored_stage(cluster, namespace, tmp_path, SHORT, "--namespace", other) as monitored:
        stage = monitored.stage
        notification = stage.while_time_passes(lambda: monitored.fires("WatchBlind", namespace=other), seconds=5)
        assert f"the namespace {other}." in notification.annotations["summary"]
        grant_permissions(cluster, other, of=namespace, rules=chart_rules.namespaced())
        stage.while_time_passes(lambda: monitored.resolves("WatchBlind", namespace=other), seconds=5)
        assert monitored.notifications("WatchBlind", namespace=namespace) == []


def test_no_replica_at_all_fires_until_one_leads(monitored: MonitoredStage) -> None:
    monitored.leader()
    monitored.prometheus.until("max(qualtrics_exporter_leader) == 1")
    for replica in monitored.replicas:
        replica.kill()
    notification = monitored.fires("Down")
    assert notification.labels["severity"] == "critical"
    for replica in monitored.replicas:
        replica.start()
    monitored.scrape()
    monitored.stage.until_lease_runs_out(
        lambda: any("qualtrics_exporter_leader 1.0" in replica.metrics() for replica in monitored.replicas),
        "a replica leads",
    )
    monitored.resolves("Down")


def test_deleted_exporters_leave_no_series_and_no_alert(monitored: MonitoredStage) -> None:
    stage = monitored.stage
    series = f'{{namespace="{stage.namespace}",name!="",__name__=~"qualtrics_exporter_.*"}}'
    for generation in range(3):
        exporters = [stage.exporter(f"short-lived-{number}", suspend=True) for number in range(5)]
        for exporter in exporters:
            monitored.fires("SuspensionForgotten", namespace=stage.namespace, name=exporter.name)
        monitored.prometheus.until(series, f"series of generation {generation}")
        for exporter in exporters:
            exporter.delete()
        eventually(lambda: not monitored.prometheus.query(series), "no series is left")
        for exporter in exporters:
            monitored.resolves("SuspensionForgotten", namespace=stage.namespace, name=exporter.name)


def test_another_leader_interrupts_neither_a_pending_nor_a_firing_alert(
    cluster: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    # The ranges are as in the rules: they bridge the time without a leader, also on a slow machine. NotReady stays
    # pending, and RunFailed fires.
    with monitored_stage(cluster, namespace, tmp_path, {"for: 30m": "for: 1h"}) as monitored:
        stage, prometheus = monitored.stage, monitored.prometheus
        exporter = stage.exporter("broken", **{"nexthink.queryId": "#unknown"})
        exporter.checked()
        exporter.annotate(run_requested_at="now")
        exporter.ended()
        monitored.fires("RunFailed", name="broken")

        def pending_since() -> str | None:
            found = [a for a in prometheus.alerts() if a["labels"]["alertname"] == "QualtricsExporterNotReady"]
            return found[0]["activeAt"] if found else None

        before = eventually(pending_since, "NotReady is pending")
        first = monitored.leader()
        pod = 'qualtrics_exporter_ready{name="broken"}'
        (shown,) = prometheus.until(pod)
        first.kill()
        eventually(lambda: not prometheus.query(pod), "Prometheus has noticed that nobody leads")
        second = stage.until_lease_runs_out(
            lambda: next((r for r in monitored.replicas if r.alive and "leader 1.0" in r.metrics()), None),
            "the other replica leads",
        )
        (after,) = prometheus.until(pod)
        assert (shown.labels["pod"], after.labels["pod"]) == (first.folder.name, second.folder.name)
        # The series of the new leader have been evaluated.
        prometheus.until('count_over_time(qualtrics_exporter_ready{name="broken"}[5m]) > 3')
        assert pending_since() == before
        assert [n.status for n in monitored.notifications("RunFailed", name="broken")] == ["firing"]
