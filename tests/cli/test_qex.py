"""`kubectl qex` with a real API server, a real operator and the sandbox."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from hack.programs import installed
from tests.cli.qex import Qex
from tests.support.stage import Stage
from tests.support.waiting import HANG_SECONDS

GROUP = "qualtrics-exporter.dev"
READ_ONLY = [{"apiGroups": [GROUP], "resources": ["qualtricsexporters"], "verbs": ["get", "list", "watch"]}]


def sends(stage: Stage) -> int:
    return stage.sandbox.recorder.count("qualtrics.create_distribution")


def test_run_sends_once_and_reports_the_outcome(stage: Stage, qex: Qex) -> None:
    stage.operator()
    stage.exporter().checked()

    done = stage.while_time_passes(lambda: qex("run", "teams-rollout", "--yes"), seconds=1)

    assert sends(stage) == 1
    assert "Succeeded" in done.stdout
    assert "6 imported by Qualtrics" in done.stdout
    assert f"{stage.namespace}/teams-rollout in test (context test)" in done.stderr


def test_run_asks_first_and_sends_nothing_without_an_answer(stage: Stage, qex: Qex) -> None:
    stage.operator()
    stage.exporter().checked()

    refused = qex("run", "teams-rollout", code=2)

    assert "confirm with --yes" in refused.stderr
    assert "annotations" not in stage.existing("teams-rollout").get()["metadata"]
    assert sends(stage) == 0


def test_second_run_is_refused_while_the_first_is_waiting(stage: Stage, qex: Qex) -> None:
    """Without an operator, a request stays in the annotation."""
    operator = stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    operator.stop()

    qex("run", "teams-rollout", "--yes", "--no-wait")
    first = exporter.get()["metadata"]["annotations"]
    second = qex("run", "teams-rollout", "--yes", "--no-wait", code=1)

    assert "a run is requested already" in second.stderr
    assert exporter.get()["metadata"]["annotations"] == first
    stage.operator()
    exporter.ended()
    assert sends(stage) == 1


def test_run_of_an_exporter_that_no_operator_has_seen_is_refused(stage: Stage, qex: Qex) -> None:
    """Such a request would do nothing: the operator takes a token that is there at first as restored by Git."""
    stage.exporter()
    assert "no operator has seen this exporter yet" in qex("run", "teams-rollout", "--yes", code=1).stderr
    assert "annotations" not in stage.existing("teams-rollout").get()["metadata"]


def test_run_of_a_suspended_exporter_is_refused(stage: Stage, qex: Qex) -> None:
    stage.operator()
    stage.exporter(suspend=True).checked()
    assert "is suspended" in qex("run", "teams-rollout", "--yes", code=1).stderr
    assert "annotations" not in stage.existing("teams-rollout").get()["metadata"]


def test_test_counts_the_people_and_sends_nothing(stage: Stage, qex: Qex) -> None:
    stage.operator()
    stage.exporter().checked()

    done = stage.while_time_passes(lambda: qex("test", "teams-rollout"), seconds=1)

    assert "8 rows" in done.stdout
    assert "6 accepted" in done.stdout
    assert sends(stage) == 0


def test_status_shows_slots_in_the_zone_of_the_reader_and_the_next_step(stage: Stage, qex: Qex) -> None:
    stage.operator()
    exporter = stage.exporter(**{"schedule.timeZone": "America/New_York"})
    exporter.checked()

    page = qex("status", "teams-rollout").stdout
    assert "every Monday at 00:00, America/New_York" in page
    assert re.search(r"Next slots +Mon [^\n]* (06:00 CET|06:00 CEST|05:00 CET)\n", page)
    assert f"{stage.namespace}/teams-rollout: ready" in page

    stage.cluster.delete(f"/api/v1/namespaces/{stage.namespace}/secrets/nexthink")
    exporter.change(**{"qualtrics.subject": "Another one"})
    exporter.until(
        lambda status: any(c["reason"] == "SecretNotFound" for c in status["conditions"]), "Secret is missed"
    )
    assert "not ready: SecretNotFound" in qex("status", "teams-rollout").stdout
    assert "not ready: SecretNotFound" in qex("list").stdout


def test_list_shows_each_exporter_and_delegates_machine_formats(stage: Stage, qex: Qex) -> None:
    stage.exporter("first")
    stage.exporter("second", suspend=True)

    lines = qex("list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["NAME", "ACTIVE"], ["first", "yes"], ["second", "suspended"]]
    assert [item["metadata"]["name"] for item in qex.json("list", "-o", "json")["items"]] == ["first", "second"]
    assert len(yaml.safe_load(qex("list", "-o", "yaml").stdout)["items"]) == 2
    names = qex("list", "-o", "name").stdout.split()
    assert names == [f"qualtricsexporter.{GROUP}/first", f"qualtricsexporter.{GROUP}/second"]
    everywhere = qex.anywhere("list", "-A").stdout.splitlines()
    assert everywhere[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert [stage.namespace, "first"] in [line.split()[:2] for line in everywhere]


def test_suspend_and_resume_change_the_spec_and_warn_if_gitops_manages_it(stage: Stage, qex: Qex) -> None:
    manifest = stage.manifest()
    manifest["metadata"]["labels"] = {"kustomize.toolkit.fluxcd.io/name": "surveys"}
    exporter = stage.existing("teams-rollout")
    exporter.apply(manifest)

    done = qex("suspend", "teams-rollout")
    assert exporter.get()["spec"]["suspend"] is True
    assert "Flux manages this exporter and may revert" in done.stderr
    assert "suspended already" in qex("suspend", "teams-rollout").stdout
    qex("resume", "teams-rollout")
    assert exporter.get()["spec"]["suspend"] is False


@pytest.mark.long  # the console resolves a run in the same way: tests/console/test_console.py
def test_resolve_reports_the_outcome_of_an_unknown_run(stage: Stage, qex: Qex) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.create_distribution", drop="before", times=None)
    exporter.annotate(run_requested_at="first")
    entry = exporter.ended()
    assert entry["result"] == "Unknown"
    assert (
        f"kubectl qex resolve -n {stage.namespace} teams-rollout {entry['id']}=Sent"
        in qex("status", "teams-rollout").stdout
    )

    other = "a" * 20
    assert f"These are unknown: {entry['id']}" in qex("resolve", "teams-rollout", f"{other}=Sent", code=1).stderr
    assert "write RUN=Sent" in qex("resolve", "teams-rollout", "sent", code=2).stderr
    done = stage.while_time_passes(lambda: qex("resolve", "teams-rollout", f"{entry['id']}=NotSent"), seconds=1)

    assert "SettledAsNotSent" in done.stdout
    assert exporter.history()[0]["result"] == "Failed"


def test_read_only_user_is_refused_with_a_sentence(stage: Stage, tmp_path: Path) -> None:
    stage.operator()
    stage.exporter().checked()
    home = tmp_path / "reader"
    home.mkdir()
    reader = Qex(stage.cluster.service_account(stage.namespace, "reader", rules=READ_ONLY), home, stage.namespace)

    refused = reader("run", "teams-rollout", "--yes", code=1)

    assert "cannot patch resource" in refused.stderr
    assert "Ask an administrator of the namespace for this permission." in refused.stderr
    assert "teams-rollout" in reader("list").stdout


def test_events_and_history_show_what_happened(stage: Stage, qex: Qex) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    exporter.annotate(run_requested_at="first")
    entry = exporter.ended()
    exporter.wait_for_event("Succeeded")

    assert "Succeeded" in qex("events", "teams-rollout").stdout
    header, row = qex("history", "teams-rollout").stdout.splitlines()
    assert "ACCEPTED" in header
    assert entry["id"] in row
    assert qex.json("history", "teams-rollout", "-o", "json")["history"][0]["id"] == entry["id"]


def test_wait_ends_when_the_request_has_ended(stage: Stage, qex: Qex) -> None:
    stage.operator()
    stage.exporter().checked()
    qex("wait", "teams-rollout", "--for", "ready")
    qex("test", "teams-rollout", "--no-wait")
    stage.while_time_passes(lambda: qex("wait", "teams-rollout"), seconds=1)
    assert "lastTest" in stage.existing("teams-rollout").status()


def test_wait_fails_after_its_timeout(stage: Stage, qex: Qex) -> None:
    stage.exporter()
    assert "not finished after 0 s" in qex("wait", "teams-rollout", "--for", "ready", "--timeout", "0", code=1).stderr


def test_completion_offers_commands_and_names(stage: Stage, qex: Qex) -> None:
    stage.exporter()

    def complete(*words: str) -> list[str]:
        done = subprocess.run(
            [str(installed("kubectl_complete-qex")), *words],
            env=qex.environment({}),
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=True,
        )
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    assert complete("re") == ["resume", "resolve", ":4"]
    assert complete("status", "-n", stage.namespace, "te") == ["teams-rollout", ":4"]
