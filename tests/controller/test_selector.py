"""One operator at a time works on an exporter: selectors, shards, Leases and recreated objects."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support import chart_rules
from tests.support.applied_exporter import AppliedExporter
from tests.support.operator import Operator
from tests.support.stage import KIND, Stage
from tests.support.waiting import eventually

ABANDONED_AFTER = timedelta(minutes=5)


def exporter_with_label(stage: Stage, team: str) -> AppliedExporter:
    """Apply an exporter with this label."""
    exporter = stage.existing("teams-rollout")
    exporter.manifest = stage.manifest()
    exporter.manifest["metadata"]["labels"] = {"team": team}
    stage.apply(exporter.manifest)
    return exporter


def set_label(exporter: AppliedExporter, team: str | None) -> None:
    exporter.kubectl("label", "--overwrite", KIND, exporter.name, f"team={team}" if team else "team-")


def selects(operator: Operator, exporter: AppliedExporter) -> bool:
    """Whether the operator selects the exporter, which its metrics show."""
    return f'name="{exporter.name}"' in operator.metrics()


def active_run(exporter: AppliedExporter) -> dict[str, Any]:
    run: dict[str, Any] = exporter.status()["activeRun"]
    return run


def heartbeat(exporter: AppliedExporter) -> datetime:
    return datetime.fromisoformat(active_run(exporter)["heartbeatTime"])


def test_exporter_that_leaves_and_rejoins_the_selector_during_a_run_has_one_task(stage: Stage) -> None:
    operator = stage.operator("--selector", "team=a")
    exporter = exporter_with_label(stage, "a")
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_contacts", hold="before")
    exporter.annotate(run_requested_at="now")
    stage.reached("qualtrics.import_contacts")
    attempt = active_run(exporter)

    set_label(exporter, None)
    eventually(lambda: not selects(operator, exporter), "the operator no longer selects the exporter")
    set_label(exporter, "a")
    eventually(lambda: selects(operator, exporter), "the operator selects the exporter again")
    began = heartbeat(exporter)
    # The work queue would start a second task long before the next heartbeat.
    stage.while_time_passes(lambda: eventually(lambda: heartbeat(exporter) > began, "the holder writes a heartbeat"))
    assert (active_run(exporter)["holder"], active_run(exporter)["attempt"]) == (attempt["holder"], attempt["attempt"])
    stage.sandbox.release()
    assert exporter.ended()["result"] == "Succeeded"
    assert stage.sandbox.recorder.count("qualtrics.create_batch") == 1
    assert len(stage.sandbox.recorder.distributions) == 1


def shard(stage: Stage, team: str) -> Operator:
    """An operator for the exporters of this team, with its own Lease."""
    lease = f"shard-{team}"
    rules = [
        {**rule, "resourceNames": ["shard-a", "shard-b"]} if "resourceNames" in rule else rule
        for rule in chart_rules.namespaced()
    ]
    return stage.operator("--selector", f"team={team}", "--lease-name", lease, election=True, rules=rules)


def test_shard_takes_over_a_run_only_after_its_holder_is_gone(stage: Stage) -> None:
    first, second = shard(stage, "a"), shard(stage, "b")
    exporter = exporter_with_label(stage, "a")
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_contacts", hold="before", times=2)
    exporter.annotate(run_requested_at="now")
    stage.reached("qualtrics.import_contacts")
    attempt = active_run(exporter)

    set_label(exporter, "b")
    eventually(lambda: selects(second, exporter), "the second shard selects the exporter")
    since = stage.clock.now()

    def has_late_heartbeat() -> bool:
        return heartbeat(exporter) - since > 1.2 * ABANDONED_AFTER

    stage.while_time_passes(lambda: eventually(has_late_heartbeat, "the holder writes a heartbeat"))
    assert (active_run(exporter)["holder"], active_run(exporter)["attempt"]) == (attempt["holder"], 1)

    first.kill()
    stage.sandbox.release(drop=True)
    last_heartbeat = heartbeat(exporter)
    stage.while_time_passes(lambda: stage.sandbox.reached("qualtrics.import_contacts"))
    assert active_run(exporter)["attempt"] == 2
    assert heartbeat(exporter) - last_heartbeat >= ABANDONED_AFTER
    stage.sandbox.release()
    assert exporter.ended()["result"] == "Succeeded"
    assert len(stage.sandbox.recorder.distributions) == 1


def test_next_leader_of_the_same_lease_takes_over_a_run_at_once(stage: Stage) -> None:
    operators = [stage.operator(election=True, steered_lease=True) for _ in range(2)]
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_contacts", hold="before", times=2)
    exporter.annotate(run_requested_at="now")
    stage.sandbox.reached("qualtrics.import_contacts")
    holder = active_run(exporter)["holder"]
    killed, other = sorted(operators, key=lambda operator: f":{operator.folder.name}:" not in holder)
    assert selects(killed, exporter)
    assert not selects(other, exporter), "only the leader shows the metrics of exporters"

    killed.kill()
    stage.sandbox.release(drop=True)
    began = stage.clock.now()
    stage.until_lease_runs_out(lambda: "qualtrics_exporter_leader 1.0" in other.metrics(), "the other operator leads")
    assert selects(other, exporter), "it knew the exporter before it led"
    stage.sandbox.reached("qualtrics.import_contacts")
    assert active_run(exporter)["attempt"] == 2
    assert stage.clock.now() - began < ABANDONED_AFTER, "it does not wait until the heartbeat is too old"
    stage.sandbox.release()
    assert exporter.ended()["result"] == "Succeeded"
    assert len(stage.sandbox.recorder.distributions) == 1


@pytest.mark.parametrize(
    "during", ["", "nexthink.execute", "qualtrics.import_status"], ids=["idle", "during the query", "during the import"]
)
def test_recreated_exporter_has_no_history_and_its_predecessor_sends_nothing(stage: Stage, during: str) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    old = exporter.get()["metadata"]["uid"]
    if during:
        stage.sandbox.fault(during, hold="before")
        exporter.annotate(run_requested_at="for the old exporter")
        stage.reached(during)
    exporter.delete()
    stage.apply(exporter.manifest)
    stage.sandbox.release()
    assert exporter.checked()["status"] == "True"
    assert exporter.get()["metadata"]["uid"] != old
    assert exporter.history() == []
    exporter.annotate(run_requested_at="for the new exporter")
    assert exporter.ended()["result"] == "Succeeded"
    assert len(stage.sandbox.recorder.distributions) == 1, "nothing is sent for an exporter that was deleted"
