"""Which operator works on an exporter: selectors, shards, Leases, replaced objects. Always one at a time."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.environment import chart_rules
from tests.environment.operator import Operator
from tests.environment.stage import KIND, AppliedExporter, Stage
from tests.environment.waiting import eventually

ABANDONED = timedelta(minutes=5)


def labelled(stage: Stage, team: str) -> AppliedExporter:
    """An exporter with that label."""
    exporter = stage.existing("teams-rollout")
    exporter.manifest = stage.manifest()
    exporter.manifest["metadata"]["labels"] = {"team": team}
    stage.apply(exporter.manifest)
    return exporter


def label(exporter: AppliedExporter, team: str | None) -> None:
    exporter.kubectl("label", "--overwrite", KIND, exporter.name, f"team={team}" if team else "team-")


def knows(operator: Operator, exporter: AppliedExporter) -> bool:
    """Whether the operator has metrics of that exporter, as it does for each that it selects."""
    return f'name="{exporter.name}"' in operator.metrics()


def run_of(exporter: AppliedExporter) -> dict[str, Any]:
    run: dict[str, Any] = exporter.status()["activeRun"]
    return run


def beat_of(exporter: AppliedExporter) -> datetime:
    return datetime.fromisoformat(run_of(exporter)["heartbeatTime"])


def test_an_exporter_that_leaves_the_selector_and_returns_during_a_run_has_one_task(stage: Stage) -> None:
    operator = stage.operator("--selector", "team=a")
    exporter = labelled(stage, "a")
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_contacts", hold="before")
    exporter.annotate(run_requested_at="now")
    stage.reached("qualtrics.import_contacts")
    attempt = run_of(exporter)
    label(exporter, None)
    eventually(lambda: not knows(operator, exporter), "the operator lets go of the exporter")
    label(exporter, "a")
    eventually(lambda: knows(operator, exporter), "the operator selects the exporter again")
    began = beat_of(exporter)
    # Its queue would have started a second task long before the next heartbeat.
    stage.while_time_passes(lambda: eventually(lambda: beat_of(exporter) > began, "the holder shows that it is alive"))
    assert (run_of(exporter)["holder"], run_of(exporter)["attempt"]) == (attempt["holder"], attempt["attempt"])
    stage.sandbox.release()
    assert exporter.ended()["result"] == "Succeeded"
    assert stage.sandbox.ledger.count("qualtrics.create_batch") == 1
    assert len(stage.sandbox.ledger.distributions) == 1


def shard(stage: Stage, team: str) -> Operator:
    """An operator for the exporters of that team, with a Lease of its own."""
    lease = f"shard-{team}"
    rules = [
        {**rule, "resourceNames": ["shard-a", "shard-b"]} if "resourceNames" in rule else rule
        for rule in chart_rules.namespaced()
    ]
    return stage.operator("--selector", f"team={team}", "--lease-name", lease, election=True, rules=rules)


def test_a_shard_takes_over_a_run_only_when_its_holder_is_gone(stage: Stage) -> None:
    first, second = shard(stage, "a"), shard(stage, "b")
    exporter = labelled(stage, "a")
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_contacts", hold="before", times=2)
    exporter.annotate(run_requested_at="now")
    stage.reached("qualtrics.import_contacts")
    attempt = run_of(exporter)
    label(exporter, "b")
    eventually(lambda: knows(second, exporter), "the second shard selects the exporter")
    since = stage.clock.now()

    def long_afterwards() -> bool:
        return beat_of(exporter) - since > 1.2 * ABANDONED

    stage.while_time_passes(lambda: eventually(long_afterwards, "the holder shows that it is alive"))
    assert (run_of(exporter)["holder"], run_of(exporter)["attempt"]) == (attempt["holder"], 1)

    first.kill()
    stage.sandbox.release(drop=True)
    last = beat_of(exporter)
    # By the second shard: the first is gone.
    stage.while_time_passes(lambda: stage.sandbox.reached("qualtrics.import_contacts"))
    assert run_of(exporter)["attempt"] == 2
    assert beat_of(exporter) - last >= ABANDONED
    stage.sandbox.release()
    assert exporter.ended()["result"] == "Succeeded"
    assert len(stage.sandbox.ledger.distributions) == 1


def test_the_next_leader_of_the_same_lease_takes_over_at_once(stage: Stage) -> None:
    operators = [stage.operator(election=True, steered_lease=True) for _ in range(2)]
    exporter = stage.exporter()
    exporter.checked()
    stage.sandbox.fault("qualtrics.import_contacts", hold="before", times=2)
    exporter.annotate(run_requested_at="now")
    stage.sandbox.reached("qualtrics.import_contacts")
    holder = run_of(exporter)["holder"]
    killed, other = sorted(operators, key=lambda operator: f":{operator.folder.name}:" not in holder)
    killed.kill()
    stage.sandbox.release(drop=True)
    began = stage.clock.now()
    stage.until_lease_runs_out(lambda: "qualtrics_exporter_leader 1.0" in other.metrics(), "the other one leads")
    stage.sandbox.reached("qualtrics.import_contacts")
    assert run_of(exporter)["attempt"] == 2
    assert stage.clock.now() - began < ABANDONED, "it does not wait until the heartbeat is old"
    stage.sandbox.release()
    assert exporter.ended()["result"] == "Succeeded"
    assert len(stage.sandbox.ledger.distributions) == 1


@pytest.mark.parametrize("during", ["", "nexthink.execute", "qualtrics.import_status"])
def test_an_exporter_that_is_replaced_in_one_burst_is_another_one_at_once(stage: Stage, during: str) -> None:
    stage.operator()
    exporter = stage.exporter()
    exporter.checked()
    old = exporter.get()["metadata"]["uid"]
    if during:
        stage.sandbox.fault(during, hold="before")
        exporter.annotate(run_requested_at="for the old one")
        stage.reached(during)
    exporter.delete()
    stage.apply(exporter.manifest)
    stage.sandbox.release()
    assert exporter.checked()["status"] == "True"
    assert exporter.get()["metadata"]["uid"] != old
    assert exporter.history() == []
    exporter.annotate(run_requested_at="for the new one")
    assert exporter.ended()["result"] == "Succeeded"
    assert len(stage.sandbox.ledger.distributions) == 1, "nothing is sent for an exporter that was deleted"
