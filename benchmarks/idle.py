"""Measures the CPU time and memory of an operator with many idle exporters.

    python -m benchmarks.idle [--exporters 10000]

Each exporter has a full status and a size of about 11 kB (see docs/facts/kubernetes.md, section 1). It was just
checked, and its next slot is days ahead. So the operator reads all exporters, and nothing is due.
"""

import argparse
import copy
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kubernetes

from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.plan.next_status import plan
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.export.journal import QuerySync
from qualtrics_exporter.export.query import QueryResult
from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.resource.exporter import GROUP, PLURAL, VERSION, Exporter
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, HistoryEntry, RecipientCounts, Status
from tests.environment.controlplane import ControlPlane
from tests.environment.stage import Stage


def idle_status(manifest: dict[str, Any], generation: int, uid: str) -> dict[str, Any]:
    """The status of an exporter that ran ten times and waits for its next slot."""
    now = datetime.now(UTC)
    entry = HistoryEntry(
        id="a" * 20, trigger="Schedule", scheduled_time=now, start_time=now, completion_time=now - timedelta(days=30),
        result="Succeeded", reason=str(Reason.SUCCEEDED), message=Reason.SUCCEEDED.meaning + " " + "x" * 140,
        recipients=RecipientCounts(returned=900, empty=3, invalid=2, duplicate=1, accepted=894, imported=894),
        survey_id="SV_teamsRollout01", batch_id="BT_aaaaaaaaaaaaaaa", send_time=now - timedelta(days=30),
        distribution_id="EMD_aaaaaaaaaaaaaaa", delivery=Delivery(request_status="Done", sent=894, observed_time=now),
    )  # fmt: skip
    body = {**manifest, "metadata": {**manifest["metadata"], "generation": generation, "uid": uid}}
    status = plan(Exporter.from_object(body), Context(now, "", "UTC")).status
    verdict = Verdict(answer=QueryResult(Recipients(), False, QuerySync(True, Reason.QUERY_IN_SYNC.meaning)))
    status = conditions.checked(status, verdict, generation, now, suspended=False)
    status = status.model_copy(
        update={"observed_generation": generation, "last_check_time": now, "history": [entry] * 10}
    )
    return Status.model_dump(status, by_alias=True, exclude_none=True, mode="json")


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_memory(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def populate(cluster: ControlPlane, stage: Stage, number: int) -> int:
    """Create the exporters. Returns the size of one of them, in bytes."""
    api = kubernetes.client.CustomObjectsApi(cluster.api())
    manifest = stage.manifest()
    size = 0

    def create(n: int) -> None:
        nonlocal size
        body = copy.deepcopy(manifest)
        body["metadata"]["name"] = f"exporter-{n:05d}"
        made = api.create_namespaced_custom_object(GROUP, VERSION, stage.namespace, PLURAL, body)
        made["status"] = idle_status(body, made["metadata"]["generation"], made["metadata"]["uid"])
        api.replace_namespaced_custom_object_status(
            GROUP, VERSION, stage.namespace, PLURAL, body["metadata"]["name"], made
        )
        size = len(json.dumps(made))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(number)))
    return size


def main() -> None:
    """Run the operator and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--exporters", type=int, default=10_000, help="number of exporters (10000)")
    parser.add_argument("--seconds", type=int, default=60, help="how long to measure the idle operator (60)")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qualtrics-exporter-idle-")))
        cluster = stack.enter_context(ControlPlane())
        cluster.install_crds()
        stage = Stage(cluster, cluster.namespace("idle"), folder, stack)
        size = populate(cluster, stage, options.exporters)
        began = time.monotonic()
        operator = stage.operator("--log-level", "info", steered=False)
        seen = f"qualtrics_exporter_exporters {float(options.exporters)}"
        while seen not in operator.metrics():
            time.sleep(2)  # a scrape of so many series costs CPU time too
        took = time.monotonic() - began
        used = cpu_seconds(operator.pid)
        time.sleep(options.seconds)
        idle_seconds = (cpu_seconds(operator.pid) - used) * 60 / options.seconds
        print(f"exporters                    {options.exporters:>10,}")
        print(f"size of an exporter, bytes   {size:>10,}")
        print(f"time until all are read, s   {took:>10.1f}")
        print(f"CPU time until then, s       {used:>10.1f}")
        print(f"CPU time idle, s/minute      {idle_seconds:>10.2f}")
        print(f"memory idle, MB              {resident_memory(operator.pid) / 1e6:>10.1f}")
        print(f"peak memory, MB              {operator.peak_memory() / 1e6:>10.1f}")
        print(f"Nexthink/Qualtrics requests  {len(stage.sandbox.ledger.calls):>10,}")


if __name__ == "__main__":
    main()
