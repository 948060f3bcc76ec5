"""Measures how much noisy neighbours delay other tenants: services that hang, are slow, or flood, and large results.

    python -m benchmarks.neighbours [hanging] [mixed] [large]

The operator runs as a separate process, with a real API server. Each tenant has a namespace, and its own Nexthink and
Qualtrics on HTTPS sockets. Each line of the output has a measurement and its target.

- `hanging`: 15 exporters of a tenant whose Nexthink never answers, then 10 of another tenant, with
  `--max-concurrent-runs 10`.
- `mixed`: eight tenants run one after the other. Then all of them run at once, next to three other tenants: the
  services of one hang, those of another take 30 s for each reply, and the Nexthink of the third sends endless replies.
- `large`: ten concurrent runs of a million people each. Qualtrics completes imports immediately, so the runs wait only
  for the operator.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from qualtrics_exporter.sandbox import Limits, Query
from qualtrics_exporter.sandbox.qualtrics_state import ImportJob, QualtricsState
from tests.support.controlplane import ControlPlane
from tests.support.operator import Operator
from tests.support.sandbox import SandboxThread
from tests.support.stage import Stage

GROUP = "qualtrics-exporter.dev"
TIMEOUT_SECONDS = 900.0
POLL_SECONDS = 0.1
MEMORY_LIMIT = 512 * 1024 * 1024
"""The memory limit of the chart."""

Row = tuple[str, str, str]
"""What is measured, the measurement, and the target."""


class Tenant:
    """A namespace with exporters, and its own Nexthink and Qualtrics."""

    def __init__(self, stage: Stage, name: str, exporters: int, stack: ExitStack) -> None:
        self.sandbox = stack.enter_context(SandboxThread(stage.clock, stage.certificates.server))
        self.namespace = stage.cluster.namespace(f"{stage.namespace}-{name}")
        self.names = [f"exporter-{number:02d}" for number in range(exporters)]
        self._stage = stage

    def apply(self, query: Query | None = None) -> None:
        """Create the Secrets and the exporters. Each exporter has its own mailing list."""
        account = self.sandbox.account
        secret = {"apiVersion": "v1", "kind": "Secret"}
        secrets = self.sandbox.secrets()
        items = [{**secret, "metadata": {"name": name}, "stringData": keys} for name, keys in secrets.items()]
        if query:
            query.executed = account.queries[account.query_id].executed
            self.sandbox.call(lambda: account.add_query(query))
        for number, name in enumerate(self.names):
            mailing_list = f"CG_neighbour{number:05d}"
            self.sandbox.call(partial(account.add_mailing_list, mailing_list))
            manifest: dict[str, Any] = {
                "apiVersion": f"{GROUP}/v1alpha1",
                "kind": "QualtricsExporter",
                "metadata": {"name": name},
                "spec": account.exporter_spec(),
            }
            manifest["spec"]["qualtrics"]["mailingListId"] = mailing_list
            manifest["spec"]["nexthink"]["queryId"] = query.id if query else account.query_id
            items.append(manifest)
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self._stage.cluster.kubectl("apply", "--namespace", self.namespace, "-f", "-", input=document)

    def statuses(self) -> list[dict[str, Any]]:
        """The status of each exporter."""
        path = f"/apis/{GROUP}/v1alpha1/namespaces/{self.namespace}/qualtricsexporters"
        return [item.get("status", {}) for item in self._stage.cluster.read(path)["items"]]

    def ready(self) -> bool:
        """Whether every exporter was checked without an error."""
        conditions = [{c["type"]: c["status"] for c in status.get("conditions", [])} for status in self.statuses()]
        return len(conditions) == len(self.names) and all(c.get("Ready") == "True" for c in conditions)

    def sent(self, number: int) -> bool:
        """Whether every exporter has that many history entries. Exits if an entry is not `Succeeded`."""
        histories = [status.get("history", []) for status in self.statuses()]
        if others := [entry for history in histories for entry in history if entry["result"] != "Succeeded"]:
            sys.exit(f"{self.namespace}: {others[0]['result']}, {others[0]['reason']}: {others[0]['message']}")
        return all(len(history) >= number for history in histories)

    def request(self, token: str) -> float:
        """Request a run of every exporter. Returns the time of the request."""
        annotation = f"{GROUP}/run-requested-at={token}"
        began = time.monotonic()
        self._stage.cluster.kubectl(
            "annotate", "--overwrite", "--all", "qualtricsexporters", "--namespace", self.namespace, annotation
        )
        return began


def wait(condition: Callable[[], Any], what: str) -> float:
    """Wait until the condition is true. Returns the time."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"timed out after {TIMEOUT_SECONDS:g} s: {what}")
        time.sleep(POLL_SECONDS)
    return time.monotonic()


def hanging(stage: Stage, stack: ExitStack) -> Iterator[Row]:
    """Healthy exporters next to those of a tenant whose Nexthink never answers."""
    bad, good = Tenant(stage, "hanging", 15, stack), Tenant(stage, "healthy", 10, stack)
    operator(stage, "--max-concurrent-runs", "10")
    for tenant in (bad, good):
        tenant.apply()
        wait(tenant.ready, "the exporters are checked")
    bad.sandbox.fault("nexthink.*", times=None, hold="before")
    bad.request("now")
    wait(lambda: bad.sandbox.held() >= 3, "the requests of the one tenant hang")
    time.sleep(2)
    began = good.request("now")
    took = wait(lambda: good.sent(1), "the healthy exporters have sent") - began
    yield "15 hanging, 10 healthy: time until the healthy ones sent", f"{took:.0f} s", "20 s"
    yield "  requests of the hanging tenant in flight", f"{bad.sandbox.held()}", ""


