"""Two tenants, of which one has a Nexthink that never replies, with real processes, sockets and clocks."""

from tests.support.applied_exporter import AppliedExporter
from tests.support.stage import Stage
from tests.support.waiting import eventually

REQUESTS = 4
"""How many requests the operator has in flight at most. A tenant gets two of them."""
HANGING = [f"hanging-{number}" for number in range(8)]
SECRET = "nexthink-hanging"


def apply_hanging(stage: Stage) -> list[AppliedExporter]:
    """The exporters of the tenant that will hang, with one call of kubectl."""
    manifests = [stage.manifest(name, **{"nexthink.credentialsSecretRef.name": SECRET}) for name in HANGING]
    stage.apply({"apiVersion": "v1", "kind": "List", "items": manifests})
    return [stage.existing(name) for name in HANGING]


def test_exporter_sends_while_the_requests_of_another_tenant_hang(stage: Stage) -> None:
    slow = stage.another_sandbox()
    stage.secret(SECRET, slow.secrets()["nexthink"])
    operator = stage.operator("--max-concurrent-runs", str(REQUESTS))
    hanging, healthy = apply_hanging(stage), stage.exporter("healthy")
    stage.while_time_passes(lambda: [exporter.checked() for exporter in (*hanging, healthy)], seconds=1)
    slow.fault("nexthink.execute", times=None, hold="before")

    request = "qualtrics-exporter.dev/run-requested-at=now"
    healthy.kubectl("annotate", "qualtricsexporter", *HANGING, request)
    slow.reached("nexthink.execute", count=REQUESTS // 2)
    in_progress = f"qualtrics_exporter_active_runs {float(len(HANGING))}"
    eventually(lambda: in_progress in operator.metrics(), "all runs of the tenant have begun")
    healthy.annotate(run_requested_at="now")

    assert healthy.ended()["result"] == "Succeeded"
    assert slow.held("nexthink.execute") >= REQUESTS // 2, "the requests of the other tenant no longer hang"
    assert not any(exporter.history() for exporter in hanging), "a run of the other tenant has ended"

    slow.clear_faults()
    entries = stage.while_time_passes(lambda: [exporter.ended() for exporter in hanging], seconds=1)
    assert {entry["result"] for entry in entries} == {"Succeeded"}
