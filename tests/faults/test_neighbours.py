"""A tenant whose Nexthink never answers, next to one whose Nexthink does: real processes, real sockets, no clocks."""

from tests.environment.stage import AppliedExporter, Stage
from tests.environment.waiting import eventually

REQUESTS = 4
"""How many requests the operator has in flight at most. One tenant gets two of them."""
HANGING = [f"hanging-{number}" for number in range(8)]
SECRET = "nexthink-hanging"


def applied(stage: Stage) -> list[AppliedExporter]:
    """The exporters of the tenant that is going to hang, by one call of kubectl."""
    manifests = [stage.manifest(name, **{"nexthink.credentialsSecretRef.name": SECRET}) for name in HANGING]
    stage.apply({"apiVersion": "v1", "kind": "List", "items": manifests})
    return [stage.existing(name) for name in HANGING]


def test_exporters_are_sent_while_the_requests_of_another_tenant_hang(stage: Stage) -> None:
    slow = stage.another_sandbox()
    stage.secret(SECRET, slow.secrets()["nexthink"])
    operator = stage.operator("--max-concurrent-runs", str(REQUESTS))
    bad, good = applied(stage), stage.exporter("good")
    stage.while_time_passes(lambda: [exporter.checked() for exporter in (*bad, good)], seconds=1)
    slow.fault("nexthink.execute", times=None, hold="before")

    request = "qualtrics-exporter.dev/run-requested-at=now"
    good.kubectl("annotate", "qualtricsexporter", *HANGING, request)
    slow.reached("nexthink.execute", count=REQUESTS // 2)
    in_progress = f"qualtrics_exporter_active_runs {float(len(HANGING))}"
    eventually(lambda: in_progress in operator.metrics(), "all its runs have begun")
    good.annotate(run_requested_at="now")

    assert good.ended()["result"] == "Succeeded"
    assert slow.held("nexthink.execute") >= REQUESTS // 2, "its requests still hang"
    assert not any(exporter.history() for exporter in bad), "nothing was released meanwhile"

    slow.clear_faults()
    entries = stage.while_time_passes(lambda: [exporter.ended() for exporter in bad], seconds=1)
    assert {entry["result"] for entry in entries} == {"Succeeded"}
