"""`make demo`: the whole story on a real API server, in one terminal.

A control plane, the CRD, both remote sides as a sandbox, the operator as a process with a service account that has
just the rights that the chart gives; then a sample is applied by kubectl, a run is asked for by its annotation, and
what a user would see is printed. It ends by itself and leaves nothing running; with `--keep` it stays up until Ctrl-C.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from qualtrics_exporter.clock import SystemClock
from tests.environment import chart_rules
from tests.environment.build import ROOT
from tests.environment.controlplane import ControlPlane
from tests.environment.operator import Operator
from tests.environment.sandbox import SandboxThread
from tests.environment.stage import AppliedExporter
from tests.environment.waiting import HANG, eventually

NAMESPACE = "dex"
SAMPLE = ROOT / "samples" / "teams-rollout.yaml"
RUN_NOW = "qualtrics-exporter.dev/run-requested-at"


def main() -> int:
    """Play the demo; the exit code says whether the survey went to exactly the right people."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="stay up until Ctrl-C, and say how to look around")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # everything that was started ends with us
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qualtrics-exporter-demo-")))
        step("A control plane: a real etcd and kube-apiserver (built once, that takes some minutes)")
        cluster = stack.enter_context(ControlPlane())
        version = json.loads(cluster.kubectl("version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
        say(f"Kubernetes {version} is up.")

        step("The CRD, the namespace and the sample's Secrets")
        cluster.install_crds()
        cluster.namespace(NAMESPACE)
        sandbox = stack.enter_context(SandboxThread(SystemClock(), tls=None))
        for name, keys in sandbox.secrets().items():
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}
            cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=json.dumps(secret))
        say(f"Nexthink and Qualtrics are the sandbox; its outbox: {sandbox.outbox_url}")

        step("The operator, as a process with a service account of its own")
        cluster.namespace("qualtrics-exporter-system")
        rights = {"rules": chart_rules.own_namespace(), "cluster_rules": chart_rules.everywhere()}
        kubeconfig = cluster.service_account("qualtrics-exporter-system", "operator", **rights)
        where = ("--allow-http", "--allowed-host", "localhost", "--lease-namespace", "qualtrics-exporter-system")
        operator = stack.enter_context(
            Operator(kubeconfig, folder / "operator", *where, "--log-format", "console", forked=False)
        )
        say(f"It watches; its metrics: {operator.address}/metrics")

        step(f"kubectl apply -f {SAMPLE.relative_to(ROOT)}")
        say(cluster.kubectl("apply", "-f", str(SAMPLE)).stdout.strip())
        ready = "qualtricsexporter/teams-rollout"
        wait = ("wait", "-n", NAMESPACE, "--for=condition=Ready", ready, f"--timeout={HANG}")
        say(cluster.kubectl(*wait).stdout.strip())

        step(f"kubectl annotate {ready} {RUN_NOW}=demo")
        say(cluster.kubectl("annotate", "-n", NAMESPACE, ready, f"{RUN_NOW}=demo").stdout.strip())
        exporter = AppliedExporter(cluster, NAMESPACE, "teams-rollout")
        entry = exporter.ended()
        eventually(lambda: len(exporter.events()) >= 2, "the Events are there")

        step("kubectl get qex -o wide")
        say(exporter.kubectl("get", "qex", "-o", "wide"))
        step("Its status")
        say(exporter.kubectl("get", "qex", "teams-rollout", "-o", "jsonpath-as-json={.status}"))
        step("Its Events")
        for event in exporter.events():
            say(f"{event['type']:8} {event['reason']:10} {event['note']}")
        step("The outbox: who was mailed")
        for sent in sandbox.ledger.distributions:
            say(f"{sent.id}: {sent.subject!r} to {len(sent.recipients)} people")
            for address in sent.recipients:
                say(f"    {address}")
        wanted = {str(row[0]).lower() for row in sandbox.world.queries[sandbox.world.query_id].stream() if row[0]}
        mailed = sandbox.ledger.mails()
        good = entry["result"] == "Succeeded" and set(mailed) == wanted and set(mailed.values()) == {1}
        step("One distribution, to exactly the people of the query" if good else "That is not what was meant to happen")
        if keep and good:
            stay(cluster, sandbox)
        return 0 if good else 1


def stay(cluster: ControlPlane, sandbox: SandboxThread) -> None:
    """Keep everything up until somebody presses Ctrl-C."""
    say(f"export KUBECONFIG={cluster.kubeconfig}")
    say(f"kubectl -n {NAMESPACE} get qex -w")
    say(f"kubectl -n {NAMESPACE} annotate --overwrite qex/teams-rollout {RUN_NOW}=$(date +%s)")
    say(f"The outbox: {sandbox.outbox_url}")
    say("Ctrl-C ends it all.")
    threading.Event().wait()


def step(title: str) -> None:
    """Say what comes next."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}▶ {title}{plain}", flush=True)


def say(text: str) -> None:
    """Say something about the step."""
    print("\n".join(f"  {line}" for line in text.rstrip().splitlines()), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        print(error, error.stderr or "", sep="\n", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
