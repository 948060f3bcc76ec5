"""What one tenant's remote sides do to the other tenants: sides that hang, are slow, or flood; and large results.

    python -m benchmarks.neighbours [hanging] [mixed] [large]

Everything is real: an API server, the operator as a process of its own, and each tenant's Nexthink and Qualtrics on
HTTPS sockets. Each tenant has a namespace. Prints one figure a line, with its target.

- `hanging`: 15 exporters of a tenant whose Nexthink never answers, then 10 of another tenant, with
  `--max-concurrent-runs 10`.
- `mixed`: eight tenants alone, one after the other. Then all of them at once, while the sides of a ninth hang, those of
  a tenth take 30 s for each reply, and the Nexthink of an eleventh sends replies without end.
- `large`: ten runs of a million people each, at once. The imports end at once, so that the runs wait for the operator
  only.
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
from tests.environment.controlplane import ControlPlane
from tests.environment.operator import Operator
from tests.environment.sandbox import SandboxThread
from tests.environment.stage import Stage

GROUP = "qualtrics-exporter.dev"
PATIENCE_SECONDS = 900.0
LOOK_SECONDS = 0.1
MEMORY_LIMIT = 512 * 1024 * 1024
"""Of the chart."""

Row = tuple[str, str, str]
"""What is measured, the figure, and the target."""


class Tenant:
    """A namespace with some exporters, and remote sides of its own."""

    def __init__(self, stage: Stage, name: str, exporters: int, stack: ExitStack) -> None:
        self.sandbox = stack.enter_context(SandboxThread(stage.clock, stage.certificates.server))
        self.namespace = stage.cluster.namespace(f"{stage.namespace}-{name}")
        self.names = [f"exporter-{number:02d}" for number in range(exporters)]
        self._stage = stage

    def apply(self, query: Query | None = None) -> None:
        """Create the Secrets and the exporters, each with a mailing list of its own."""
        account = self.sandbox.account
        kept = {"apiVersion": "v1", "kind": "Secret"}
        secrets = self.sandbox.secrets()
        items = [{**kept, "metadata": {"name": name}, "stringData": keys} for name, keys in secrets.items()]
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
        """Whether all its exporters were checked."""
        conditions = [{c["type"]: c["status"] for c in status.get("conditions", [])} for status in self.statuses()]
        return len(conditions) == len(self.names) and all(c.get("Ready") == "True" for c in conditions)

    def sent(self, number: int) -> bool:
        """Whether each exporter has so many entries; SystemExit if one of them is not a success."""
        histories = [status.get("history", []) for status in self.statuses()]
        bad = [entry for history in histories for entry in history if entry["result"] != "Succeeded"]
        if bad:
            sys.exit(f"{self.namespace}: {bad[0]['result']}, {bad[0]['reason']}: {bad[0]['message']}")
        return all(len(history) >= number for history in histories)

    def request(self, token: str) -> float:
        """Request a run of every exporter. Returns the time."""
        annotation = f"{GROUP}/run-requested-at={token}"
        began = time.monotonic()
        self._stage.cluster.kubectl(
            "annotate", "--overwrite", "--all", "qualtricsexporters", "--namespace", self.namespace, annotation
        )
        return began


def wait(look: Callable[[], Any], what: str) -> float:
    """Wait until it is so. Returns the time."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not look():
        if time.monotonic() > give_up:
            sys.exit(f"not within {PATIENCE_SECONDS:g} s: {what}")
        time.sleep(LOOK_SECONDS)
    return time.monotonic()


def hanging(stage: Stage, stack: ExitStack) -> Iterator[Row]:
    """Healthy exporters beside those of a tenant whose Nexthink never answers."""
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
    took = wait(lambda: good.sent(1), "the healthy ones are sent") - began
    yield "15 hanging, 10 healthy: the healthy ones are sent after", f"{took:.0f} s", "20 s"
    yield "requests of the other tenant that hang meanwhile", f"{bad.sandbox.held()}", ""


def mixed(stage: Stage, stack: ExitStack) -> Iterator[Row]:
    """Eight tenants alone, and beside one that hangs, one that is slow and one that floods."""
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

    wait(all_ended, "the normal tenants are sent")
    yield "eight normal tenants alone: the slowest run takes", f"{max(alone):.1f} s", ""
    yield "beside a hanging, a slow and a flooding tenant", f"{max(ended.values()):.1f} s", ""
    ratio = max(ended[number] / alone[number] for number in ended)
    yield "the worst of them takes so many times its time alone", f"{ratio:.2f}", "1.5"
    yield "peak memory of the operator next to them", *_mebibytes(process.peak_memory())


def large(stage: Stage, stack: ExitStack, runs: int, people: int) -> Iterator[Row]:
    """Many runs with large results at once."""
    tenants = [Tenant(stage, f"large-{number}", 1, stack) for number in range(runs)]
    with mock.patch.object(QualtricsState, "_finish", _count_only):
        process = operator(stage, environment={"QUALTRICS_EXPORTER_TEST_FIRST_LOOK": "0.05"})
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
        took = wait(lambda: all(tenant.sent(1) for tenant in tenants), "all are sent") - began
        peak = process.peak_memory()
    got = [status["history"][0]["recipients"]["imported"] for tenant in tenants for status in tenant.statuses()]
    yield f"{runs} runs of {people:,} people: imported in all", f"{sum(got):,}", f"{runs * people:,}"
    yield "  seconds", f"{took:.0f}", ""
    yield "  peak memory of the operator before", *_mebibytes(before)
    yield "  peak memory of the operator", *_mebibytes(peak)


def _mebibytes(size: int) -> tuple[str, str]:
    return f"{size / 2**20:.0f} MiB", f"{MEMORY_LIMIT / 2**20:.0f} MiB"


def _count_only(brand: QualtricsState, job: ImportJob) -> None:
    """Take people in without keeping them: ten million of them are more than the sandbox can hold."""
    job.status, job.created, job.added, job.contacts = "complete", len(job.contacts), len(job.contacts), []


def operator(stage: Stage, *arguments: str, environment: dict[str, str] | None = None) -> Operator:
    """An operator for all namespaces, with the machine's own clock."""
    process = stage.process(
        stage.cluster.kubeconfig,
        *("--allowed-host", "localhost", "--no-leader-election", *arguments),
        steered=False,
        environment=environment,
    )
    process.start()
    return process


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the scenarios and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", help="hanging, mixed or large (all)")
    parser.add_argument("--runs", type=int, default=10, help="how many runs have a large result (10)")
    parser.add_argument("--people", type=int, default=1_000_000, help="people in each of them (1000000)")
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
                for what, figure, target in rows:
                    print(f"{what:58} {figure:>12}   {f'target {target}' if target else ''}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