def mixed(stage: Stage, stack: ExitStack) -> Iterator[Row]:
    """Eight tenants, first alone, then next to one that hangs, one that is slow and one that floods."""
    bad = {name: Tenant(stage, name, 15, stack) for name in ("hanging", "slow", "flooding")}
    normal = [Tenant(stage, f"normal-{number}", 1, stack) for number in range(8)]
    process = operator(stage)
    for tenant in (*bad.values(), *normal):
        tenant.apply()
        wait(tenant.ready, "the exporters are checked")
    alone = []
    for tenant in normal:
        began = tenant.request("alone")
        alone.append(wait(partial(tenant.sent, 1), "a run alone has ended") - began)
    bad["hanging"].sandbox.fault("*", times=None, hold="before")
    bad["slow"].sandbox.fault("*", times=None, delay=30)
    bad["flooding"].sandbox.fault("nexthink.*", times=None, endless=True)
    for tenant in bad.values():
        tenant.request("now")
    wait(lambda: bad["hanging"].sandbox.held() >= 3, "the requests of the one tenant hang")
    together = [tenant.request("together") for tenant in normal]
    ended: dict[int, float] = {}

    def all_ended() -> bool:
        for number, tenant in enumerate(normal):
            if number not in ended and tenant.sent(2):
                ended[number] = time.monotonic() - together[number]
        return len(ended) == len(normal)

    wait(all_ended, "the normal tenants have sent")
    yield "eight normal tenants alone: slowest run", f"{max(alone):.1f} s", ""
    yield "  next to a hanging, a slow and a flooding tenant", f"{max(ended.values()):.1f} s", ""
    ratio = max(ended[number] / alone[number] for number in ended)
    yield "  largest slowdown of a tenant, as a factor", f"{ratio:.2f}", "1.5"
    yield "  peak memory of the operator", *_mebibytes(process.peak_memory())


def large(stage: Stage, stack: ExitStack, runs: int, people: int) -> Iterator[Row]:
    """Concurrent runs with large results."""
    tenants = [Tenant(stage, f"large-{number}", 1, stack) for number in range(runs)]
    with mock.patch.object(QualtricsState, "_finish", _count_only):
        process = operator(stage)
        for tenant in tenants:
            tenant.sandbox.account.limits = Limits.off()
            tenant.sandbox.account.import_seconds = 0
            tenant.apply(Query.generated("#million", people))
        for tenant in tenants:
            wait(tenant.ready, "the exporters are checked")
        before = process.peak_memory()
        began = time.monotonic()
        for tenant in tenants:
            tenant.request("now")
        took = wait(lambda: all(tenant.sent(1) for tenant in tenants), "all runs have sent") - began
        peak = process.peak_memory()
    got = [status["history"][0]["recipients"]["imported"] for tenant in tenants for status in tenant.statuses()]
    yield f"{runs} runs of {people:,} people: imported people", f"{sum(got):,}", f"{runs * people:,}"
    yield "  seconds", f"{took:.0f}", ""
    yield "  peak memory of the operator before the runs", *_mebibytes(before)
    yield "  peak memory of the operator", *_mebibytes(peak)


def _mebibytes(size: int) -> tuple[str, str]:
    return f"{size / 2**20:.0f} MiB", f"{MEMORY_LIMIT / 2**20:.0f} MiB"


def _count_only(state: QualtricsState, job: ImportJob) -> None:
    """Count the people of an import and drop them: the sandbox cannot hold ten million people in memory."""
    job.status, job.created, job.added, job.contacts = "complete", len(job.contacts), len(job.contacts), []


def operator(stage: Stage, *arguments: str, environment: dict[str, str] | None = None) -> Operator:
    """Start an operator that manages all namespaces and uses the clock of the machine."""
    process = stage.process(
        stage.cluster.kubeconfig,
        *("--allowed-host", "localhost", "--no-leader-election", *arguments),
        steered=False,
        environment=environment,
    )
    process.start()
    return process


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the scenarios and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", help="hanging, mixed or large (all)")
    parser.add_argument("--runs", type=int, default=10, help="number of runs in `large` (10)")
    parser.add_argument("--people", type=int, default=1_000_000, help="number of people in each run (1000000)")
    options = parser.parse_args(arguments)
    scenarios: dict[str, Callable[[Stage, ExitStack], Iterator[Row]]] = {
        "hanging": hanging,
        "mixed": mixed,
        "large": lambda stage, stack: large(stage, stack, options.runs, options.people),
    }
    for name in options.scenarios or scenarios:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qualtrics-exporter-neighbours-")))
            cluster = stack.enter_context(ControlPlane())
            cluster.install_crds()
            stage = Stage(cluster, cluster.namespace(name), folder, stack)
            with contextlib.closing(scenarios[name](stage, stack)) as rows:  # type: ignore[type-var]
                for what, measurement, target in rows:
                    print(f"{what:58} {measurement:>12}   {f'target {target}' if target else ''}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
