"""An exporter that is restored from a backup does not send a survey again."""

import copy
import json
from datetime import UTC, datetime

from tests.support.stage import Stage

MONDAY = datetime(2026, 11, 29, 23, 1, tzinfo=UTC)


def test_restored_exporter_whose_old_status_was_removed_does_not_send_its_last_slot_again(stage: Stage) -> None:
    """docs/gitops.md says to remove the status. With the old status, the operator would run the slot again."""
    operator = stage.operator()
    stage.apply(stage.manifest("teams-rollout"))
    exporter = stage.existing("teams-rollout")
    exporter.checked()
    backup = copy.deepcopy(exporter.get())
    stage.clock.advance_to(MONDAY)
    assert exporter.ended()["result"] == "Succeeded"
    operator.stop()

    exporter.delete()
    restored = {**backup, "metadata": {k: backup["metadata"][k] for k in ("name", "namespace", "annotations")}}
    stage.apply(restored)
    restored["metadata"]["resourceVersion"] = exporter.get()["metadata"]["resourceVersion"]
    stage.cluster.kubectl("replace", "--subresource=status", "-f", "-", input=json.dumps(restored))
    assert exporter.status()["scheduleSince"] == backup["status"]["scheduleSince"]
    exporter.forget_status()
    operator.start()
    status = exporter.until(
        lambda status: (
            status["observedGeneration"] > 0 and "activeRun" not in status and status["nextScheduleTime"] > "2026-12"
        ),
        "the exporter is checked, and no run is active",
    )
    assert "history" not in status
    assert len(stage.sandbox.recorder.distributions) == 1
